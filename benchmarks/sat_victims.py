"""Binarised networks trained here on binarised digits: `VICTIMS`, `Recipe`, `digits`, `victim`.

Straight-through estimates for weights and hidden values, batch norm behind every layer, Adam, as Courbariaux et al.
2016 (arXiv:1602.02830) train binarised networks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditcli.auditing import load
from auditcli.errors import SampleError
from auditcli.loading import save_described
from auditcli.types import Target

_RATE, _BATCH = 0.005, 100


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a victim is made of; its hash names the cached weights."""

    side: int
    """Height and width; images are averaged over areas."""
    hidden: tuple[int, ...]
    epochs: int
    outputs: int = 10
    """Labels; no image has those from 10."""
    threshold: float = 0.25
    """Pixels from here on are read as 1."""
    images: int = 60_000
    """Trained on the first so many."""
    seed: int = 0

    @property
    def key(self) -> str:
        """Names the recipe in the cache."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def widths(self) -> tuple[int, ...]:
        """Of all layers, input and output included."""
        return (self.side**2, *self.hidden, self.outputs)


VICTIMS: Mapping[str, Recipe] = MappingProxyType(
    {
        "100-50-10": Recipe(10, (50,), epochs=12),
        "100-50-11": Recipe(10, (50,), epochs=12, outputs=11),
        "100-50-10-few": Recipe(10, (50,), epochs=600, images=200),
        "100-50-50-10": Recipe(10, (50, 50), epochs=8),
        "784-10-10": Recipe(28, (10,), epochs=4),
    }
)


class Binarised(nn.Module):
    """A network of signs in training."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(out, into).uniform_(-1, 1)) for into, out in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(out) for out in widths[1:])

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) in {-1, 1} -> logits (n, outputs)."""
        for index, (weight, norm) in enumerate(zip(self.weights, self.norms, strict=True)):
            x = norm(functional.linear(_signs(x) if index else x, _signs(weight)))
        return x


def digits(data: Path, side: int, part: str) -> tuple[Tensor, Tensor]:
    """MNIST's images of one part, averaged down to (n, 1, side, side) in [0, 1], and their labels (n,).

    Raises:
        SampleError: the data set is not there.
    """
    path = data / "mnist.npz"
    if not path.is_file():
        raise SampleError(f"no data set mnist.npz in {data}", hint="--data FOLDER with the .npz files")
    with np.load(path, allow_pickle=False) as stored:
        pixels, labels = stored[f"x_{part}"], stored[f"y_{part}"]
    images = torch.from_numpy(pixels).float()[:, None] / 255
    return functional.adaptive_avg_pool2d(images, side), torch.from_numpy(labels).long()


def victim(recipe: Recipe, data: Path, cache: Path) -> Target:
    """Train a victim, or read it where it was trained before."""
    path = cache / f"bnn-{recipe.key}.safetensors"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        images, labels = digits(data, recipe.side, "train")
        net = train(recipe, images[: recipe.images], labels[: recipe.images])
        described = {
            "family": "bnn",
            "activation": "sign",
            "inputs": "signs",
            "norm": "before",
            "eps": 1e-5,
            "input_shape": (1, recipe.side, recipe.side),
            "mean": (recipe.threshold,),
            "std": (1.0,),
        }
        save_described(path, _stored(net), described)
    return load(path, device="cpu")


def train(recipe: Recipe, images: Tensor, labels: Tensor) -> Binarised:
    """The network of the recipe after its epochs on these images."""
    torch.manual_seed(recipe.seed)
    net = Binarised(recipe.widths)
    inputs = torch.where(images >= recipe.threshold, 1.0, -1.0).flatten(1)
    optimiser = torch.optim.Adam(net.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs)
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(inputs)).split(_BATCH):
            optimiser.zero_grad()
            functional.cross_entropy(net(inputs[batch]), labels[batch]).backward()
            optimiser.step()
            with torch.no_grad():
                for weight in net.weights:
                    weight.clamp_(-1, 1)
        schedule.step()
    return net.eval()


def _signs(x: Tensor) -> Tensor:
    clipped = x.clamp(-1, 1)
    return torch.where(x >= 0, 1.0, -1.0) + (clipped - clipped.detach())


def _stored(net: Binarised) -> dict[str, Tensor]:
    """The weights as signs, and batch norm, under the names of a row of layers."""
    stored = {}
    for index, (weight, norm) in enumerate(zip(net.weights, net.norms, strict=True), start=1):
        stored[f"fc{index}.weight"] = torch.where(weight >= 0, 1.0, -1.0)
        named = norm.state_dict().items()
        stored |= {f"bn{index}.{name}": tensor for name, tensor in named if name != "num_batches_tracked"}
    return stored
