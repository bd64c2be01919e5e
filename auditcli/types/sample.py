"""Images the auditor holds, and whether they can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types.finding import Test
    from auditcli.types.target import Target


@dataclass(frozen=True, slots=True)
class Sample:
    """Images the auditor holds: members or controls."""

    images: Tensor
    """(n, c, h, w) float32 in [0, 1]."""
    ids: tuple[str, ...]
    """File name, or `name.npz#index`."""
    hashes: tuple[str, ...]
    """sha256 of each image's uint8 pixels."""
    labels: Tensor | None
    """(n,) int64 class indices, where known."""
    sha256: str
    """Of the whole sample, for the manifest."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Shadows:
    """Models of the target's architecture, each trained on a random part of a population of controls."""

    targets: tuple[Target, ...]
    """K shadow models."""
    population: Sample
    """The controls they were trained on; they are never compared with members."""
    seen: Tensor
    """(K, n) bool: whether a model was trained on an image of the population."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image of the auditor that takes no part in any comparison."""

    id: str
    role: str
    """`member` or `control`."""
    like: str
    """Id of the image it is a copy of, in the same sample for `repeat`, in the other one for `near copy`."""
    why: str
    """`repeat` or `near copy`."""


@dataclass(frozen=True, slots=True)
class Comparability:
    """Whether members and controls are of one kind, but for training."""

    blind: Test | None
    """Does a classifier that sees the images and never the model tell them apart?"""
    auc: float | None
    """Of that classifier, cross-fitted."""
    tells: tuple[str, ...] = ()
    """What it tells them apart by, in words, where it does."""
    left_out: tuple[LeftOut, ...] = ()
    accuracy_members: float | None = None
    """Share of the labelled members that the model is right on."""
    accuracy_controls: float | None = None
    has_power: bool = True
    """Whether the classifier could have found any difference in so few images."""
