"""A KKT search under way: its candidates and multipliers, moved by Adam. Public names: `Plan`, `Search`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi
from typing import TYPE_CHECKING

import torch

from auditcli.attacks._precision import products

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.attacks._stationarity import Penalties, Problem, Slopes

_ROUGH = 0.8
"""Share of the steps in which a GPU may round its matrix products; the last ones are exact."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a search moves over its steps; the settings of `kkt`."""

    steps: int
    exponent: float
    anneal: float
    pixel_rate: float
    multiplier_rate: float

    def exponent_at(self, number: int) -> float:
        """It rises to its final value, and stays there."""
        return self.exponent * min(1.0, number / self.steps / self.anneal)

    def rates_at(self, number: int) -> tuple[float, float]:
        """Steps of the images and of the multipliers, which fall to 0 along a cosine."""
        cosine = 0.5 * (1 + cos(pi * number / self.steps))
        return self.pixel_rate * cosine, self.multiplier_rate * cosine


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

    def run(self, plan: Plan) -> Iterator[Slopes]:
        """The loss and its derivatives at each step of the plan, before the step."""
        for number in range(plan.steps):
            weight = self.problem.weight(plan.exponent_at(number))
            with products(self.offset.device, rough=number < _ROUGH * plan.steps):
                slopes = self.problem.slopes(self.offset, self.multipliers, self.unit, weight, self.penalties)
            for group, rate in zip(self.optimizer.param_groups, plan.rates_at(number), strict=True):
                group["lr"] = rate
            self.offset.grad, self.multipliers.grad = slopes.offset, slopes.multipliers
            self.optimizer.step()
            yield slopes
