"""What a backbone's features are like, without any image of anybody: `typical_norm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from auditcli.types import Head

_PICTURES = 16
_GRIDS = (3, 6, 12, 24)
"""Points along a side of the grids that random pictures are scaled up from."""


def typical_norm(head: Head, shape: tuple[int, int, int], rng: torch.Generator) -> float:
    """Median norm of the features of smooth random pictures of several coarsenesses.

    Args:
        head: Its backbone is asked.
        shape: (c, h, w) of an image.
        rng: Of the pictures, drawn on the CPU.
    """
    channels, *size = shape
    pictures = torch.cat(
        [
            functional.interpolate(
                torch.rand(_PICTURES // len(_GRIDS), channels, grid, grid, generator=rng), size=size, mode="bilinear"
            )
            for grid in _GRIDS
        ]
    )
    with torch.no_grad():
        features = head.features(pictures.to(head.dense.weights[0].device))
    return float(features.norm(dim=1).median().clamp_min(torch.finfo(features.dtype).tiny))
