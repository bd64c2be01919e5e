"""What a backbone's features are like, without any image of anybody: `typical_norm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from auditcli.types import Head

_GRIDS = (3, 4, 6, 8)
"""Points along a side of the grids that random pictures are scaled up from."""
_EACH = 8
_COLOUR = 0.3
"""How far the channels of a point differ, relative to how far points do: pictures are hardly ever as bright in colour
as independent channels would be, and backbones answer to that with features three times as long."""


def typical_norm(head: Head, shape: tuple[int, int, int], rng: torch.Generator) -> float:
    """Median norm of the features of smooth random pictures of several coarsenesses.

    Args:
        head: Its backbone is asked.
        shape: (c, h, w) of an image.
        rng: Of the pictures, drawn on the CPU.
    """
    channels, *size = shape
    drawn = []
    for grid in _GRIDS:
        bright, colour = (torch.rand(_EACH, count, grid, grid, generator=rng) for count in (1, channels))
        points = bright + _COLOUR * (colour - 0.5)
        drawn.append(functional.interpolate(points, size=size, mode="bilinear").clamp(0, 1))
    with torch.no_grad():
        features = head.features(torch.cat(drawn).to(head.dense.weights[0].device))
    return float(features.norm(dim=1).median().clamp_min(torch.finfo(features.dtype).tiny))
