"""The in-package MLP-Mixer, against timm's and under the names of hand-written code."""

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
from auditcli.families.mixer import MIXER
from auditcli.loading import load
from auditcli.types import Family

NAMES = (
    {"stem.proj": "patch_embed", "blocks": "mixer_blocks", "mlp_tokens": "token_mixing", "norm.": "ln."},
    {"stem.proj": "patch_embedding.conv", "mlp_tokens.fc1": "token_mix.net.0", "mlp_tokens.fc2": "token_mix.net.3"},
    {"mlp_channels.fc1": "channel_mlp.0", "mlp_channels.fc2": "channel_mlp.2", "head": "classifier"},
    {"norm1": "layer_norm_1", "norm2": "layer_norm_2", "mlp_tokens": "mlp_token", "mlp_channels": "mlp_channel"},
)


@pytest.fixture(scope="module")
def timm() -> Iterator[ModuleType]:
    with imported_timm() as library:
        yield library


def make(timm: ModuleType, **keywords: Any) -> nn.Module:
    sizes = {"img_size": 16, "patch_size": 4, "num_blocks": 3, "embed_dim": 24, "num_classes": 7} | keywords
    return randomised(timm.models.mlp_mixer.MlpMixer(**sizes))


@pytest.mark.parametrize(
    "keywords",
    [{}, {"in_chans": 1, "img_size": 28, "patch_size": 7}, {"mlp_ratio": (1.0, 2.0)}],
    ids=["colour", "grey", "ratio"],
)
def test_networks_of_timm(timm: ModuleType, tmp_path: Path, keywords: dict[str, Any]) -> None:
    original, side = make(timm, **keywords), keywords.get("img_size", 16)
    found = rebuilt(original, saved(original, tmp_path), side=side, channels=keywords.get("in_chans", 3))
    assert found.right, found
    assert (found.profile.template, found.profile.family) == ("mixer", Family.MIXER)


def test_the_image_size_follows_from_the_tokens(timm: ModuleType, tmp_path: Path) -> None:
    found = MIXER.recognise(Dossier(load(saved(make(timm), tmp_path)), Options()))
    assert not isinstance(found, Mismatch)
    assert found.input_shape == (3, 16, 16)
    assert "--input-shape C,H,W" not in {one.flag for one in found.assumptions}


@pytest.mark.parametrize("names", NAMES)
def test_names_of_hand_written_code(timm: ModuleType, tmp_path: Path, names: dict[str, str]) -> None:
    original = make(timm)

    def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
        found = {}
        for name, tensor in state.items():
            for new, other in names.items():
                name = name.replace(new, other) if new != "norm." or name.startswith(new) else name
            found[name] = tensor
        return found

    assert rebuilt(original, saved(original, tmp_path, renamed), side=16).right


def gated(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"blocks.0.mlp_channels.fc2.weight": torch.randn(24, 48)}


def affine(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"blocks.1.ls1": torch.randn(24)}


def oblong(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"blocks.0.mlp_tokens.fc1.weight": torch.randn(12, 15)}


def headless(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("head")}


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (gated, "blocks.0.mlp_channels.fc2.weight is (24, 48), (24, 96) was expected"),
        (affine, "blocks.1.ls1 (24,) has no place in it"),
        (oblong, "15 tokens are no square of patches"),
        (headless, "head.bias is missing (a model without its classifier)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_relatives_are_refused(timm: ModuleType, tmp_path: Path, edit: Any, why: str) -> None:
    found = MIXER.recognise(Dossier(load(saved(make(timm), tmp_path, edit)), Options()))
    assert isinstance(found, Mismatch)
    assert found.why == why
