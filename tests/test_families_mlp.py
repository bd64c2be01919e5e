"""MLPs out of bare and described state dicts, against the torch modules they were saved from."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from auditcli.errors import UnknownModel, UsageError
from auditcli.families import Options, build, identify
from auditcli.loading import load, save_described
from auditcli.types import DenseStack, Family, Target, Trait


def _mlp(widths: list[int], act: type[nn.Module] = nn.ReLU, *, bias: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for index, (before, after) in enumerate(pairwise(widths)):
        layers += [act()] if index else []
        layers.append(nn.Linear(before, after, bias=bias))
    return nn.Sequential(*layers).eval()


def _target(path: Path, **options: object) -> Target:
    said = Options(**options)  # type: ignore[arg-type]
    checkpoint = load(path)
    return build(checkpoint, identify(checkpoint, said), said)


def _through(dense: DenseStack, images: torch.Tensor, act: nn.Module) -> torch.Tensor:
    x = images.flatten(1)
    for index, (weight, bias) in enumerate(zip(dense.weights, dense.biases, strict=True)):
        x = nn.functional.linear(act(x) if index else x, weight, bias)
    return x


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    side=st.integers(2, 6),
    channels=st.sampled_from([1, 2, 3]),
    hidden=st.lists(st.integers(1, 9), max_size=12),
    outputs=st.integers(1, 5),
    bias=st.booleans(),
)
def test_a_bare_mlp_computes_what_its_module_did(
    tmp_path: Path, side: int, channels: int, hidden: list[int], outputs: int, bias: bool
) -> None:
    model = _mlp([channels * side * side, *hidden, outputs], bias=bias)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    target = _target(tmp_path / "model.safetensors", input_shape=(channels, side, side))
    images = torch.rand(4, channels, side, side)
    assert torch.allclose(target(images), model(images), atol=1e-5)
    assert target.dense is not None
    assert torch.allclose(_through(target.dense, images, nn.ReLU()), model(images), atol=1e-5)
    assert target.profile.classes == max(outputs, 2)
    assert target.profile.outputs == outputs


def test_all_that_was_assumed_is_listed_with_its_flag(tmp_path: Path) -> None:
    save_file(_mlp([784, 20, 10]).state_dict(), tmp_path / "model.safetensors")
    profile = identify(load(tmp_path / "model.safetensors"), Options())
    assert profile.family is Family.MLP
    assert profile.input_shape == (1, 28, 28)
    assert {assumption.flag for assumption in profile.assumptions} == {
        "--assume activation=...",
        "--input-shape C,H,W",
        "--mean/--std",
    }
    assert profile.parameters == 784 * 20 + 20 + 20 * 10 + 10
    assert [layer.shape for layer in profile.layers] == [(20, 784), (10, 20)]


def test_what_is_stated_is_not_assumed(tmp_path: Path) -> None:
    save_file(_mlp([12, 5, 1], nn.Tanh).state_dict(), tmp_path / "model.safetensors")
    said = Options(input_shape=(3, 2, 2), mean=(0.5,), std=(0.1, 0.2, 0.3), assume={"activation": "tanh"})
    profile = identify(load(tmp_path / "model.safetensors"), said)
    assert profile.assumptions == ()
    assert any("--assume" in sentence for sentence in profile.evidence)
    assert (profile.classes, profile.outputs) == (2, 1)


def test_a_description_answers_everything(tmp_path: Path) -> None:
    model = _mlp([12, 6, 4], nn.SiLU)
    said = {"family": "mlp", "activation": "silu", "input_shape": [3, 2, 2], "mean": [0.1, 0.2, 0.3], "std": [0.5] * 3}
    save_described(tmp_path / "model.safetensors", model.state_dict(), {**said, "labels": list("abcd")})
    target = _target(tmp_path / "model.safetensors")
    images = torch.rand(3, 3, 2, 2)
    normalised = (images - torch.tensor(said["mean"]).view(3, 1, 1)) / 0.5
    assert torch.allclose(target(images), model(normalised), atol=1e-5)
    assert target.profile.assumptions == ()
    assert target.profile.labels == ("a", "b", "c", "d")
    assert target.profile.identified_by == "description in __metadata__"


@pytest.mark.parametrize("after", [False, True])
def test_batch_norm_is_kept_in_the_module_and_folded_in_the_stack(tmp_path: Path, after: bool) -> None:
    def block(before: int, width: int) -> list[nn.Module]:
        norm = nn.BatchNorm1d(width)
        norm.running_mean = torch.randn(width)
        norm.running_var = torch.rand(width) + 0.5
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        act = nn.GELU()
        return [nn.Linear(before, width), *([act, norm] if after else [norm, act])]

    model = nn.Sequential(nn.Flatten(), *block(16, 8), *block(8, 8), nn.Linear(8, 3)).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    target = _target(
        tmp_path / "model.safetensors", assume={"activation": "gelu", "norm": "after" if after else "before"}
    )
    images = torch.rand(5, 1, 4, 4)
    assert torch.allclose(target(images), model(images), atol=1e-5)
    assert target.dense is not None
    assert torch.allclose(_through(target.dense, images, nn.GELU()), model(images), atol=1e-5)
    assert {Trait.BATCH_NORM, Trait.DENSE, Trait.FIRST_LAYER_LINEAR} == target.profile.traits
    norms = [module for module in target.module.modules() if isinstance(module, nn.BatchNorm1d)]
    assert torch.equal(norms[0].running_mean, model.state_dict()[f"{3 if after else 2}.running_mean"])


@pytest.mark.parametrize(
    ("act", "name", "bias", "homogeneous"),
    [
        (nn.ReLU, "relu", False, True),
        (nn.LeakyReLU, "leaky_relu", False, True),
        (nn.ReLU, "relu", True, False),
        (nn.GELU, "gelu", False, False),
    ],
)
def test_homogeneous_means_scaling_in_scaling_out(
    tmp_path: Path, act: type[nn.Module], name: str, bias: bool, homogeneous: bool
) -> None:
    save_file(_mlp([16, 8, 3], act, bias=bias).state_dict(), tmp_path / "model.safetensors")
    target = _target(tmp_path / "model.safetensors", assume={"activation": name})
    assert (Trait.HOMOGENEOUS in target.profile.traits) is homogeneous
    images = torch.rand(2, 1, 4, 4)
    assert torch.allclose(target(3 * images), 3 * target(images), atol=1e-5) is homogeneous


def test_a_bias_in_the_first_layer_alone_stays_homogeneous(tmp_path: Path) -> None:
    state = _mlp([16, 8, 3], bias=False).state_dict() | {"1.bias": torch.randn(8)}
    save_file(state, tmp_path / "model.safetensors")
    assert Trait.HOMOGENEOUS in identify(load(tmp_path / "model.safetensors"), Options()).traits


def test_derivatives_reach_the_input_and_the_weights_are_frozen(tmp_path: Path) -> None:
    save_file(_mlp([16, 8, 3], nn.GELU).state_dict(), tmp_path / "model.safetensors")
    target = _target(tmp_path / "model.safetensors", assume={"activation": "gelu"})
    images = torch.rand(2, 1, 4, 4, requires_grad=True)
    (first,) = torch.autograd.grad(target(images).square().sum(), images, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), images)
    assert first.abs().sum() > 0
    assert second.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in target.module.parameters())
    assert not target.module.training


def test_shapes_order_layers_that_names_do_not(tmp_path: Path) -> None:
    names = {"zoom": (9, 16), "core": (7, 9), "apex": (3, 7)}
    save_file({f"{name}.weight": torch.randn(*shape) for name, shape in names.items()}, tmp_path / "model.safetensors")
    profile = identify(load(tmp_path / "model.safetensors"), Options())
    assert profile.architecture == "16-9-7-3, relu"
    assert "--assume order=..." in {assumption.flag for assumption in profile.assumptions}


def test_layers_of_equal_width_without_numbers_are_an_assumption_and_can_be_stated(tmp_path: Path) -> None:
    state = {f"{name}.weight": torch.randn(*shape) for name, shape in {"a": (4, 4), "b": (4, 4), "c": (2, 4)}.items()}
    save_file(state, tmp_path / "model.safetensors")
    images = torch.rand(3, 1, 2, 2)
    plain = _target(tmp_path / "model.safetensors")
    assert "--assume order=..." in {assumption.flag for assumption in plain.profile.assumptions}
    turned = _target(tmp_path / "model.safetensors", assume={"order": "b/a/c"})
    hidden = (images.flatten(1) @ state["b.weight"].T).relu()
    assert torch.allclose(turned(images), (hidden @ state["a.weight"].T).relu() @ state["c.weight"].T, atol=1e-5)


@pytest.mark.parametrize(
    ("state", "said", "hint"),
    [
        ({"1": (8, 16), "2": (3, 9)}, "2 reads 9 values, 1 before it returns 8", ""),
        ({"1": (16, 8), "2": (8, 3)}, "reads 3 values", "transposed"),
        ({"1": (8, 17), "2": (3, 8)}, "no square grey or colour image", "--input-shape C,H,W"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    tmp_path: Path, state: dict[str, tuple[int, int]], said: str, hint: str
) -> None:
    save_file({f"{name}.weight": torch.randn(*s) for name, s in state.items()}, tmp_path / "model.safetensors")
    with pytest.raises(UnknownModel, match=said) as caught:
        identify(load(tmp_path / "model.safetensors"), Options())
    assert hint in caught.value.hint


def test_a_transposed_bias_is_recognised(tmp_path: Path) -> None:
    save_file({"fc.weight": torch.randn(16, 3), "fc.bias": torch.randn(3)}, tmp_path / "model.safetensors")
    with pytest.raises(UnknownModel, match="looks transposed"):
        identify(load(tmp_path / "model.safetensors"), Options())


def test_statements_that_contradict_the_weights_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(_mlp([16, 8, 3]).state_dict(), path)
    with pytest.raises(UnknownModel, match="48 values, the first layer reads 16"):
        identify(load(path), Options(input_shape=(3, 4, 4)))
    with pytest.raises(UnknownModel, match="5 classes are stated"):
        identify(load(path), Options(assume={"classes": "5"}))
    with pytest.raises(UnknownModel, match="2 values of mean"):
        identify(load(path), Options(mean=(0.0, 0.0), std=(1.0, 1.0)))
    with pytest.raises(UnknownModel, match="no known activation"):
        identify(load(path), Options(assume={"activation": "swoosh"}))


@pytest.mark.parametrize(
    "options",
    [
        {"assume": {"heds": "3"}},
        {"assume": {"heads": "three"}},
        {"assume": {"pool": "max/sum"}},
        {"mean": (0.5,)},
        {"mean": (0.5,), "std": (0.0,)},
        {"input_shape": (3, 0, 4)},
    ],
)
def test_options_that_make_no_sense_are_usage_errors(options: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        Options(**options)  # type: ignore[arg-type]
    assert caught.value.hint
