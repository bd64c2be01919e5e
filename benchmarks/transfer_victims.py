"""Heads trained on a frozen backbone, both made here: `BACKBONES`, `Recipe`, `Subject`, `subject`.

The backbone learns from one part of a data set, without labels and within seconds, as Coates, Ng and Lee 2011 do
(An analysis of single-layer networks in unsupervised feature learning): filters by k-means over whitened patches, a
ReLU, pooling, and the 256 principal components of that. Then a small perceptron learns a task from these features, on a
hundred images of another part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from kkt_victims import cross_entropy
from safetensors.torch import save_file
from torch import Tensor, nn

from auditcli.auditing import load
from auditcli.errors import SampleError
from auditcli.types import Target

FEATURES = 256
_FILTERS = 64
_SIDE, _STRIDE, _POOL = 5, 2, 4
_PATCHES, _ROUNDS = 40_000, 15
_THRESHOLD = 0.25
_PATCH_DAMPING = 1e-2
_DAMPING = 1e-3
"""Of directions in which features hardly vary, relative to the largest variance."""
_HALVES: Mapping[str, tuple[tuple[int, ...], ...]] = MappingProxyType(
    {"cifar10": ((0, 1, 8, 9), (2, 3, 4, 5, 6, 7)), "fashion_mnist": ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))}
)
"""Vehicles or animals; an even or an odd class."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """What a backbone is made of: the first images of a data set."""

    data: str
    images: int
    """The head's images come from behind these."""
    mean: float
    std: float
    """It reads `(pixels - mean) / std`."""
    whitened: bool
    """Whether all its features have one variance, over its own images; else they share one scale."""
    seed: int = 0


BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "cifar10": Backbone("cifar10", images=8_000, mean=0.473, std=0.25, whitened=True),
        "cifar10, not whitened": Backbone("cifar10", images=8_000, mean=0.473, std=0.25, whitened=False),
        "fashion_mnist": Backbone("fashion_mnist", images=8_000, mean=0.286, std=0.353, whitened=True),
    }
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is trained; its hash names the cached weights."""

    backbone: Backbone
    images: int = 100
    classes: int = 10
    """2 or 10."""
    hidden: tuple[int, ...] = (500,)
    weight_decay: float = 5e-3
    epochs: int = 2_500
    """Full batches; none for the untrained null."""
    rate: float = 0.05
    momentum: float = 0.9
    seed: int = 0
    """Of the draw of images and of the initial weights."""

    @property
    def key(self) -> str:
        """Names the recipe in the cache."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def widths(self) -> tuple[int, ...]:
        """Features, hidden units, outputs; a single output where there are two classes."""
        return (FEATURES, *self.hidden, 1 if self.classes == 2 else self.classes)


@dataclass(frozen=True, slots=True)
class Subject:
    """A head on a frozen backbone, and the images that only the scoring sees."""

    target: Target
    members: Tensor
    """(m, c, h, w) in [0, 1], all that the head was trained on."""
    strangers: Tensor
    """(m, c, h, w): as many others, drawn by the same rule; those of the null in which members are swapped."""
    controls: Tensor
    """(k, c, h, w): the first test images."""
    loss: float
    """Mean cross-entropy of the head on the members."""
    accuracy: float
    """On the controls."""


class Features(nn.Module):
    """Images (n, c, h, w), normalised -> (n, 256)."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.filters = nn.Conv2d(channels, _FILTERS, _SIDE, _STRIDE, padding=_SIDE // 2)
        self.pool = nn.AvgPool2d(_POOL)
        self.turn = nn.Linear(_FILTERS * (-(-side // _STRIDE) // _POOL) ** 2, FEATURES)

    def maps(self, images: Tensor) -> Tensor:
        """What the filters see, pooled, (n, m)."""
        pooled: Tensor = self.pool(self.filters(images).relu()).flatten(1)
        return pooled

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, 256)."""
        features: Tensor = self.turn(self.maps(images))
        return features


def head(widths: Sequence[int]) -> nn.Sequential:
    """A perceptron of these widths, at torch's default initialisation."""
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def network(channels: int, side: int, widths: Sequence[int]) -> nn.Sequential:
    """Backbone and head, as `--arch transfer_victims:network` builds them."""
    return nn.Sequential(Features(channels, side), head(widths))


def subject(recipe: Recipe, data: Path, cache: Path, controls: int = 1_000) -> Subject:
    """Train a head, or read it where it was trained before; the same for its backbone.

    Args:
        recipe: What to train.
        data: Folder of `.npz` files with `x_train`, `y_train`, `x_test`, `y_test`; uint8 (n, h, w) or (n, h, w, c).
        cache: Where trained weights are kept.
        controls: How many.

    Raises:
        SampleError: the data set is not there.
    """
    images, classes = images_of(recipe.backbone.data, data)["train"]
    rng = torch.Generator().manual_seed(recipe.seed)
    sides = _sides(recipe, classes)
    pool = torch.arange(len(images))[recipe.backbone.images :]
    pool = pool[torch.randperm(len(pool), generator=rng)]
    each = recipe.images // recipe.classes
    drawn = [pool[sides[pool] == side] for side in range(recipe.classes)]
    members, others = (torch.cat([one[start : start + each] for one in drawn]) for start in (0, each))
    path = cache / f"transfer-{recipe.key}.safetensors"
    if not path.exists():
        features = backbone(recipe.backbone, images)
        with torch.no_grad():
            read = features((images[members] - recipe.backbone.mean) / recipe.backbone.std)
        net = nn.Sequential(features, _head(recipe, read, sides[members]))
        save_file(net.state_dict(), path)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    target = load(
        path,
        device="cpu",
        arch="transfer_victims:network",
        arch_arguments={"channels": shape[0], "side": shape[1], "widths": recipe.widths},
        input_shape=shape,
        mean=(recipe.backbone.mean,),
        std=(recipe.backbone.std,),
    )
    far, far_classes = images_of(recipe.backbone.data, data)["test"]
    far, far_sides = far[:controls], _sides(recipe, far_classes)[:controls]
    with torch.no_grad():
        loss = float(cross_entropy(target(images[members]), sides[members]))
        logits = target(far)
    guessed = (logits[:, 0] > 0).long() if recipe.classes == 2 else logits.argmax(dim=1)
    accuracy = float((guessed == far_sides).double().mean())
    return Subject(target, images[members], images[others], far, loss, accuracy)


def backbone(recipe: Backbone, images: Tensor) -> Features:
    """The frozen features, learnt from the first of some images (n, c, h, w) in [0, 1]."""
    shown = (images[: recipe.images] - recipe.mean) / recipe.std
    features = Features(images.shape[1], images.shape[2])
    with torch.no_grad():
        weight, bias = _filters(shown, torch.Generator().manual_seed(recipe.seed))
        features.filters.weight.copy_(weight.view_as(features.filters.weight))
        features.filters.bias = nn.Parameter(bias)
        maps = torch.cat([features.maps(batch) for batch in shown.split(500)])
        centre = maps.mean(dim=0)
        values, rows = torch.linalg.eigh((maps - centre).T @ (maps - centre) / len(maps))
        values, rows = values.flip(0)[:FEATURES], rows.flip(1)[:, :FEATURES]
        even = (FEATURES / values.sum()).sqrt().expand(FEATURES)
        rows = rows * ((values + _DAMPING * values[0]).rsqrt() if recipe.whitened else even)
        features.turn.weight.copy_(rows.T)
        features.turn.bias.copy_(-centre @ rows)
    return features.eval().requires_grad_(False)


def _filters(images: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Filters (k, c*s*s) and biases (k,): directions that whitened patches gather around, by spherical k-means."""
    patches = nn.functional.unfold(images[: len(images) // 4], _SIDE, stride=3).transpose(1, 2).flatten(0, 1)
    patches = patches[torch.randperm(len(patches), generator=rng)[:_PATCHES]]
    mean = patches.mean(dim=0)
    values, rows = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    whitening = rows @ torch.diag((values + _PATCH_DAMPING).rsqrt()) @ rows.T
    directions = nn.functional.normalize((patches - mean) @ whitening, dim=1)
    centres = directions[torch.randperm(len(directions), generator=rng)[:_FILTERS]]
    for _ in range(_ROUNDS):
        near, nearest = (directions @ centres.T).max(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, directions * near[:, None])
        centres = nn.functional.normalize(sums + 1e-6 * torch.randn(sums.shape, generator=rng), dim=1)
    weight = centres @ whitening
    return weight, -weight @ mean - _THRESHOLD


def images_of(name: str, data: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Images (n, c, h, w) in [0, 1] and classes (n,) of the parts `train` and `test`."""
    path = data / f"{name}.npz"
    if not path.is_file():
        raise SampleError(f"no data set {path.name} in {path.parent}", hint="--data FOLDER with the .npz files")
    with np.load(path, allow_pickle=False) as stored:
        return {
            part: (_pixels(stored[f"x_{part}"]), torch.from_numpy(stored[f"y_{part}"])) for part in ("train", "test")
        }


def _pixels(stored: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    images = torch.from_numpy(stored).float() / 255
    return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()


def _sides(recipe: Recipe, classes: Tensor) -> Tensor:
    if recipe.classes == 10:
        return classes
    return torch.isin(classes, torch.tensor(_HALVES[recipe.backbone.data][1])).long()


def _head(recipe: Recipe, features: Tensor, labels: Tensor) -> nn.Sequential:
    """The head after its epochs on all members at once."""
    torch.manual_seed(recipe.seed)
    net = head(recipe.widths)
    optimiser = torch.optim.SGD(
        net.parameters(), lr=recipe.rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    milestones = [round(0.7 * recipe.epochs), round(0.9 * recipe.epochs)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.2)
    for _ in range(recipe.epochs):
        optimiser.zero_grad()
        cross_entropy(net(features), labels).backward()
        optimiser.step()
        schedule.step()
    return net
