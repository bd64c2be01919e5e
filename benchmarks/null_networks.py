"""Small networks that never saw the images they are asked about, read from files: `network`, `NETWORKS`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import auditcli
from auditcli.types import Sample, Target

NETWORKS = ("untrained mlp", "mlp", "cnn", "untrained vit")
_STEPS = 40
_CLASSES = 10


def network(kind: str, strangers: Sample, seed: int) -> Target:
    """A new network, trained on images that are neither members nor controls, if at all.

    Args:
        kind: One of `NETWORKS`.
        strangers: To train on, with labels.
        seed: Of its weights.

    Returns:
        What `auditcli.load` makes of its file.
    """
    _, channels, side, _ = strangers.images.shape
    torch.manual_seed(seed)
    assume: dict[str, str] = {}
    if kind.endswith("vit"):
        tensors, assume = _vit(channels, side // 4), {"heads": "2", "activation": "gelu"}
    else:
        model = _cnn(channels, side) if kind == "cnn" else _mlp(channels * side * side)
        if "untrained" not in kind:
            _train(model, strangers)
        tensors = dict(model.state_dict())
        assume = {"activation": "relu", **({"strides": "2", "paddings": "1", "pool": "none"} if kind == "cnn" else {})}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(tensors, path)
        shape = (channels, side, side)
        return auditcli.load(path, device="cpu", mean=(0.0,), std=(1.0,), input_shape=shape, assume=assume)


def _mlp(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, _CLASSES))


def _cnn(channels: int, side: int) -> nn.Sequential:
    convolutions = (nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(16 * (side // 4) ** 2, _CLASSES))


def _vit(channels: int, patch: int, width: int = 16) -> dict[str, Tensor]:
    """Weights under the names of timm, 16 patches and two blocks."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 17, width),
        "patch_embed.proj.weight": (width, channels, patch, patch),
        "patch_embed.proj.bias": (width,),
    }
    layers = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    layers |= {"mlp.fc1": (2 * width, width), "mlp.fc2": (width, 2 * width)}
    for block in range(2):
        for name, shape in layers.items():
            shapes |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
    shapes |= {"head.weight": (_CLASSES, width), "head.bias": (_CLASSES,)}
    tensors = {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}
    for norm in ("norm", *(f"blocks.{block}.norm{index}" for block in range(2) for index in (1, 2))):
        tensors |= {f"{norm}.weight": torch.ones(width), f"{norm}.bias": torch.zeros(width)}
    return tensors


def _train(model: nn.Sequential, strangers: Sample) -> None:
    if strangers.labels is None:
        raise TypeError("training takes labels")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(strangers.images), strangers.labels).backward()
        optimizer.step()
