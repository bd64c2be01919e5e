"""The lower level of a bilevel reconstruction: multipliers for given images, in closed form. Public name: `Lower`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from auditcli.weights.nonnegative import nonnegative

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.weights.stationarity import Terms


@dataclass(frozen=True, slots=True)
class Lower:
    """`min over lambda >= 0 of |theta - sum_i lambda_i g_i|^2 + ridge |lambda|^2 + evenness |lambda - mean lambda|^2`.

    Both theta and the gradients g_i have norm 1, so that a multiplier is the size of what its image explains.

    The upper level minimises the same value over the images. So at the solution the derivative of the value through the
    multipliers vanishes (the envelope theorem; variable projection where nothing is bounded), and that through the
    inner products, with the multipliers held fixed, is the whole gradient: neither the solver is unrolled nor a linear
    system solved for an implicit derivative. Multipliers at their bound stay there under small changes, and where one
    is about to leave it the value is still once differentiable.
    """

    ridge: float
    """Positive: it makes the solution unique."""
    evenness: float

    def solve(self, terms: Terms, free: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The multipliers (r, n), without a gradient, and which are above 0, to begin the next solution with.

        In float64: near copies among the images leave a Gram matrix that float32 cannot factor.
        """
        gram = terms.gram.detach().double()
        n = gram.shape[1]
        penalty = (self.ridge + self.evenness) * torch.eye(n, dtype=gram.dtype, device=gram.device) - self.evenness / n
        multipliers, free = nonnegative(gram + penalty, terms.matched.double(), free)
        return multipliers.to(terms.gram.dtype), free

    def value(self, terms: Terms, multipliers: Tensor) -> Tensor:
        """What is minimised (r,); differentiable with respect to the inner products."""
        spread = multipliers - multipliers.mean(dim=1, keepdim=True)
        penalty = self.ridge * multipliers.square().sum(dim=1) + self.evenness * spread.square().sum(dim=1)
        return terms.residual(multipliers) + penalty
