"""Least squares with unknowns that are not negative, for many small problems at once. Public name: `nonnegative`."""

from __future__ import annotations

import torch
from torch import Tensor

_PATIENCE = 3
"""Exchanges of all wrong unknowns without fewer of them than ever, before one unknown is exchanged at a time."""
_LIMIT = 60
"""Exchanges; with a warm start, two or three are enough."""
_TOLERANCE = 1e-10
"""Of signs, relative to the largest entry of the right-hand side."""


def nonnegative(gram: Tensor, matched: Tensor, free: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Minimises `x^T gram x - 2 matched^T x` over `x >= 0`, exactly, by block principal pivoting.

    Each unknown is either free, its gradient 0, or at 0, its gradient at least 0. Unknowns whose sign is wrong change
    sides, all together; where that does not lead to fewer wrong ones, the last of them alone, which cannot cycle.

    Args:
        gram: (r, n, n) symmetric and positive definite.
        matched: (r, n).
        free: (r, n) bool, which unknowns to free at first, as the second result of a problem much like this one; None
            for all.

    Returns:
        Solution (r, n) and which unknowns are free in it (r, n), in the precision of `gram`; no gradient flows through.

    Reference:
        Kim and Park 2011, doi:10.1137/110821172, algorithm 2, for one right-hand side a problem.
    """
    gram, matched = gram.detach(), matched.detach()
    scale = _TOLERANCE * matched.abs().amax(dim=1, keepdim=True)
    free = torch.ones_like(matched, dtype=torch.bool) if free is None else free.clone()
    fewest = torch.full_like(matched[:, 0], matched.shape[1] + 1)
    patience = torch.full_like(fewest, _PATIENCE)
    for _ in range(_LIMIT):
        above, slope = _at(gram, matched, free)
        wrong = torch.where(free, above < -scale, slope < -scale)
        count = wrong.sum(dim=1).to(fewest.dtype)
        if not bool(count.any()):
            break
        fewer = count < fewest
        patience = torch.where(fewer, _PATIENCE, patience - 1)
        fewest = torch.minimum(fewest, count)
        free ^= torch.where((patience >= 0)[:, None], wrong, _last(wrong))
    return above.clamp_min(0), free


def _at(gram: Tensor, matched: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """The solution with these unknowns free and the others 0, and the gradient there."""
    both = free[:, :, None] & free[:, None, :]
    system = torch.where(both, gram, torch.zeros_like(gram)) + torch.diag_embed((~free).to(gram.dtype))
    # The unchecked form: what is not finite is for the driver to see.
    solution, _ = torch.linalg.solve_ex(system, torch.where(free, matched, torch.zeros_like(matched))[:, :, None])
    return solution[:, :, 0], (gram @ solution)[:, :, 0] - matched


def _last(wrong: Tensor) -> Tensor:
    """The wrong unknown of the highest index of each problem alone."""
    return wrong & (wrong.flip(1).cumsum(dim=1).flip(1) == 1)
