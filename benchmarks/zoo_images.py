"""Who plays which part: `Images`, `Draw`, `draw`.

Every part is a random draw from one pool, the training and the test part of a data set together, so that members and
controls are exchangeable until something is trained on the members. No image plays two parts for one victim.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from zoo_recipes import DataSet, Head, Recipe, Task

CONTROLS, STRANGERS, VALIDATION, TEST = 400, 200, 500, 1000
RESERVED = 6_000
"""So many images of a data set train backbones, and nothing else of a victim that has one."""


@dataclass(frozen=True, slots=True)
class Images:
    """Some images of a data set."""

    pixels: Tensor
    """(n, c, h, w) uint8."""
    labels: Tensor
    """(n,) int64."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor | slice) -> Images:
        """Those at an index."""
        return Images(self.pixels[index], self.labels[index])

    def inputs(self, data: DataSet) -> Tensor:
        """(n, c, h, w) normalised as the networks read them."""
        mean, std = data.scale
        return (self.pixels.float() / 255 - mean) / std


@dataclass(frozen=True, slots=True)
class Draw:
    """The images of a victim by the part they play."""

    training: Images
    controls: Images
    strangers: Images
    """Called members in a null audit, though nothing was trained on them."""
    validation: Images
    """Early stopping looks at these."""
    test: Images
    """Accuracy is measured on these."""


def load_pool(data: DataSet, folder: Path) -> Images:
    """All images of a data set, in a fixed random order.

    Raises:
        FileNotFoundError: it is not there.
    """
    with np.load(folder / f"{data}.npz", allow_pickle=False) as stored:
        pixels = np.concatenate([stored["x_train"], stored["x_test"]])
        labels = np.concatenate([stored["y_train"], stored["y_test"]])
    channels_first = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    images = Images(torch.from_numpy(np.ascontiguousarray(channels_first)), torch.from_numpy(labels).long())
    return images.take(torch.randperm(len(images), generator=torch.Generator().manual_seed(2026)))


def draw(recipe: Recipe, pool: Images) -> Draw:
    """Deal the pool out to the parts of a victim, at random by the recipe's seed.

    Args:
        recipe: Whose parts.
        pool: All images of its data set, as `load_pool` orders them.

    Raises:
        ValueError: the pool is too small.
    """
    reserved = RESERVED if isinstance(recipe.net, Head) else 0
    rest = pool.take(slice(reserved, None))
    sizes = (recipe.images, CONTROLS, STRANGERS, VALIDATION, TEST)
    if sum(sizes) > len(rest):
        raise ValueError(f"{recipe.name} needs {sum(sizes)} images, {recipe.data} has {len(rest)} for it")
    order = torch.randperm(len(rest), generator=torch.Generator().manual_seed(recipe.seed))
    parts = [_labelled(rest.take(part), recipe.task) for part in order[: sum(sizes)].split(sizes)]
    return Draw(*parts)


def for_backbones(pool: Images) -> Images:
    """The images of a pool that train backbones."""
    return pool.take(slice(RESERVED))


def save(path: Path, images: Images) -> None:
    """Write an `.npz` that the product reads: `images` uint8 (n, h, w) or (n, h, w, 3), `labels` int64 (n,)."""
    pixels = images.pixels.permute(0, 2, 3, 1).numpy()
    np.savez_compressed(path, images=pixels[..., 0] if pixels.shape[-1] == 1 else pixels, labels=images.labels.numpy())


def _labelled(images: Images, task: Task) -> Images:
    return images if task is Task.CLASSES else Images(images.pixels, images.labels % 2)
