"""Settings of `kkt` by trial, without any image of the auditor.

Public names: `Smoothing`, `ALTERNATIVES`, `LENGTH`, `COMMON`, `merit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Smoothing:
    """What a trial varies."""

    exponent: float
    sharpness: float


ALTERNATIVES = tuple(Smoothing(exponent, sharpness) for exponent in (0.4, 0.6) for sharpness in (10.0, 20.0, 40.0))
LENGTH = 0.06
"""Share of the steps that one trial takes."""
COMMON = 0.5
"""Exponent at which trials are compared, whatever their own is."""


def merit(explained: Tensor, candidates: Tensor) -> float:
    """How good a trial is: what it explains, times how far its restarts agree.

    Neither is enough. A run may explain the layer with images that no other run finds, and runs may agree on the few
    prototypes of the classes, which explain little.

    Args:
        explained: (r,) share of the layer that each restart explains.
        candidates: (r, n, d).
    """
    return float(explained.clamp_min(0).mean()) * _agreement(candidates)


def _agreement(candidates: Tensor) -> float:
    """Mean over candidates of the best centred cosine in another restart; 1 where there is no other."""
    if len(candidates) == 1:
        return 1.0
    rows = candidates - candidates.mean(dim=2, keepdim=True)
    rows = torch.nn.functional.normalize(rows, dim=2)
    best = [
        torch.cat([rows[i] @ rows[j].T for j in range(len(rows)) if j != i], dim=1).amax(dim=1)
        for i in range(len(rows))
    ]
    return max(0.0, float(torch.stack(best).mean()))
