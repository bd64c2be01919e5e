"""The in-package MobileNetV2, against one written after the paper's table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from published_examples import randomised, rebuilt, saved
from torch import Tensor, nn

from auditcli.families import Options
from auditcli.families._dossier import Dossier
from auditcli.families._template import Mismatch
from auditcli.families.mobilenet import MOBILENET
from auditcli.loading import load

TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repeats and stride, from the paper."""


def unit(channels: int, outer: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, outer, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outer), nn.ReLU6())


class Inverted(nn.Module):
    def __init__(self, channels: int, outer: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        first = [] if expansion == 1 else [unit(channels, inner, 1)]
        last = (nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer))
        self.conv = nn.Sequential(*first, unit(inner, inner, 3, stride, inner), *last)
        self.add = stride == 1 and channels == outer

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.add else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, *, divisor: int = 4, small: bool = False, drop: bool = True, channels: int = 3) -> None:
        super().__init__()
        before = 32 // divisor
        modules: list[nn.Module] = [unit(channels, before, 3, 1 if small else 2)]
        for number, (expansion, width, repeats, stride) in enumerate(TABLE):
            for index in range(repeats):
                step = stride if index == 0 and not (small and number == 1) else 1
                modules.append(Inverted(before, width // divisor, step, expansion))
                before = width // divisor
        self.features = nn.Sequential(*modules, unit(before, 80, 1))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(80, 7)) if drop else nn.Linear(80, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


@pytest.mark.parametrize(("channels", "drop", "divisor"), [(3, True, 2), (1, False, 4), (3, False, 4)])
def test_the_published_table(tmp_path: Path, channels: int, drop: bool, divisor: int) -> None:
    original = randomised(MobileNetV2(divisor=divisor, drop=drop, channels=channels))
    found = rebuilt(original, saved(original, tmp_path), side=64, channels=channels)
    assert found.right, found
    assert found.profile.template == "mobilenet"


def test_strides_for_32_pixels_are_an_alternative(tmp_path: Path) -> None:
    original = randomised(MobileNetV2(small=True))
    path = saved(original, tmp_path)
    wrong = rebuilt(original, path, side=32)
    assert not wrong.right
    (assumption,) = (one for one in wrong.profile.assumptions if one.flag == "--assume strides=...")
    assert assumption.value == "2/1/2/2/2/1/2/1"
    (strides,) = assumption.alternatives
    assert rebuilt(original, path, side=32, assume={"strides": strides}).right


@pytest.mark.parametrize(
    ("gone", "why"),
    [
        ("classifier", "classifier.bias is missing (a model without its classifier)"),
        ("features.18", "it has 16 blocks, the published table has 17"),
        ("features.7.conv.1.1", "features.7.conv.1.1.bias is missing"),
    ],
)
def test_a_truncated_state_dict_is_refused(tmp_path: Path, gone: str, why: str) -> None:
    original = randomised(MobileNetV2())
    path = saved(original, tmp_path, lambda state: {n: t for n, t in state.items() if not n.startswith(gone)})
    found = MOBILENET.recognise(Dossier(load(path), Options()))
    assert isinstance(found, Mismatch)
    assert found.why == why


def test_a_convolution_over_all_channels_is_no_inverted_residual(tmp_path: Path) -> None:
    original = randomised(MobileNetV2())
    dense = {"features.3.conv.1.0.weight": torch.randn(36, 36, 3, 3)}
    found = MOBILENET.recognise(Dossier(load(saved(original, tmp_path, lambda state: state | dense)), Options()))
    assert isinstance(found, Mismatch)
    assert found.why == "features.3.conv.1.0.weight is (36, 36, 3, 3), (36, 1, 3, 3) was expected"
