"""Heads trained on a frozen backbone, both made here: `BACKBONES`, `Recipe`, `Subject`, `subject`.

A small convolutional network is trained on one part of a data set and then frozen; its 256 features, standardised by a
last batch norm, are what a small perceptron learns a task from, on a hundred images of another part.
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
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from auditcli.auditing import load
from auditcli.errors import SampleError
from auditcli.types import Target

FEATURES = 256
_BATCH = 128
_EACH = tuple((index,) for index in range(10))
_HALVES: Mapping[str, tuple[tuple[int, ...], ...]] = MappingProxyType(
    {"cifar10": ((0, 1, 8, 9), (2, 3, 4, 5, 6, 7)), "fashion_mnist": ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))}
)
"""Vehicles or animals; an even or an odd class."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """How a backbone is trained: on the first images of a data set, without labels or to tell its ten classes apart."""

    data: str
    images: int
    """The head's images come from behind these."""
    epochs: int
    mean: float
    std: float
    """It reads `(pixels - mean) / std`."""
    labelled: bool = False
    """Trained to tell classes apart; else by Barlow Twins, as public backbones mostly learn without labels."""
    seed: int = 0


BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "cifar10": Backbone("cifar10", images=8_000, epochs=8, mean=0.473, std=0.25),
        "cifar10, labelled": Backbone("cifar10", images=8_000, epochs=10, mean=0.473, std=0.25, labelled=True),
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
    epochs: int = 4_000
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
    """Images (n, c, h, w), normalised -> (n, 256), standardised over the images it was trained on."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide, narrow, stride in ((channels, 32, 2), (32, 64, 2), (64, 128, 1)):
            layers += [nn.Conv2d(wide, narrow, 3, stride, padding=1), nn.BatchNorm2d(narrow), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.embed = nn.Linear(128 * (side // 4) ** 2, FEATURES)
        self.norm = nn.BatchNorm1d(FEATURES, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, 256)."""
        features: Tensor = self.norm(self.embed(self.convolutions(images).flatten(1)))
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
    features = backbone(recipe.backbone, data, cache)
    rng = torch.Generator().manual_seed(recipe.seed)
    sides = _sides(recipe, classes)
    pool = torch.arange(len(images))[recipe.backbone.images :]
    pool = pool[torch.randperm(len(pool), generator=rng)]
    each = recipe.images // recipe.classes
    drawn = [pool[sides[pool] == side] for side in range(recipe.classes)]
    members, others = (torch.cat([one[start : start + each] for one in drawn]) for start in (0, each))
    path = cache / f"transfer-{recipe.key}.safetensors"
    if not path.exists():
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


def backbone(recipe: Backbone, data: Path, cache: Path) -> Features:
    """The frozen features, trained as a classifier of ten classes, or read where that was done before."""
    images, classes = images_of(recipe.data, data)["train"]
    path = cache / f"backbone-{sha256(json.dumps(asdict(recipe)).encode()).hexdigest()[:12]}.safetensors"
    features = Features(images.shape[1], images.shape[2])
    if path.exists():
        features.load_state_dict(load_file(path))
        return features.eval().requires_grad_(False)
    cache.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    features = Features(images.shape[1], images.shape[2])
    read_out = nn.Linear(FEATURES, 10)
    optimiser = torch.optim.AdamW([*features.parameters(), *read_out.parameters()], lr=1e-3, weight_decay=1e-2)
    steps = recipe.epochs * (recipe.images // _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    inputs = (images[: recipe.images] - recipe.mean) / recipe.std
    for _ in range(recipe.epochs):
        for batch in torch.randperm(recipe.images)[: recipe.images // _BATCH * _BATCH].split(_BATCH):
            one, other = features(torch.cat([_varied(inputs[batch]), _varied(inputs[batch])])).chunk(2)
            loss = nn.functional.cross_entropy(read_out(one), classes[batch]) if recipe.labelled else twins(one, other)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    save_file(features.state_dict(), path)
    return features.eval().requires_grad_(False)


def twins(one: Tensor, other: Tensor) -> Tensor:
    """The loss of Zbontar et al. 2021 (arXiv:2103.03230): features of two views agree, each pair of features does not.

    Args:
        one: (n, f) features of a view of each image.
        other: Of another view.
    """
    one, other = ((view - view.mean(dim=0)) / (view.std(dim=0) + 1e-5) for view in (one, other))
    correlation = one.T @ other / len(one)
    same = torch.eye(len(correlation)).bool()
    return (correlation[same] - 1).square().sum() + 5e-3 * correlation[~same].square().sum()


def _varied(images: Tensor) -> Tensor:
    """A view of each image: shifted by up to an eighth, perhaps mirrored, brighter or darker, and of other contrast."""
    reach = images.shape[2] // 8
    padded = nn.functional.pad(images, (reach,) * 4, mode="reflect")
    down, right = torch.randint(0, 2 * reach + 1, (2, len(images), 1))
    rows, columns = (start + torch.arange(images.shape[2]) for start in (down, right))
    flip = torch.rand(len(images)) < 0.5
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    shown = padded[torch.arange(len(images))[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )
    gain, shift = torch.rand(2, len(images), images.shape[1], 1, 1)
    return shown * (0.6 + 0.8 * gain) + (shift - 0.5)


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
