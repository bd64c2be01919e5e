"""Evidence without images: what independent restarts of one attack agree on.

Public names: `agreement`, `distinct`, `unit_rows`.
"""

from __future__ import annotations

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from auditcli.errors import SampleError


def agreement(candidates: Tensor) -> Tensor:
    """Best centred cosine of each candidate among the candidates of the other restarts.

    Each image's mean is taken off first, else any two bright images agree. An image without contrast agrees with none.

    Args:
        candidates: (r, n, c, h, w), r >= 2.

    Returns:
        (r, n) in [-1, 1].

    Raises:
        SampleError: fewer than two restarts, or candidates of another shape.
    """
    if candidates.ndim != 5 or len(candidates) < 2:
        raise SampleError(
            f"agreement needs candidates (restarts >= 2, n, c, h, w), got {tuple(candidates.shape)}",
            hint="a larger --budget gives the attack more restarts",
        )
    rows = unit_rows(candidates.flatten(0, 1)).unflatten(0, candidates.shape[:2])
    best = torch.full(candidates.shape[:2], -1.0, dtype=rows.dtype, device=rows.device)
    for i in range(len(rows)):
        for j in range(i):
            cosine = rows[i] @ rows[j].T
            best[i] = torch.maximum(best[i], cosine.amax(dim=1))
            best[j] = torch.maximum(best[j], cosine.amax(dim=0))
    return best.clamp_(-1, 1)


def distinct(candidates: Tensor, scores: Tensor, threshold: float) -> tuple[int, ...]:
    """One representative of each image that restarts agree on.

    Candidates with a score of at least `threshold` are joined where their centred cosine is at least `threshold`, also
    through others (single linkage): that never counts one image twice, and may count two near images once.

    Args:
        candidates: (r, n, c, h, w), or (n, c, h, w) of one restart.
        scores: (r, n) or (n,), e.g. their `agreement`.
        threshold: Least score and least cosine, in [-1, 1].

    Returns:
        Indices over (restart, candidate) flattened, one an image, that of the highest score; highest first.
    """
    flat = scores.flatten()
    chosen = torch.nonzero(flat >= threshold).flatten()
    if len(chosen) == 0:
        return ()
    chosen = chosen[flat[chosen].argsort(descending=True, stable=True)]
    rows = unit_rows(candidates.flatten(0, -4)[chosen])
    near = (rows @ rows.T >= threshold).cpu().numpy()
    _, labels = connected_components(near, directed=False)
    first: dict[int, int] = {}
    for label, index in zip(labels.tolist(), chosen.tolist(), strict=True):
        first.setdefault(label, index)
    return tuple(first.values())


def unit_rows(images: Tensor) -> Tensor:
    """Images (n, c, h, w) centred and of norm 1, flattened to (n, d); zero where an image has no contrast."""
    rows = images.detach().flatten(1)
    rows = rows - rows.mean(dim=1, keepdim=True)
    norm = rows.norm(dim=1, keepdim=True)
    # Rounding leaves a flat image some noise, about 1e-7 a pixel, which must not be blown up to a direction.
    contrast = norm > 1e-5 * rows.shape[1] ** 0.5
    return torch.where(contrast, rows / norm.clamp_min(torch.finfo(rows.dtype).tiny), torch.zeros_like(rows))
