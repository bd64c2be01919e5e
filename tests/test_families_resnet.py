"""The in-package residual networks, against timm's and against hand-written ones as people share them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from published_examples import randomised, rebuilt, saved
from torch import Tensor, nn
from torch.nn import functional
from torchvision_stub import imported_timm

from auditcli.errors import OpenQuestion, UnknownModel
from auditcli.families import Options, identify
from auditcli.families._dossier import Dossier
from auditcli.families._template import Mismatch
from auditcli.families.resnet import RESNET
from auditcli.loading import load


@pytest.fixture(scope="module")
def timm() -> Iterator[ModuleType]:
    with imported_timm() as library:
        yield library


def make(timm: ModuleType, block: str = "BasicBlock", layers: tuple[int, ...] = (2, 1, 1, 1), **keywords: Any) -> Any:
    """A residual network of timm with 7 classes."""
    models = timm.models.resnet
    return models.ResNet(getattr(models, block), layers, num_classes=7, **keywords)


class Basic(nn.Module):
    """The block of common code for CIFAR-10, with or without weights in the shortcut."""

    def __init__(self, channels: int, outer: int, stride: int, *, option: str, names: str = "shortcut") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.option, self.outer, self.names = option, outer, names
        changed = stride != 1 or channels != outer
        if changed and option == "B":
            projection = nn.Sequential(nn.Conv2d(channels, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
            self.add_module(names, projection)
        else:
            self.names = ""
        self.changed = changed

    def beside(self, x: Tensor) -> Tensor:
        if self.names:
            return self.get_submodule(self.names)(x)
        if not self.changed:
            return x
        quarter = self.outer // 4
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter), "constant", 0)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(out if self.option == "plain" else out + self.beside(x))


class Small(nn.Module):
    """A residual network for 32 pixels: 3x3 first, no pool, three or four stages."""

    def __init__(
        self,
        *,
        widths: tuple[int, ...] = (8, 16, 32),
        blocks: int = 2,
        option: str = "A",
        classifier: str = "linear",
        names: str = "shortcut",
        first: tuple[int, int] = (3, 1),
        channels: int = 3,
    ) -> None:
        super().__init__()
        kernel, stride = first
        self.conv1 = nn.Conv2d(channels, widths[0], kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before = widths[0]
        for number, width in enumerate(widths, start=1):
            stage = []
            for index in range(blocks):
                step = 2 if index == 0 and number > 1 else 1
                stage.append(Basic(before, width, step, option=option, names=names))
                before = width
            self.add_module(f"layer{number}", nn.Sequential(*stage))
        self.depth = len(widths)
        self.add_module(classifier, nn.Linear(before, 7))
        self.classifier_name = classifier

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        for number in range(1, self.depth + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return self.get_submodule(self.classifier_name)(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("block", "keywords"),
    [
        ("BasicBlock", {}),
        ("BasicBlock", {"in_chans": 1, "layers": (1, 2, 1, 3)}),
        ("Bottleneck", {"layers": (1, 1, 1, 1)}),
        ("Bottleneck", {"layers": (1, 1, 1, 1), "cardinality": 8, "base_width": 4}),
        ("Bottleneck", {"layers": (1, 1, 1, 1), "base_width": 128}),
    ],
    ids=["basic", "uneven-grey", "bottleneck", "grouped", "wide"],
)
def test_networks_of_timm(timm: ModuleType, tmp_path: Path, block: str, keywords: dict[str, Any]) -> None:
    channels = keywords.get("in_chans", 3)
    original = randomised(make(timm, block, **keywords))
    found = rebuilt(original, saved(original, tmp_path), side=48, channels=channels)
    assert found.right, found
    assert found.profile.template == "resnet"
    assert found.assumed("--assume stem") == "2+pool"
    assert {one.flag for one in found.profile.assumptions if one.alternatives} >= {
        "--assume stem=...",
        "--assume global_pool=...",
        *(() if block == "BasicBlock" else ("--assume stride_in=...",)),
    }


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.backbone.", "_orig_mod.module."])
def test_prefixes_of_outer_modules_are_taken_off(tmp_path: Path, prefix: str) -> None:
    original = randomised(Small(option="B"))
    path = saved(original, tmp_path, lambda state: {prefix + name: tensor for name, tensor in state.items()})
    assert rebuilt(original, path, side=32).right


@pytest.mark.parametrize("names", ["shortcut", "downsample"])
@pytest.mark.parametrize("classifier", ["fc", "linear", "classifier"])
@pytest.mark.parametrize("widths", [(8, 16, 32), (8, 16, 24, 32)])
def test_small_networks_with_projections(tmp_path: Path, widths: tuple[int, ...], classifier: str, names: str) -> None:
    original = randomised(Small(widths=widths, option="B", classifier=classifier, names=names))
    found = rebuilt(original, saved(original, tmp_path), side=32)
    assert found.right, found
    assert found.assumed("--assume stem") == "1"
    assert "--assume shortcut=..." not in {one.flag for one in found.profile.assumptions}


def test_shortcuts_without_weights_are_an_assumption(tmp_path: Path) -> None:
    padded, plain = randomised(Small(option="A")), randomised(Small(option="plain"))
    assert padded.state_dict().keys() == plain.state_dict().keys()
    found = rebuilt(padded, saved(padded, tmp_path), side=32)
    assert found.right, found
    (assumption,) = (one for one in found.profile.assumptions if one.flag == "--assume shortcut=...")
    assert assumption.alternatives == ("pad-end", "none")
    wrong = rebuilt(plain, saved(plain, tmp_path), side=32)
    assert not wrong.right
    assert rebuilt(plain, saved(plain, tmp_path), side=32, assume={"shortcut": "none"}).right


def test_zeros_behind_the_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def beside(block: Basic, x: Tensor) -> Tensor:
        if not block.changed:
            return x
        kept = x[:, :, ::2, ::2]
        return torch.cat([kept, kept.new_zeros(len(x), block.outer - kept.shape[1], *kept.shape[2:])], 1)

    original = randomised(Small(option="A"))
    monkeypatch.setattr(Basic, "beside", beside)
    assert rebuilt(original, saved(original, tmp_path), side=32, assume={"shortcut": "pad-end"}).right
    assert not rebuilt(original, saved(original, tmp_path), side=32).right


def test_residual_functions_in_sequences(tmp_path: Path) -> None:
    """Names of another common implementation for 32 pixels."""
    original = randomised(Small(option="B"))

    def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
        parts = {"conv1": "0", "bn1": "1", "conv2": "3", "bn2": "4"}
        found = {}
        for name, tensor in state.items():
            pieces = name.split(".")
            if pieces[0] in {"conv1", "bn1"}:
                pieces[0] = {"conv1": "conv1.0", "bn1": "conv1.1"}[pieces[0]]
            elif pieces[0].startswith("layer"):
                pieces[0] = f"conv{int(pieces[0][5:]) + 1}_x"
                pieces[2] = f"residual_function.{parts[pieces[2]]}" if pieces[2] in parts else pieces[2]
            found[".".join(pieces).replace("linear.", "fc.")] = tensor
        return found

    assert rebuilt(original, saved(original, tmp_path, renamed), side=32).right


def test_counters_may_be_left_out_and_the_head_may_be_a_sequence(tmp_path: Path) -> None:
    original = randomised(Small(option="B", classifier="fc"))
    original.fc = nn.Sequential(nn.Dropout(), nn.Linear(32, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 7)).eval()

    def edit(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in state.items() if "num_batches" not in name}

    assert rebuilt(original, saved(original, tmp_path, edit), side=32).right


def test_a_head_beside_its_backbone_is_listed(tmp_path: Path) -> None:
    original = randomised(Small(option="B", classifier="fc"))
    path = saved(
        original, tmp_path, lambda state: {n if n.startswith("fc") else f"backbone.{n}": t for n, t in state.items()}
    )
    found = rebuilt(original, path, side=32)
    assert found.right
    (assumption,) = (one for one in found.profile.assumptions if one.what == "outer module")
    assert assumption.why.startswith("fc reads what backbone returns")
    stated = rebuilt(original, path, side=32, assume={"template": "resnet"})
    assert "outer module" not in {one.what for one in stated.profile.assumptions}


@pytest.mark.parametrize("inner", ["conv1", "conv2"])
def test_the_stride_of_bottlenecks_can_stand_in_either_layer(timm: ModuleType, tmp_path: Path, inner: str) -> None:
    original = make(timm, "Bottleneck", layers=(1, 1, 1, 1))
    for number in (2, 3, 4):
        block = getattr(original, f"layer{number}")[0]
        block.conv1.stride, block.conv2.stride = ((2, 2), (1, 1)) if inner == "conv1" else ((1, 1), (2, 2))
    path = saved(randomised(original), tmp_path)
    assert rebuilt(original, path, side=48, assume={"stride_in": inner}).right
    other = "conv2" if inner == "conv1" else "conv1"
    assert not rebuilt(original, path, side=48, assume={"stride_in": other}).right


def test_a_first_convolution_of_unusual_size_is_a_question(tmp_path: Path) -> None:
    original = randomised(Small(option="B", first=(5, 2)))
    path = saved(original, tmp_path)
    with pytest.raises(OpenQuestion, match="stride and pool of the first convolution, of 5x5") as caught:
        identify(load(path), Options())
    assert {"stem": "2"} in caught.value.candidates
    assert rebuilt(original, path, side=32, assume={"stem": "2"}).right


def test_stages_of_equal_width_leave_their_strides_open(tmp_path: Path) -> None:
    original = randomised(Small(option="B", widths=(8, 8, 16)))
    path = saved(original, tmp_path)
    found = rebuilt(original, path, side=32)
    assert found.right, "a projection that the channels do not ask for shows the stride"
    without = randomised(Small(option="A", widths=(8, 8, 16)))
    for block in (*without.layer1, *without.layer2):
        block.conv1.stride, block.changed = (1, 1), False
    path = saved(without, tmp_path)
    with pytest.raises(OpenQuestion, match="whether layer2 halves height and width") as caught:
        identify(load(path), Options())
    assert caught.value.candidates == ({"strides": "1/1/2"}, {"strides": "1/2/2"})
    assert rebuilt(without, path, side=32, assume={"strides": "1/1/2"}).right


# ---- what is no residual network ------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    """Why the template does not take a file; that nothing else takes it either is checked as well."""
    with pytest.raises(UnknownModel):
        identify(load(path), Options())
    found = RESNET.recognise(Dossier(load(path), Options()))
    assert isinstance(found, Mismatch)
    return found.why


def renamed_tensor(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("layer2.0.conv2", "layer2.0.convolution2"): tensor for name, tensor in state.items()}


def truncated(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("layer2.1.bn2")}


def headless(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc")}


def detector(state: dict[str, Tensor]) -> dict[str, Tensor]:
    body = {f"backbone.body.{name}": tensor for name, tensor in headless(state).items()}
    return body | {"rpn.head.conv.weight": torch.randn(8, 8, 3, 3), "roi_heads.box_predictor.weight": torch.randn(5, 8)}


def two_headed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"fc2.weight": torch.randn(3, 32), "fc2.bias": torch.randn(3)}


def squeezed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {
        "layer1.0.se.fc1.weight": torch.randn(2, 8, 1, 1),
        "layer1.0.se.fc2.weight": torch.randn(8, 2, 1, 1),
    }


def narrowed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"layer2.1.conv1.weight": torch.randn(16, 12, 3, 3)}


def whole_numbers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"layer2.1.conv1.weight": torch.ones(16, 16, 3, 3, dtype=torch.int8)}


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (renamed_tensor, "layer2.0.conv2.weight is missing"),
        (truncated, "layer2.1.bn2.bias is missing"),
        (headless, "fc.bias is missing (a model without its classifier)"),
        (detector, "fc is missing, and roi_heads.box_predictor.weight (5, 8) has no place in it"),
        (two_headed, "fc2.bias (3,) has no place in it"),
        (squeezed, "layer1.0.se.fc1.weight (2, 8, 1, 1) has no place in it"),
        (narrowed, "layer2.1.conv1.weight is (16, 12, 3, 3), (16, 16, 3, 3) was expected"),
        (whole_numbers, "layer2.1.conv1.weight holds int8, floats were expected"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_changed_state_dict_is_refused_with_the_difference(tmp_path: Path, edit: Any, why: str) -> None:
    assert refused(saved(randomised(Small(option="B", classifier="fc")), tmp_path, edit)) == why


@pytest.mark.parametrize(
    "keywords",
    [
        {"stem_type": "deep", "stem_width": 16},
        {"avg_down": True},
        {"block_args": {"attn_layer": "se"}},
        {"stem_type": "deep_tiered", "avg_down": True},
    ],
    ids=["deep", "average-down", "squeezed", "tiered"],
)
def test_relatives_of_other_names_or_shapes_are_refused(
    timm: ModuleType, tmp_path: Path, keywords: dict[str, Any]
) -> None:
    refused(saved(randomised(make(timm, layers=(1, 1, 1, 1), **keywords)), tmp_path))


def test_the_user_is_told_that_the_classifier_is_missing(tmp_path: Path) -> None:
    path = saved(randomised(Small(option="B", classifier="fc")), tmp_path, headless)
    with pytest.raises(UnknownModel, match=r"nearest is resnet, but fc\.bias is missing"):
        identify(load(path), Options())


class PreActivated(nn.Module):
    """Batch norm before each convolution, under the same names."""

    def __init__(self) -> None:
        super().__init__()
        small = Small(option="B", classifier="fc")
        self.conv1, self.bn1, self.fc = small.conv1, small.bn1, small.fc
        self.layer1, self.layer2, self.layer3 = small.layer1, small.layer2, small.layer3
        for number, width in ((2, 8), (3, 16)):
            getattr(self, f"layer{number}")[0].bn1 = nn.BatchNorm2d(width)


def test_activation_before_the_convolution_is_told_by_its_norms(tmp_path: Path) -> None:
    assert refused(saved(randomised(PreActivated()), tmp_path)) == "layer2.0.bn1.bias is (8,), (16,) was expected"
