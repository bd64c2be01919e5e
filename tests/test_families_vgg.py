"""The in-package VGG, against timm's and against hand-written ones, and the layouts that are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch
from published_examples import randomised, rebuilt, saved
from torch import Tensor, nn
from torchvision_stub import imported_timm

from auditcli.families import Options
from auditcli.families._dossier import Dossier
from auditcli.families._template import Mismatch
from auditcli.families.vgg import VGG
from auditcli.loading import load

LAYOUTS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@pytest.fixture(scope="module")
def timm() -> Iterator[ModuleType]:
    with imported_timm() as library:
        yield library


def features(layout: Sequence[int], *, normed: bool, width: int = 4, dropout: bool = False) -> nn.Sequential:
    modules: list[nn.Module] = []
    channels = 3
    for factor, count in zip((1, 2, 4, 8, 8), layout, strict=False):
        for _ in range(count):
            modules.append(nn.Conv2d(channels, width * factor, 3, padding=1))
            modules += [nn.BatchNorm2d(width * factor)] if normed else []
            modules += [nn.ReLU(), nn.Dropout(0.3)] if dropout else [nn.ReLU()]
            channels = width * factor
        modules.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*modules)


class Hand(nn.Module):
    """As torchvision writes it: features, average pooling where there is one, classifier."""

    def __init__(self, body: nn.Sequential, average: int, classifier: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier = body, classifier
        self.average = nn.AdaptiveAvgPool2d(average) if average else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.average(self.features(x)).flatten(1))


def heads(kind: str) -> tuple[int, nn.Module]:
    """Height of what the classifier reads, and the classifier."""
    if kind == "torchvision":
        layers = (nn.Linear(32 * 49, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 24), nn.ReLU(), nn.Dropout())
        return 7, nn.Sequential(*layers, nn.Linear(24, 7))
    if kind == "dropout first":
        layers = (nn.Dropout(), nn.Linear(32, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 16), nn.ReLU())
        return 0, nn.Sequential(*layers, nn.Linear(16, 7))
    return 0, nn.Linear(32, 7)


@pytest.mark.parametrize("depth", LAYOUTS)
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("kind", ["torchvision", "dropout first", "one layer"])
def test_all_layouts_and_heads(tmp_path: Path, depth: int, normed: bool, kind: str) -> None:
    average, classifier = heads(kind)
    original = randomised(Hand(features(LAYOUTS[depth], normed=normed), average, classifier))
    found = rebuilt(original, saved(original, tmp_path), side=64 if average else 32)
    assert found.right, found
    assert found.profile.template == "vgg"
    assert "/".join(map(str, LAYOUTS[depth])) in found.profile.architecture


@pytest.mark.parametrize("name", ["Vgg11", "Vgg11Bn"])
def test_networks_of_timm(timm: ModuleType, tmp_path: Path, name: str) -> None:
    layers = [4, "M", 8, "M", 16, 16, "M", 32, 32, "M", 32, 32, "M"]
    norm = nn.BatchNorm2d if name.endswith("Bn") else None
    original = randomised(timm.models.vgg.VGG(layers, num_classes=7, mlp_ratio=0.125, norm_layer=norm))
    found = rebuilt(original, saved(original, tmp_path), side=224)
    assert found.right, found


def test_pooling_by_average_is_an_alternative(tmp_path: Path) -> None:
    original = randomised(Hand(features(LAYOUTS[11], normed=True), *heads("one layer")))
    for place, module in enumerate(original.features):
        if isinstance(module, nn.MaxPool2d):
            original.features[place] = nn.AvgPool2d(2)
    path = saved(original, tmp_path)
    wrong = rebuilt(original, path, side=32)
    assert not wrong.right
    assert wrong.assumed("--assume pool") == "max"
    assert rebuilt(original, path, side=32, assume={"pool": "avg"}).right


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (features((1, 1, 1, 2, 2), normed=False), "stages of 1-1-1-2-2 convolutions, which no VGG has"),
        (features(LAYOUTS[11][:4], normed=False), "stages of 1-1-2-2 convolutions"),
        (features(LAYOUTS[11], normed=False, dropout=True), "is no place of a convolution|which no VGG has"),
        (nn.Sequential(nn.Identity(), *features(LAYOUTS[11], normed=False)), "features.0.weight is missing"),
    ],
    ids=["other layout", "four stages", "dropout between", "shifted"],
)
def test_layouts_that_no_vgg_has(tmp_path: Path, body: nn.Sequential, why: str) -> None:
    import re

    path = saved(randomised(Hand(body, *heads("one layer"))), tmp_path)
    found = VGG.recognise(Dossier(load(path), Options()))
    assert isinstance(found, Mismatch)
    assert re.search(why, found.why), found.why


def test_other_widths_and_a_missing_classifier_are_refused(tmp_path: Path) -> None:
    original = randomised(Hand(features(LAYOUTS[11], normed=True), *heads("one layer")))

    def without(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in state.items() if not name.startswith("classifier")}

    def wider(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return state | {"features.4.weight": torch.randn(9, 4, 3, 3)}

    for edit, why in (
        (without, "classifier.bias is missing (a model without its classifier)"),
        (wider, "features.4.weight is (9, 4, 3, 3), (8, 4, 3, 3) was expected"),
    ):
        found = VGG.recognise(Dossier(load(saved(original, tmp_path, edit)), Options()))
        assert isinstance(found, Mismatch)
        assert found.why == why
