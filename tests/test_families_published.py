"""What holds for all published architectures: no other state dict is taken for one, whatever is done to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from auditcli.errors import OpenQuestion
from auditcli.families import Options
from auditcli.families._dossier import Dossier
from auditcli.families._head import head
from auditcli.families._names import readings, renamed, unwrapped
from auditcli.families._template import Mismatch, Rank, Template, discover
from auditcli.types import Checkpoint, Format, Profile

Shapes = dict[str, tuple[int, ...]]


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}


def linear(name: str, columns: int, rows: int) -> Shapes:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def resnet() -> Shapes:
    shapes = {"conv1.weight": (4, 3, 3, 3)} | norm("bn1", 4) | linear("fc", 8, 5)
    for stage, (before, width) in enumerate(((4, 4), (4, 8)), start=1):
        block = f"layer{stage}.0"
        shapes |= {f"{block}.conv1.weight": (width, before, 3, 3), f"{block}.conv2.weight": (width, width, 3, 3)}
        shapes |= norm(f"{block}.bn1", width) | norm(f"{block}.bn2", width)
    return shapes | {"layer2.0.downsample.0.weight": (8, 4, 1, 1)} | norm("layer2.0.downsample.1", 8)


def vgg() -> Shapes:
    shapes, channels, place = linear("classifier", 16, 5), 3, 0
    for width, count in zip((2, 4, 8, 16, 16), (1, 1, 2, 2, 2), strict=True):
        for _ in range(count):
            shapes |= {f"features.{place}.weight": (width, channels, 3, 3), f"features.{place}.bias": (width,)}
            channels, place = width, place + 2
        place += 1
    return shapes


def densenet() -> Shapes:
    shapes = {"features.conv0.weight": (4, 3, 3, 3)} | norm("features.norm5", 4) | linear("classifier", 4, 5)
    for number, (before, after) in enumerate(((4, 3), (3, 0)), start=1):
        layer = f"features.denseblock{number}.denselayer1"
        shapes |= {f"{layer}.conv1.weight": (6, before, 1, 1), f"{layer}.conv2.weight": (2, 6, 3, 3)}
        shapes |= norm(f"{layer}.norm1", before) | norm(f"{layer}.norm2", 6)
        if after:
            shapes |= {"features.transition1.conv.weight": (3, 6, 1, 1)} | norm("features.transition1.norm", 6)
    return shapes | norm("features.norm5", 5) | linear("classifier", 5, 5)


def mixer() -> Shapes:
    shapes = {"stem.proj.weight": (6, 3, 4, 4), "stem.proj.bias": (6,), "norm.weight": (6,), "norm.bias": (6,)}
    for block in ("blocks.0", "blocks.1"):
        shapes |= linear(f"{block}.mlp_tokens.fc1", 4, 3) | linear(f"{block}.mlp_tokens.fc2", 3, 4)
        shapes |= linear(f"{block}.mlp_channels.fc1", 6, 8) | linear(f"{block}.mlp_channels.fc2", 8, 6)
        shapes |= {f"{block}.norm{number}.{part}": (6,) for number in (1, 2) for part in ("weight", "bias")}
    return shapes | linear("head", 6, 5)


EXAMPLES = {"resnet": resnet(), "vgg": vgg(), "densenet": densenet(), "mixer": mixer()}
TEMPLATES = {template.name: template for template in discover()}


def recognised(template: Template, shapes: Mapping[str, tuple[int, ...]]) -> Profile | Mismatch:
    tensors = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    checkpoint = Checkpoint(Path("x.safetensors"), Format.SAFETENSORS, sha256="", bytes=0, tensors=tensors)
    return template.recognise(Dossier(checkpoint, Options()))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_recognised_by_one_template_alone(name: str) -> None:
    fitting = [one.name for one in TEMPLATES.values() if one.rank == Rank.NAMED and _fits(one, EXAMPLES[name])]
    assert fitting == [name]


def _fits(template: Template, shapes: Shapes) -> bool:
    return Format.SAFETENSORS in template.formats and isinstance(recognised(template, shapes), Profile)


@pytest.mark.parametrize("name", EXAMPLES)
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_one_other_shape_is_refused_and_never_an_error(name: str, data: st.DataObject) -> None:
    shapes = EXAMPLES[name]
    tensor = data.draw(st.sampled_from(sorted(shapes)))
    shape = tuple(data.draw(st.lists(st.integers(0, 9), max_size=5)))
    found = _outcome(name, shapes | {tensor: shape})
    if isinstance(found, Profile):
        assert shape == shapes[tensor] or tensor.startswith(("conv1.", "features.0.", "features.conv0.", "stem."))


@pytest.mark.parametrize("name", EXAMPLES)
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_one_missing_or_added_tensor_is_refused(name: str, data: st.DataObject) -> None:
    shapes = dict(EXAMPLES[name])
    gone = data.draw(st.sampled_from(sorted(shapes)))
    added = data.draw(st.sampled_from((f"{gone}s", f"layer9.0.{gone}", "gamma", "features.99.weight", "fc.extra")))
    removed = {key: shape for key, shape in shapes.items() if key != gone}
    for changed in (removed, removed | {added: shapes[gone]}, shapes | {added: (3, 3)}):
        found = _outcome(name, changed)
        # Only the last layer may have a bias or not.
        assert isinstance(found, Mismatch) or gone in {"fc.bias", "classifier.bias", "head.bias"}, (gone, added)


def _outcome(name: str, shapes: Shapes) -> Profile | Mismatch | OpenQuestion:
    try:
        return recognised(TEMPLATES[name], shapes)
    except OpenQuestion as question:
        return question


# ---- names and heads ------------------------------------------------------------------------------------------------


def _state(*names: str) -> dict[str, Tensor]:
    return {name: torch.zeros(1) for name in names}


@pytest.mark.parametrize(
    ("names", "prefix", "outside"),
    [
        (("conv1.weight", "layer1.0.conv1.weight"), "", ()),
        (("module.conv1.weight", "module.layer1.0.conv1.weight"), "module.", ()),
        (("model.net.conv1.weight", "model.net.fc.bias"), "model.net.", ()),
        (("backbone.conv1.weight", "fc.bias"), "backbone.", ("fc.bias",)),
    ],
)
def test_the_shortest_prefix_before_the_anchor(names: tuple[str, ...], prefix: str, outside: tuple[str, ...]) -> None:
    found = unwrapped(_state(*names, "bn.num_batches_tracked"), ("conv1.weight",))
    assert found is not None
    assert (found.prefix, found.outside) == (prefix, outside)
    assert "conv1.weight" in found.state


def test_two_names_never_become_one() -> None:
    assert unwrapped(_state("module.conv1.weight", "module.fc.bias", "fc.bias"), ("conv1.weight",)) is None
    assert unwrapped(_state("fc.bias"), ("conv1.weight",)) is None
    assert renamed(_state("fc.bias", "linear.bias"), ((r"^linear\.", "fc."),)) is None


def test_readings_take_off_what_all_names_share() -> None:
    read = [sorted(state) for state in readings(_state("a.b.x", "a.b.y.z", "a.b.num_batches_tracked"))]
    assert read == [["a.b.x", "a.b.y.z"], ["b.x", "b.y.z"], ["x", "y.z"]]


@pytest.mark.parametrize(
    ("shapes", "layers"),
    [
        ({"fc.weight": (5, 8)}, ((-1, 5),)),
        ({"fc.1.weight": (5, 8)}, ((1, 5),)),
        ({"fc.0.weight": (6, 8), "fc.3.weight": (5, 6)}, ((0, 6), (3, 5))),
        ({}, ((-1, 1),)),
        ({"fc.0.weight": (6, 8), "fc.4.weight": (5, 6)}, None),
        ({"fc.0.weight": (6,), "fc.1.weight": (5, 6)}, None),
        ({"fc.7.weight": (5, 8)}, None),
    ],
)
def test_heads(shapes: Shapes, layers: tuple[tuple[int, int], ...] | None) -> None:
    found = head({name: torch.zeros(shape) for name, shape in shapes.items()}, "fc")
    assert (None if found is None else found.layers) == layers
    if found is not None and found.inputs:
        assert found.module(8, "relu").eval()(torch.zeros(2, 8)).shape == (2, 5)
