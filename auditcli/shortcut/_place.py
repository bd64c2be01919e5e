"""A square of an image. Public names: `Place`, `elsewhere`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

_TRIES = 100


@dataclass(frozen=True, slots=True)
class Place:
    """A square by its upper left pixel and its side."""

    row: int
    column: int
    side: int

    def of(self, images: Tensor) -> Tensor:
        """The square (..., side, side) of images (..., h, w), as a view."""
        return images[..., self.row : self.row + self.side, self.column : self.column + self.side]

    def overlaps(self, other: Place) -> bool:
        """Whether the two share a pixel."""
        side = max(self.side, other.side)
        return abs(self.row - other.row) < side and abs(self.column - other.column) < side


def elsewhere(place: Place, size: tuple[int, ...], n: int, rng: torch.Generator) -> tuple[Place, ...]:
    """N squares of the same side at random places of an image of `size` (h, w), none overlapping this one.

    In an image too small for that they may overlap it, and may be the same.
    """
    found: list[Place] = []
    for _ in range(n):
        for _ in range(_TRIES):
            row = int(torch.randint(size[0] - place.side + 1, (1,), generator=rng))
            column = int(torch.randint(size[1] - place.side + 1, (1,), generator=rng))
            drawn = Place(row, column, place.side)
            if not drawn.overlaps(place):
                break
        found.append(drawn)
    return tuple(found)
