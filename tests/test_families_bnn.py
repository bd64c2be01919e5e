"""Binarised networks out of bare and described state dicts, against the float networks they were saved from."""

from itertools import pairwise, product

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_examples import export
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from auditcli.describing import describe
from auditcli.errors import OpenQuestion, UnknownModel
from auditcli.families import Options, build, identify, rebuilt
from auditcli.loading import load, save_described
from auditcli.types import Family, Trait

EVERY = torch.tensor(list(product([0.0, 1.0], repeat=9))).view(-1, 1, 3, 3)
"""All binary images of 3 x 3 pixels."""
HALF = Options(mean=(0.5,), std=(0.5,))


class Binary(nn.Linear):
    """A linear layer whose weights are signs, each row scaled."""

    def forward(self, x):
        scale = self.weight.abs().amax(dim=1, keepdim=True)
        return functional.linear(x, torch.where(self.weight >= 0, scale, -scale), self.bias)


class Signs(nn.Module):
    def forward(self, x):
        return torch.where(x >= 0, 1.0, -1.0)


def made(widths, seed=0, *, bias=False, norm=True):
    """A float network of signs with random rows, batch norm of random statistics, and scales of either sign, or 0."""
    rng = torch.Generator().manual_seed(seed)
    modules = [nn.Flatten()]
    for into, out in pairwise(widths):
        layer = Binary(into, out, bias=bias)
        scale = torch.rand(out, 1, generator=rng) + 0.1
        layer.weight.data = torch.where(torch.rand(out, into, generator=rng) < 0.5, scale, -scale)
        if bias:
            layer.bias.data = torch.randn(out, generator=rng)
        modules += [Signs(), layer]
        if norm:
            batch = nn.BatchNorm1d(out)
            batch.running_mean.copy_(torch.randn(out, generator=rng))
            batch.running_var.copy_(torch.rand(out, generator=rng) * 4 + 0.1)
            batch.weight.data = torch.randn(out, generator=rng) * (torch.rand(out, generator=rng) > 0.1)
            batch.bias.data = torch.randn(out, generator=rng)
            modules.append(batch)
    return nn.Sequential(*modules).eval()


def saved(path, net, description=None, tensors=None):
    weights = {name: tensor for name, tensor in (tensors or net.state_dict()).items() if "num_batches" not in name}
    save_described(path, weights, description) if description else save_file(weights, path)
    return load(path)


def target_of(checkpoint, options=HALF):
    return build(checkpoint, identify(checkpoint, options), options)


def in_integers(stack, images):
    """The integer network, step by step."""
    values = torch.where(images.flatten(1) >= 0.5, 1, -1)
    for weights, thresholds in zip(stack.weights[:-1], stack.thresholds, strict=True):
        values = torch.where(values @ weights.long().T >= thresholds, 1, -1)
    return (values @ stack.weights[-1].long().T).float() * stack.scales + stack.offsets


def is_near_a_tie(net, inputs):
    """Whether a number that a sign is taken of is so small that rounding might decide."""
    near = torch.zeros(len(inputs), dtype=torch.bool)
    x = inputs
    for module in net:
        if isinstance(module, Signs):
            near |= (x.flatten(1).abs() < 1e-4).any(dim=1)
        x = module(x)
    return near


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hidden=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    outputs=st.integers(1, 4),
    seed=st.integers(0, 10_000),
    bias=st.booleans(),
    norm=st.booleans(),
)
def test_it_computes_what_the_float_network_does_on_every_input(tmp_path, hidden, outputs, seed, bias, norm):
    net = made([9, *hidden, outputs], seed, bias=bias, norm=norm)
    target = target_of(saved(tmp_path / "model.safetensors", net))
    assert target.profile.family is Family.BNN
    assert Trait.BINARISED in target.profile.traits
    with torch.no_grad():
        logits, sure = net((EVERY - 0.5) / 0.5), ~is_near_a_tie(net, (EVERY - 0.5) / 0.5)
    assert torch.allclose(target(EVERY)[sure], logits[sure], atol=1e-4)
    assert torch.equal(in_integers(target.binarised, EVERY), target(EVERY))
    assert (target.binarised.scales >= 0).all()


def test_grey_pixels_are_read_by_their_threshold_and_half_counts_as_1(tmp_path):
    target = target_of(saved(tmp_path / "model.safetensors", made([9, 5, 3])))
    grey = torch.rand(200, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(target(grey), target((grey >= 0.5).float()))
    assert torch.equal(target(torch.full((1, 1, 3, 3), 0.5)), target(torch.ones(1, 1, 3, 3)))
    other = target_of(saved(tmp_path / "model.safetensors", made([9, 5, 3])), Options(mean=(0.25,), std=(0.3,)))
    assert torch.equal(other(grey), other((grey >= 0.25).float()))


@pytest.mark.parametrize("mean", [3.0, -1.0])
def test_a_neuron_whose_batch_norm_returns_0_is_1(tmp_path, mean):
    net = made([9, 1, 2])
    net[2].weight.data = net[2].weight.sign()
    for tensor, value in ((net[3].running_mean, mean), (net[3].weight.data, -0.7), (net[3].bias.data, 0.0)):
        tensor.fill_(value)
    target = target_of(saved(tmp_path / "model.safetensors", net))
    sums = functional.linear((EVERY - 0.5).sign().flatten(1), net[2].weight)[:, 0]
    values = torch.where(EVERY.flatten(1) >= 0.5, 1, -1) @ target.binarised.weights[0].long().T
    assert torch.equal(values[:, 0] >= target.binarised.thresholds[0], sums <= mean)


def test_gradients_reach_the_pixels(tmp_path):
    target = target_of(saved(tmp_path / "model.safetensors", made([9, 5, 4, 3])))
    images = torch.rand(8, 1, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(target(images).square().sum(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


# ---- what is recognised ---------------------------------------------------------------------------------------------


def test_all_that_was_assumed_is_listed_with_its_flag(tmp_path):
    profile = identify(saved(tmp_path / "model.safetensors", made([9, 5, 3])), Options())
    assert profile.architecture == "9-5-3, sign"
    assert {assumption.flag for assumption in profile.assumptions} == {
        *("--assume activation=...", "--assume inputs=...", "--assume eps=..."),
        *("--input-shape C,H,W", "--mean/--std"),
    }
    assert profile.normalisation.mean == (0.5,)


def test_a_description_written_for_it_leaves_nothing_to_assume(tmp_path):
    saved(tmp_path / "model.safetensors", made([9, 5, 3]))
    describe(tmp_path / "model.safetensors")
    profile = identify(load(tmp_path / "model.safetensors"), Options())
    assert profile.assumptions == ()
    assert Trait.BINARISED in profile.traits


def test_weights_stored_in_bytes(tmp_path):
    net = made([9, 5, 3])
    net[2].weight.data, net[5].weight.data = net[2].weight.sign(), net[5].weight.sign()
    bytes_ = {name: part.to(torch.int8) if part.ndim == 2 else part for name, part in net.state_dict().items()}
    target = target_of(saved(tmp_path / "model.safetensors", net, tensors=bytes_))
    with torch.no_grad():
        assert torch.allclose(target(EVERY), net((EVERY - 0.5) / 0.5), atol=1e-4)


def test_latent_weights_are_meant_by_their_signs_only_where_that_is_said(tmp_path):
    net, latent = made([9, 5, 3]), made([9, 5, 3])
    for module in (2, 5):
        net[module].weight.data = net[module].weight.sign()
        latent[module].weight.data = net[module].weight * torch.rand(net[module].weight.shape).clamp_min(0.01)
    path = tmp_path / "model.safetensors"
    assert identify(saved(path, latent), Options(assume={"activation": "relu"})).family is Family.MLP
    for description, options in (
        (None, Options(assume={"template": "bnn"})),
        ({"family": "bnn", "mean": (0.5,), "std": (0.5,)}, Options()),
    ):
        target = target_of(saved(path, latent, description), options)
        with torch.no_grad():
            assert torch.allclose(target(EVERY), net((EVERY - 0.5) / 0.5), atol=1e-4)


def test_binary_weights_with_another_activation_are_those_of_a_perceptron(tmp_path):
    checkpoint = saved(tmp_path / "model.safetensors", made([9, 5, 3]))
    profile = identify(checkpoint, Options(assume={"activation": "relu"}))
    assert profile.architecture == "9-5-3, relu"
    assert Trait.BINARISED not in profile.traits


def test_pixels_that_are_read_as_they_are_leave_it_without_the_trait(tmp_path):
    net = made([9, 5, 3])
    plain = nn.Sequential(net[0], *net[2:])
    target = target_of(saved(tmp_path / "model.safetensors", net), Options(assume={"inputs": "values"}))
    grey = torch.rand(50, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(target(grey), plain(grey), atol=1e-4)
    assert target.binarised is None
    assert Trait.BINARISED not in target.profile.traits
    assert target.profile.family is Family.BNN


def test_a_mean_that_makes_every_sign_the_same_is_a_question(tmp_path):
    checkpoint = saved(tmp_path / "model.safetensors", made([9, 5, 3]))
    with pytest.raises(OpenQuestion, match="mean of 0"):
        identify(checkpoint, Options(mean=(0.0,), std=(1.0,)))


def test_where_it_is_said_and_not_so_the_difference_is_named(tmp_path):
    tensors = {"conv.weight": torch.ones(2, 1, 3, 3), "fc.weight": torch.ones(2, 4)}
    save_described(tmp_path / "model.safetensors", tensors, {"family": "bnn"})
    with pytest.raises(UnknownModel, match="conv is no linear layer"):
        identify(load(tmp_path / "model.safetensors"), Options())


def test_a_target_rebuilt_around_other_weights_has_their_integers(tmp_path):
    one, other = (saved(tmp_path / f"{seed}.safetensors", made([9, 5, 3], seed)) for seed in (0, 1))
    target, wanted = target_of(one), target_of(other)
    again = rebuilt(target, wanted.module)
    assert torch.equal(in_integers(again.binarised, EVERY), wanted(EVERY))
    with pytest.raises(ValueError, match="not binarised"):
        rebuilt(target, nn.Sequential(nn.Flatten(), nn.Linear(9, 3)))


# ---- graphs ---------------------------------------------------------------------------------------------------------


class Exported(nn.Module):
    """A network of signs that normalises its own pixels."""

    def __init__(self, net, mean):
        super().__init__()
        self.net, self.mean = net, mean

    def forward(self, x):
        return self.net((x - self.mean) / 0.5)


@pytest.mark.parametrize("mean", [0.5, 0.0])
def test_a_graph_of_signs_is_recognised_by_what_it_computes(tmp_path, mean):
    net = Exported(made([9, 5, 4, 3], seed=3), mean).eval()
    export(net, (1, 3, 3), tmp_path / "model.onnx")
    target = target_of(load(tmp_path / "model.onnx"), Options())
    with torch.no_grad():
        assert torch.allclose(target(EVERY), net(EVERY), atol=1e-4)
    # With a mean of 0 the sign of every pixel is the same, and the graph runs as it is.
    assert (Trait.BINARISED in target.profile.traits) is (mean > 0)
    if mean:
        assert target.profile.architecture == "9-5-4-3, sign"
        assert torch.equal(in_integers(target.binarised, EVERY), target(EVERY))
