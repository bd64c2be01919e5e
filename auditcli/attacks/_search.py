"""A KKT search under way: its candidates and multipliers, moved by Adam. Public name: `Search`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.attacks._stationarity import Penalties, Problem, Slopes


@dataclass(slots=True)
class Search:
    """Changes with every step; r restarts of n candidates in one batch."""

    problem: Problem
    penalties: Penalties
    offset: Tensor
    """(r, n, d) candidates less the mean image, in pixels."""
    multipliers: Tensor
    """(r, n), in units of `unit`."""
    unit: Tensor
    """(r, 1)."""
    optimizer: torch.optim.Optimizer

    @classmethod
    def begin(
        cls, problem: Problem, penalties: Penalties, offset: Tensor, multipliers: Tensor, *, share: float
    ) -> Search:
        """Search from these candidates, which together explain `share` of the norm of the layer."""
        # On a CPU the fused kernel passes once over what the others pass over ten times.
        optimizer = torch.optim.Adam([{"params": [offset]}, {"params": [multipliers]}], fused=True)
        return cls(problem, penalties, offset, multipliers, share * problem.start(offset), optimizer)

    def look(self, exponent: float) -> Slopes:
        """The loss at this exponent and its derivatives, here."""
        weight = self.problem.weight(exponent)
        return self.problem.slopes(self.offset, self.multipliers, self.unit, weight, self.penalties)

    def move(self, slopes: Slopes, *, pixel_rate: float, multiplier_rate: float) -> None:
        """One step of Adam along the derivatives."""
        for group, rate in zip(self.optimizer.param_groups, (pixel_rate, multiplier_rate), strict=True):
            group["lr"] = rate
        self.offset.grad, self.multipliers.grad = slopes.offset, slopes.multipliers
        self.optimizer.step()
