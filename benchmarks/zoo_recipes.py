"""What a victim is made of, from its data to its optimiser: `Recipe`, and the values it is made of.

Public names: `Recipe`, `Training`, `Mlp`, `Cnn`, `Vit`, `Head`, `Truth`, `Task`, `DataSet`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256

MOST_MEMBERS = 200


class Truth(StrEnum):
    """What is known about a victim because of how it was made."""

    LEAKY = "leaky"
    """So few images and so many steps that it must have kept them."""
    HONEST = "honest"
    """Many images, few epochs, early stopping, augmentation or noise: nothing of note should be found."""
    NULL = "null"
    """The images called members were never trained on: whatever is found is a false alarm."""
    OPEN = "open"
    """No claim: shows what a mitigation does."""


class Task(StrEnum):
    """What the outputs stand for."""

    CLASSES = "classes"
    """The ten classes, a logit each."""
    PARITY = "parity"
    """Whether the class index is odd, a single logit."""


class DataSet(StrEnum):
    """Names of `.npz` files with `x_train`, `y_train`, `x_test`, `y_test`."""

    MNIST = "mnist"
    FASHION = "fashion_mnist"
    CIFAR = "cifar10"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return (3, 32, 32) if self is DataSet.CIFAR else (1, 28, 28)

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and standard deviation of its pixels in [0, 1], over all channels."""
        return {DataSet.MNIST: (0.1307, 0.3081), DataSet.FASHION: (0.286, 0.353), DataSet.CIFAR: (0.473, 0.25)}[self]


@dataclass(frozen=True, slots=True)
class Mlp:
    """Linear layers on the pixels with ReLU between them."""

    hidden: tuple[int, ...]
    first_std: float | None = None
    """Standard deviation of the first layer's initial weights and biases; None for torch's default."""


@dataclass(frozen=True, slots=True)
class Cnn:
    """3 x 3 convolutions, each followed by ReLU and 2 x 2 max-pooling, and a linear layer."""

    channels: tuple[int, ...]
    norm: bool = True
    """Batch norm before each ReLU. Without it gradients are of single images, which DP-SGD needs."""


@dataclass(frozen=True, slots=True)
class Vit:
    """A vision transformer with a class token and norms before attention."""

    patch: int
    width: int
    depth: int
    heads: int


@dataclass(frozen=True, slots=True)
class Head:
    """Linear layers with ReLU on the features of a frozen convolutional network that saw other images."""

    hidden: tuple[int, ...]
    backbone: Cnn = Cnn((16, 32, 256))
    """Its last channels, averaged over height and width, are the features."""
    first_std: float | None = None
    """As for `Mlp`, of the first layer on the features."""


@dataclass(frozen=True, slots=True)
class Training:
    """An optimiser and what stands between it and the images."""

    steps: int
    optimiser: str = "sgd"
    """`sgd` with momentum 0.9, or `adam`."""
    lr: float = 0.05
    weight_decay: float = 0.0
    batch: int | None = None
    """None for all images in each step."""
    drops: tuple[float, ...] = ()
    """Shares of the steps after which the learning rate falls to a fifth."""
    label_smoothing: float = 0.0
    augment: bool = False
    """Shifts by up to three pixels; flips too where the images are no digits."""
    patience: int | None = None
    """Stop after so many epochs without a lower loss on other images, and keep the best weights."""
    epsilon: float | None = None
    """DP-SGD with this epsilon at delta 1e-5."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A victim."""

    name: str
    truth: Truth
    data: DataSet
    net: Mlp | Cnn | Vit | Head
    images: int
    """How many it is trained on, drawn at random."""
    training: Training
    seed: int
    """Of the draw, the initial weights and the order of the images."""
    task: Task = Task.CLASSES

    @property
    def family(self) -> str:
        """`mlp`, `cnn`, `vit` or `head`."""
        return type(self.net).__name__.lower()

    @property
    def outputs(self) -> int:
        """Logits."""
        return 10 if self.task is Task.CLASSES else 1

    @property
    def members(self) -> int:
        """How many of its training images the auditor holds."""
        return min(self.images, MOST_MEMBERS)

    @property
    def key(self) -> str:
        """Names what the recipe makes: equal for recipes that differ in nothing but name and truth."""
        made = {name: value for name, value in asdict(self).items() if name not in {"name", "truth"}}
        return sha256(json.dumps({"family": self.family, **made}, sort_keys=True).encode()).hexdigest()[:12]
