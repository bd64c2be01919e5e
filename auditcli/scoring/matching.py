"""How near candidates come to images: many-to-one, one-to-one, and pooled over attacks.

Public names: `similarity`, `pool`, `Pooled`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from auditcli.errors import SampleError
from auditcli.scoring.ssim import WindowName, pairwise_ssim
from auditcli.types import Similarity

UNMATCHED = -1.0
"""Similarity of an image that the one-to-one assignment left without a candidate; the least SSIM there is."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """The best of all attacks, one entry an image."""

    best: tuple[float, ...]
    matched: tuple[float, ...]
    attack: tuple[str, ...]
    """Name of the attack that reached `best`; of the first one on a tie."""


def similarity(candidates: Tensor, images: Tensor, *, window: WindowName = "uniform-7") -> Similarity:
    """Best SSIM of each image over all candidates, with and without using a candidate twice.

    Args:
        candidates: (n, c, h, w), n >= 1; flatten the restarts before, then `best_candidate` counts over them.
        images: (m, c, h, w) members or controls.
        window: Definition of SSIM, see `pairwise_ssim`.

    Returns:
        One entry an image; `matched` is the assignment of largest total SSIM (Jonker-Volgenant, by scipy).

    Raises:
        SampleError: no candidates, or as `pairwise_ssim`.
    """
    if len(candidates) == 0:
        raise SampleError("there are no candidates to compare with images", hint="give the attack more --budget")
    scores = pairwise_ssim(candidates, images, window=window).cpu()
    best, index = scores.max(dim=0)
    rows, columns = linear_sum_assignment(scores.numpy(), maximize=True)
    matched = torch.full_like(best, UNMATCHED)
    matched[torch.as_tensor(columns)] = scores[torch.as_tensor(rows), torch.as_tensor(columns)]
    return Similarity(tuple(best.tolist()), tuple(index.tolist()), tuple(matched.tolist()))


def pool(similarities: Mapping[str, Similarity]) -> Pooled:
    """Best over all attacks for each image, so that many attacks are one question and not many chances.

    Args:
        similarities: Of the same images, by name of the attack; at least one.

    Returns:
        One entry an image.
    """
    names = tuple(similarities)
    best = torch.tensor([similarities[name].best for name in names], dtype=torch.float64)
    matched = torch.tensor([similarities[name].matched for name in names], dtype=torch.float64)
    highest, index = best.max(dim=0)
    return Pooled(
        best=tuple(highest.tolist()),
        matched=tuple(matched.amax(dim=0).tolist()),
        attack=tuple(names[i] for i in index.tolist()),
    )
