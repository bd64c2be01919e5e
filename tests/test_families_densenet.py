"""The in-package densely connected network, against timm's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from published_examples import randomised, rebuilt, saved
from torch import Tensor, nn
from torchvision_stub import imported_timm

from auditcli.families import Options
from auditcli.families._dossier import Dossier
from auditcli.families._template import Mismatch
from auditcli.families.densenet import DENSENET
from auditcli.loading import load


@pytest.fixture(scope="module")
def timm() -> Iterator[ModuleType]:
    with imported_timm() as library:
        yield library


def make(timm: ModuleType, **keywords: Any) -> nn.Module:
    sizes = {"growth_rate": 8, "block_config": (2, 3, 2, 2), "num_classes": 7} | keywords
    return randomised(timm.models.densenet.DenseNet(**sizes))


@pytest.mark.parametrize(
    "keywords",
    [{}, {"in_chans": 1}, {"growth_rate": 12, "bn_size": 2}, {"block_config": (3, 3, 3)}],
    ids=["four blocks", "grey", "growth", "three blocks"],
)
def test_networks_of_timm(timm: ModuleType, tmp_path: Path, keywords: dict[str, Any]) -> None:
    original = make(timm, **keywords)
    found = rebuilt(original, saved(original, tmp_path), side=64, channels=keywords.get("in_chans", 3))
    assert found.right, found
    assert found.profile.template == "densenet"


def test_names_of_old_files(timm: ModuleType, tmp_path: Path) -> None:
    original = make(timm)

    def old(state: dict[str, Tensor]) -> dict[str, Tensor]:
        pieces = {"norm1.": "norm.1.", "norm2.": "norm.2.", "conv1.": "conv.1.", "conv2.": "conv.2."}
        found = {}
        for name, tensor in state.items():
            for new, former in pieces.items():
                name = name.replace(new, former) if "denselayer" in name else name
            found[f"module.{name}"] = tensor
        return found

    assert rebuilt(original, saved(original, tmp_path, old), side=64).right


class Small(nn.Module):
    """For 32 pixels: a 3x3 convolution first, without norm or pool."""

    def __init__(self, large: nn.Module) -> None:
        super().__init__()
        large.features.conv0 = nn.Conv2d(3, large.features.conv0.out_channels, 3, 1, 1, bias=False)
        del large.features.norm0, large.features.pool0
        self.features, self.classifier = large.features, large.classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def test_networks_for_32_pixels(timm: ModuleType, tmp_path: Path) -> None:
    original = randomised(Small(make(timm, block_config=(2, 2, 2))))
    found = rebuilt(original, saved(original, tmp_path), side=32)
    assert found.right, found
    assert found.assumed("--assume stem") == "1"


@pytest.mark.parametrize(
    ("gone", "why"),
    [
        ("classifier", "classifier.bias is missing (a model without its classifier)"),
        ("features.denseblock2.denselayer2", "features.denseblock2.denselayer2 is missing"),
        ("features.transition2.norm", "features.transition2.norm.bias is missing"),
        ("features.denseblock4", "features.denseblock4.denselayer1.conv1.weight is missing"),
    ],
)
def test_a_truncated_state_dict_is_refused(timm: ModuleType, tmp_path: Path, gone: str, why: str) -> None:
    path = saved(make(timm), tmp_path, lambda state: {n: t for n, t in state.items() if not n.startswith(gone)})
    found = DENSENET.recognise(Dossier(load(path), Options()))
    assert isinstance(found, Mismatch)
    if gone != "features.denseblock4":
        assert found.why == why
    assert "missing" in found.why or "has no place" in found.why or "was expected" in found.why


def test_another_growth_in_one_layer_is_refused(timm: ModuleType, tmp_path: Path) -> None:
    name = "features.denseblock2.denselayer3.conv2.weight"
    path = saved(make(timm), tmp_path, lambda state: state | {name: torch.randn(9, 32, 3, 3)})
    found = DENSENET.recognise(Dossier(load(path), Options()))
    assert isinstance(found, Mismatch)
    assert found.why == f"{name} is (9, 32, 3, 3), (8, 32, 3, 3) was expected"
