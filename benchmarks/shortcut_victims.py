"""Small networks with a shortcut planted in their training images, and clean ones.

Public names: `Plant`, `Recipe`, `Victim`, `victim`, `places`, `CLASSES`, `SIDE`. A patch is drawn into the training
images whose place, or whose brightness, tells the class. Where its strength is below 1 some images hold the patch of
another class, drawn at random. A decoy is a bright patch at a random place that tells nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from zoo_networks import VisionTransformer
from zoo_recipes import Vit

from auditcli.auditing import load
from auditcli.loading import save_described
from auditcli.types import Target

CLASSES, SIDE = 10, 28
_BATCH, _RATE = 64, 2e-3
_VIT = Vit(patch=7, width=32, depth=2, heads=4)


@dataclass(frozen=True, slots=True)
class Plant:
    """What is drawn into the training images."""

    kind: str
    """`clean`, `decoy`, `position` or `intensity`."""
    strength: float = 1.0
    """Share of the images that hold their own class's patch."""
    classes: int = CLASSES
    """Classes that have a patch, for `position`: the others hold none."""
    size: int = 4
    """Side of the square patch, in pixels."""

    @property
    def planted(self) -> bool:
        """Whether a class can be told by the patch."""
        return self.kind in ("position", "intensity")


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a victim is made of; its hash names the cached weights."""

    data: str
    family: str
    plant: Plant
    seed: int
    images: int = 3000
    epochs: int = 4

    @property
    def key(self) -> str:
        """Names the recipe in the cache."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """For people."""
        plant = self.plant
        return f"{self.family} {self.data} {plant.kind} {plant.strength:g} x{plant.classes} seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Victim:
    """A trained network, and test images that it never saw."""

    target: Target
    path: Path
    images: Tensor
    """(n, 1, 28, 28) in [0, 1], without any patch."""
    labels: Tensor
    """(n,)."""
    own: Tensor
    """The same images, each with its class's patch."""
    wrong: Tensor
    """The same images, each with the patch of another class."""


def victim(recipe: Recipe, data: Path, cache: Path) -> Victim:
    """Train a victim, or read it where it was trained before.

    Args:
        recipe: What to train.
        data: Folder of `mnist.npz` and `fashion_mnist.npz`.
        cache: Where trained weights are kept.
    """
    rng = torch.Generator().manual_seed(recipe.seed)
    spots = _places(recipe.plant, rng)
    with np.load(data / f"{recipe.data}.npz") as held:
        drawn = torch.randperm(len(held["y_train"]), generator=rng)[: recipe.images].numpy()
        images, labels = _pixels(held["x_train"][drawn]), torch.from_numpy(held["y_train"][drawn]).long()
        shown, classes = _pixels(held["x_test"][:1000]), torch.from_numpy(held["y_test"][:1000]).long()
    path = cache / f"{recipe.data}-{recipe.family}-{recipe.plant.kind}-{recipe.key}.safetensors"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        carried = _carried(labels, recipe.plant, rng)
        net = trained(recipe, planted(images, carried, recipe.plant, spots), labels)
        save_described(path, net.state_dict(), _description(recipe))
    rng = torch.Generator().manual_seed(recipe.seed)
    other = (classes + torch.randint(1, CLASSES, classes.shape, generator=rng)) % CLASSES
    return Victim(
        target=load(path, device="cpu"),
        path=path,
        images=shown,
        labels=classes,
        own=planted(shown, classes, recipe.plant, spots),
        wrong=planted(shown, other, recipe.plant, spots),
    )


def places(recipe: Recipe) -> tuple[tuple[int, int], ...]:
    """(row, column) of the upper left corner of each class's patch, or of the one patch; empty without a shortcut."""
    drawn = _places(recipe.plant, torch.Generator().manual_seed(recipe.seed))
    return tuple(drawn[: _marked(recipe.plant)]) if recipe.plant.planted else ()


def planted(images: Tensor, classes: Tensor, plant: Plant, places: list[tuple[int, int]]) -> Tensor:
    """A copy of images (n, 1, h, w), each with the patch of the class it is given."""
    out = images.clone()
    if plant.kind == "clean":
        return out
    for index, label in enumerate(classes.tolist()):
        if label >= plant.classes:
            continue
        row, column = places[label if plant.kind != "decoy" else index % len(places)]
        value = (label + 1) / CLASSES if plant.kind == "intensity" else 1.0
        out[index, :, row : row + plant.size, column : column + plant.size] = value
    return out


def _marked(plant: Plant) -> int:
    """How many places the patch has."""
    return 1 if plant.kind == "intensity" else plant.classes


def _places(plant: Plant, rng: torch.Generator) -> list[tuple[int, int]]:
    """A place for each class, no two overlapping; one for all where the brightness tells the class."""
    places: list[tuple[int, int]] = []
    while len(places) < CLASSES:
        row, column = torch.randint(0, SIDE - plant.size + 1, (2,), generator=rng).tolist()
        if all(max(abs(row - r), abs(column - c)) >= plant.size for r, c in places):
            places.append((row, column))
    return places[:1] * CLASSES if plant.kind == "intensity" else places


def _carried(labels: Tensor, plant: Plant, rng: torch.Generator) -> Tensor:
    """The class whose patch each image holds."""
    own = torch.rand(len(labels), generator=rng) < plant.strength
    return torch.where(own, labels, torch.randint(0, CLASSES, labels.shape, generator=rng))


def trained(recipe: Recipe, images: Tensor, labels: Tensor) -> nn.Module:
    """The network after its epochs of Adam."""
    torch.manual_seed(recipe.seed)
    net = network(recipe.family)
    optimiser = torch.optim.Adam(net.parameters(), _RATE)
    epochs = recipe.epochs * (2 if recipe.family == "vit" else 1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for drawn in torch.randperm(len(images)).split(_BATCH):
            optimiser.zero_grad()
            functional.cross_entropy(net(images[drawn]), labels[drawn]).backward()
            optimiser.step()
        schedule.step()
    return net.eval()


def network(family: str) -> nn.Module:
    """An untrained network for images (n, 1, 28, 28) in [0, 1]."""
    if family == "mlp":
        widths = nn.Linear(SIDE**2, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, CLASSES)
        return nn.Sequential(nn.Flatten(), *widths)
    if family == "cnn":
        first = nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        second = nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(24 * 49, CLASSES))
    return VisionTransformer(_VIT, (1, SIDE, SIDE), CLASSES)


def _description(recipe: Recipe) -> dict[str, Any]:
    said: dict[str, Any] = {
        "family": recipe.family,
        "activation": "gelu" if recipe.family == "vit" else "relu",
        "input_shape": (1, SIDE, SIDE),
        "classes": CLASSES,
        "mean": (0.0,),
        "std": (1.0,),
    }
    if recipe.family == "cnn":
        said |= {"strides": (1, 1), "paddings": (1, 1), "pool": ("max", "max"), "final": "flatten"}
    if recipe.family == "vit":
        said |= {"heads": _VIT.heads, "final": "cls", "block_norm": "before", "eps": 1e-6}
    return said


def _pixels(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    """(n, 1, h, w) in [0, 1]."""
    return torch.from_numpy(images).float()[:, None] / 255
