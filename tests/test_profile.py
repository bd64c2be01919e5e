"""Family and traits of networks: read off what they do, with a reason for each, and true of their numbers."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from networks import NETWORKS, BinaryLinear, Patches, Residual, made
from onnx_examples import export
from torch import nn

from auditcli.families import Options, build, identify
from auditcli.families._axes import axis, image, labels, regrouped, resized
from auditcli.families._chain import dense_chain, difference, probes
from auditcli.families._trace import noise, trace
from auditcli.families._traits import examined, family_of
from auditcli.loading import load
from auditcli.types import Family, Normalisation, Profile, Trait

SHAPE = (3, 8, 8)


def profile_of(net: nn.Module, shape=SHAPE, family=Family.UNKNOWN) -> Profile:
    seen = trace(net, noise(shape))
    blank = Profile(
        family=family,
        architecture="",
        input_shape=shape,
        classes=seen.output.shape[1],
        outputs=seen.output.shape[1],
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        normalisation=Normalisation((0.0,), (1.0,)),
        traits=frozenset(),
        layers=(),
        identified_by="",
    )
    return examined(blank, seen)


@pytest.mark.parametrize("name", NETWORKS)
def test_family_is_read_off_what_a_network_does(name):
    profile = profile_of(made(name))
    assert profile.family.value == NETWORKS[name][0]
    reason = next(statement.why for statement in profile.statements if statement.what == "family")
    assert reason


@pytest.mark.parametrize("name", NETWORKS)
def test_watching_changes_nothing(name):
    net = made(name)
    images = noise(SHAPE).expand(2, -1, -1, -1).clone()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    seen = trace(net, images)
    with torch.no_grad():
        assert torch.allclose(seen.output, net(images), atol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_trait_has_a_reason(name):
    profile = profile_of(made(name))
    reasons = {statement.value: statement.why for statement in profile.statements if statement.what == "trait"}
    assert reasons.keys() == {trait.value for trait in profile.traits}
    assert all(reasons.values())


@pytest.mark.parametrize(
    ("name", "trait", "there"),
    [
        ("three linear layers", Trait.FIRST_LAYER_LINEAR, True),
        ("lenet", Trait.FIRST_LAYER_LINEAR, False),
        ("lenet", Trait.FIRST_LAYER_CONVOLUTION, True),
        ("attention on rearranged patches", Trait.FIRST_LAYER_LINEAR, False),
        ("attention on rearranged patches", Trait.FIRST_LAYER_CONVOLUTION, False),
        ("resnet", Trait.BATCH_NORM, True),
        ("lenet", Trait.BATCH_NORM, False),
        ("binarised", Trait.BINARY_WEIGHTS, True),
        ("three linear layers", Trait.BINARY_WEIGHTS, False),
        ("three linear layers", Trait.HOMOGENEOUS, False),
        ("resnet", Trait.SMALL_HEAD, True),
        ("three linear layers", Trait.SMALL_HEAD, False),
        ("mixer", Trait.SMALL_HEAD, True),
    ],
)
def test_traits(name, trait, there):
    assert (trait in profile_of(made(name)).traits) is there


def test_a_layer_behind_an_activation_is_not_the_first():
    net = nn.Sequential(nn.Flatten(), nn.Sigmoid(), nn.Linear(192, 4)).eval()
    assert Trait.FIRST_LAYER_LINEAR not in profile_of(net).traits
    shifted = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(192, 4)).eval()
    assert Trait.FIRST_LAYER_LINEAR not in profile_of(shifted).traits


def test_binary_weights_are_those_that_are_used_and_have_both_signs():
    inner = nn.Linear(9, 9)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 9), nn.ReLU(), inner, nn.ReLU(), nn.Linear(9, 5)).eval()
    with torch.no_grad():
        inner.weight.copy_(torch.where(torch.randn(9, 9) > 0, 0.3, -0.3) * torch.rand(9, 1))
    assert Trait.BINARY_WEIGHTS in profile_of(net).traits
    with torch.no_grad():
        inner.weight[2, 3] *= 1.01
    assert Trait.BINARY_WEIGHTS not in profile_of(net).traits
    with torch.no_grad():
        inner.weight.fill_(0.5)
    assert Trait.BINARY_WEIGHTS not in profile_of(net).traits
    latent = nn.Sequential(nn.Flatten(), nn.Linear(192, 9), nn.ReLU(), BinaryLinear(9, 9), nn.ReLU(), nn.Linear(9, 5))
    profile = profile_of(latent.eval())
    assert Trait.BINARY_WEIGHTS in profile.traits
    assert profile.family is Family.MLP


def test_what_a_template_says_stays_where_the_network_leaves_it_open():
    class Strange(nn.Module):
        def forward(self, x):
            return x.flatten(1).cumsum(1)[:, :3]

    profile = profile_of(Strange().eval(), family=Family.CNN)
    assert profile.family is Family.CNN
    assert profile_of(Strange().eval()).family is Family.UNKNOWN


# ---- homogeneous ----------------------------------------------------------------------------------------------------


@st.composite
def piecewise_linear_nets(draw):
    """Networks of linear layers, convolutions and pieces through zero, some with what breaks homogeneity."""
    torch.manual_seed(draw(st.integers(0, 9)))
    bias = [draw(st.booleans()) for _ in range(3)]
    act = draw(
        st.sampled_from([nn.ReLU, nn.Identity, lambda: nn.LeakyReLU(0.2), nn.Tanh, lambda: nn.ReLU(inplace=True)])
    )
    pool = draw(st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Identity(), nn.LPPool2d(2, 2)]))
    norm = draw(st.sampled_from([nn.Identity(), nn.Identity(), nn.BatchNorm2d(4)]))
    if isinstance(norm, nn.BatchNorm2d):
        norm.running_mean.fill_(0.3)
    pad = draw(st.sampled_from([nn.Identity(), nn.ZeroPad2d(1), nn.ConstantPad2d(1, 0.5)]))
    inner = draw(st.sampled_from([lambda c: nn.Identity(), lambda c: Residual(nn.Conv2d(c, c, 1, bias=False))]))(4)
    end = draw(st.sampled_from([nn.AdaptiveAvgPool2d(1), nn.Identity(), nn.AdaptiveMaxPool2d(2)]))
    body = nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias[0]), norm, act(), pool, pad, inner, end, nn.Flatten())
    width = body.eval()(torch.zeros(1, *SHAPE)).shape[1]
    return nn.Sequential(*body, nn.Linear(width, 6, bias=bias[1]), act(), nn.Linear(6, 5, bias=bias[2])).eval()


def _scaled(net: nn.Module, factor: float, images: torch.Tensor) -> torch.Tensor:
    scaled = {name: parameter.detach() * factor for name, parameter in net.named_parameters()}
    return torch.func.functional_call(net, scaled, (images,))


@settings(max_examples=60, deadline=None)
@given(piecewise_linear_nets())
def test_homogeneous_is_true_of_the_numbers(net):
    net.double()
    images = torch.randn(4, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    seen = trace(net, images)
    logits = seen.output
    degree = seen.degree
    with torch.no_grad():
        powers = [
            power
            for power in range(1, 9)
            if all(torch.allclose(_scaled(net, a, images), a**power * logits, rtol=1e-7, atol=1e-9) for a in (0.5, 3.0))
        ]
    # Both ways: what is said is true, and of these networks nothing true is left unsaid but for inputs that hide it.
    if degree is not None:
        assert powers == [degree] if logits.any() else degree in powers
    elif powers:  # A root of squares is homogeneous too, and no linear pieces.
        assert isinstance(net[3], nn.LPPool2d) or logits.abs().max() < 1e-9


def test_a_bias_of_zeros_is_none():
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 9), nn.ReLU(), nn.Linear(9, 5)).eval()
    assert trace(net, noise(SHAPE)).degree is None
    nn.init.zeros_(net[3].bias)
    assert trace(net, noise(SHAPE)).degree == 2


# ---- chains ---------------------------------------------------------------------------------------------------------

ACTIVATIONS = [
    nn.ReLU(inplace=True),
    nn.ReLU(),
    nn.ReLU6(),
    nn.LeakyReLU(),
    nn.LeakyReLU(0.2),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
    nn.SiLU(),
    nn.Mish(),
    nn.Hardswish(),
    nn.Tanh(),
    nn.Sigmoid(),
    nn.ELU(),
    nn.SELU(),
    nn.Softplus(),
    nn.Identity(),
]


@pytest.mark.parametrize("act", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("norm", ["none", "before", "after"])
def test_a_chain_is_found_with_its_activation(act, norm):
    def norms(place, width):
        layer = nn.BatchNorm1d(width)
        layer.running_mean.uniform_(-1, 1)
        layer.running_var.uniform_(0.5, 2)
        return [layer] if norm == place else []

    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = (nn.Linear(48, 9), *norms("before", 9), act, *norms("after", 9), nn.Linear(9, 7))
        net = nn.Sequential(nn.Flatten(), *parts, *norms("before", 7), act, *norms("after", 7), nn.Linear(7, 4)).eval()
    images = probes((3, 4, 4), 0)
    chain = dense_chain(trace(net, images), images.flatten(1))
    assert chain is not None
    assert chain.widths == (48, 9, 7, 4)
    assert difference(chain, net, probes((3, 4, 4), 1)) < 1e-5
    stack = chain.stack()
    assert len(stack.weights) == 3


def test_two_activations_are_no_chain():
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 4)).eval()
    images = probes((3, 4, 4), 0)
    assert dense_chain(trace(net, images), images.flatten(1)) is None


@pytest.mark.parametrize("name", ["linear layers with a shortcut", "lenet", "mixer", "attention by hand", "binarised"])
def test_other_networks_are_no_chain(name):
    images = probes(SHAPE, 0)
    assert dense_chain(trace(made(name), images), images.flatten(1)) is None


def test_a_chain_of_other_pixels_is_none():
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 4)).eval()
    images = probes((3, 4, 4), 0)
    assert dense_chain(trace(net, images), images.flatten(1).flip(1)) is None


# ---- axes -----------------------------------------------------------------------------------------------------------


def test_axes_are_followed_through_reshapes():
    axes = image((2, 8, 4, 4))
    tokens = regrouped(axes, (2, 8, 16))
    assert tokens is not None
    assert [labels([each]) for each in tokens] == [{"n"}, {"c"}, {"s"}]
    assert regrouped(tokens, (2, 8, 4, 4)) == axes
    assert regrouped(axes, (2, 128)) == (axis("n", 2), (("c", 8), ("s", 4), ("s", 4)))
    assert regrouped(axes, (2, 2, 4, 16)) == (axis("n", 2), axis("c", 2), axis("c", 4), (("s", 4), ("s", 4)))
    assert regrouped(axes, (3, 7)) is None
    assert regrouped((axis("c", 6),), (4,)) is None


@given(st.lists(st.integers(1, 6), min_size=2, max_size=4), st.randoms())
def test_regrouping_there_and_back_is_nothing(shape, random):
    axes = image(shape)
    flat = regrouped(axes, (torch.Size(shape).numel(),))
    assert flat is not None
    assert regrouped(flat, shape) is not None
    assert [labels([each]) for each in regrouped(flat, shape)] == [labels([each]) for each in axes]


def test_axes_keep_their_meaning_where_sizes_change():
    assert resized(image((1, 8, 4, 4)), (1, 8, 2, 2)) == image((1, 8, 2, 2))
    assert resized(image((1, 8, 4, 4)), (1, 8, 1, 1)) == image((1, 8, 1, 1))
    assert resized(image((1, 8, 4)), (1, 8)) is None
    assert resized(((("c", 2), ("s", 3)),), (4,)) is None


def test_a_patch_embedding_is_one_convolution_that_does_not_overlap():
    family, why = family_of(trace(made("attention by hand"), noise(SHAPE)))
    assert family is Family.VIT
    assert "1 attention layer" in why
    assert Patches(3, 8, 2, 8)(noise(SHAPE)).shape == (1, 16, 8)
    assert replace(profile_of(made("mixer")), labels=()).family is Family.MIXER


# ---- other ways to the same network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_shows_the_family_of_the_network_it_was_made_of(name, tmp_path):
    torch.backends.mha.set_fastpath_enabled(False)  # The older exporter knows no operator for it.
    try:
        export(made(name), SHAPE, tmp_path / "m.onnx")
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    checkpoint = load(tmp_path / "m.onnx")
    profile = identify(checkpoint, Options())
    target = build(checkpoint, profile, Options())
    assert profile.family.value == target.profile.family.value == NETWORKS[name][0]
    original, converted = profile_of(made(name)), target.profile
    # Exporters fold batch norm into the layer before it, and where biases go with it nothing is homogeneous.
    assert original.traits - {Trait.BATCH_NORM} <= converted.traits
    assert converted.traits <= original.traits | {Trait.DENSE, Trait.HEAD}


CONFIGURED = {
    "vit": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24},
    "swin": {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2, "patch_size": 2},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"},
    "convnext": {"hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2, "patch_size": 2},
    "poolformer": {
        "hidden_sizes": [8, 12, 16, 16],
        "depths": [1, 1, 1, 1],
        "patch_sizes": [3, 3, 3, 3],
        "strides": [2, 2, 2, 2],
        "padding": [1, 1, 1, 1],
        "num_encoder_blocks": 4,
    },
    "levit": {
        "hidden_sizes": [16, 16, 16],
        "num_attention_heads": [2, 2, 2],
        "depths": [1, 1, 1],
        "key_dim": [8, 8, 8],
        "image_size": 64,
        "attention_ratio": [2, 2, 2],
        "mlp_ratio": [2, 2, 2],
        "down_ops": [["Subsample", 8, 2, 4, 2, 2], ["Subsample", 8, 2, 4, 2, 2]],
    },
}


@pytest.mark.parametrize("kind", CONFIGURED)
def test_a_configured_network_shows_the_family_of_its_type(kind, tmp_path):
    transformers = pytest.importorskip("transformers")
    size = {"image_size": 32, "num_channels": 3, "num_labels": 5} | CONFIGURED[kind]
    config = transformers.CONFIG_MAPPING[kind](**size)
    config.architectures = []  # `from_config` walks over it, and fails where it is None.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForImageClassification.from_config(config)
    model.save_pretrained(tmp_path / "hf")
    checkpoint = load(tmp_path / "hf")
    profile = identify(checkpoint, Options(input_shape=(3, size["image_size"], size["image_size"])))
    target = build(checkpoint, profile, Options(input_shape=profile.input_shape))
    assert target.profile.family is profile.family
    assert target.profile.family is not Family.UNKNOWN


def test_reasons_come_with_the_model(tmp_path):
    export(made("three linear layers"), SHAPE, tmp_path / "m.onnx")
    checkpoint, options = load(tmp_path / "m.onnx"), Options(mean=(0.5,), std=(0.25,))
    profile = build(checkpoint, identify(checkpoint, options), options).profile
    why = {statement.what: statement.why for statement in profile.statements}
    assert why["input shape"] == "declared by the graph"
    assert why["normalisation"] == "stated by --mean/--std"
    assert why["classes"] == "the last layer has 5 outputs"
    assert why["layers"] == "3 linear layers"
    assert Trait.DENSE in profile.traits
