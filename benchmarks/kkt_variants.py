"""What else a KKT search could do between its steps: `Variant`, `altered`, `fitted`, `split`, `finished`.

Each was built to be measured by `kkt_choices.py`, and none is in the product: see what the page says about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from auditcli.attacks import Attack
from auditcli.attacks._search import Plan, Search
from auditcli.attacks._stationarity import Penalties, Problem
from auditcli.types import Budget, Step, Target
from auditcli.weights import Sides, margin_gradients, span

Between = Callable[[Search, int, Plan], None]
"""Called after each step with the search, the step's number and the plan; may change the search."""
_RIDGE = 1e-6
_TURNS = 20
"""Of the power iteration."""
_APART = 0.1
"""How far each half of a split candidate moves, relative to its distance from the mean image."""
_SPLIT = 0.1
"""Share of the candidates that are split at a time, those with the most negative curvature."""


@dataclass(frozen=True, slots=True)
class Variant:
    """The attack with other settings, and with something done between its steps."""

    name: str
    settings: Mapping[str, Any]
    between: Between | None = None
    directions: float = 1.0
    """Share of the directions above the noise that are used; above 1, some of the noise too."""


def altered(attack: Attack, variant: Variant) -> Attack:
    """The attack as the variant has it."""
    plain = attack.with_settings(**variant.settings)
    if variant.between is None and variant.directions == 1:
        return plain
    between = variant.between

    def steps(target: Target, budget: Budget, rng: torch.Generator, **settings: Any) -> Iterator[Step]:
        cut = _cut(target, variant.directions)
        return (
            plain.steps(cut, budget, rng, **settings)
            if between is None
            else _between(between, cut, budget, rng, settings)
        )

    return replace(plain, steps=steps)


def _cut(target: Target, directions: float) -> Target:
    if target.dense is None:
        raise TypeError("a victim is a dense network")
    least = 2 * target.profile.classes
    rank = span(target.dense).rank
    kept = max(least, round(directions * rank))
    whole = span(target.dense, at_least=kept)
    return replace(
        target,
        span=replace(whole, basis=whole.basis[:, :kept], values=whole.values[:kept], image=whole.image[:, :kept]),
    )


def _between(
    between: Between, target: Target, budget: Budget, rng: torch.Generator, settings: Mapping[str, Any]
) -> Iterator[Step]:
    """As `kkt`, with something done after each step."""
    if target.span is None:
        raise TypeError("the target has its span")
    s = settings
    n = min(budget.candidates, round(s["guesses"] * target.span.basis.shape[1]))
    sides = Sides.balanced(n, target.profile.classes)
    problem = Problem.of(
        target, target.span, sides, budget.restarts, sharpness=s["sharpness"], temperature=s["temperature"]
    )
    offset = torch.randn(*problem.shape, len(problem.mean), generator=rng) * s["start"]
    multipliers = torch.rand(problem.shape, generator=rng).add(0.5)
    penalties = Penalties(s["span_weight"], s["box_weight"], s["multiplier_weight"], s["least_multiplier"])
    search = Search.begin(problem, penalties, offset, multipliers, share=s["share"])
    plan = Plan(budget.steps, s["exponent"], s["anneal"], s["pixel_rate"], s["multiplier_rate"])
    final = problem.weight(s["exponent"])
    for number, slopes in enumerate(search.run(plan)):
        yield Step(slopes.pixels.float().unflatten(2, target.profile.input_shape), slopes.energy.float() @ final)
        between(search, number, plan)


# ---- multipliers in closed form -------------------------------------------------------------------------------------


def fitted(every: int, least: float, begin: float = 0.7) -> Between:
    """Non-negative least squares for the multipliers, every so many steps, from that share of the steps on.

    Args:
        every: Steps between two fits.
        least: Least multiplier, relative to the mean of those before.
        begin: Before it, candidates have not found their places.
    """

    def between(search: Search, number: int, plan: Plan) -> None:
        if number >= begin * plan.steps and number % every == 0:
            for restart in range(len(search.offset)):
                search.multipliers[restart] = _fit(search, restart, plan.exponent_at(number), least)

    return between


def _fit(search: Search, restart: int, exponent: float, least: float) -> Tensor:
    problem, weight = search.problem, search.problem.weight(exponent).double()
    coordinates = search.offset[restart] @ problem.basis + problem.constant
    n = len(coordinates)
    sides = Sides(problem.sides.labels[:n], problem.sides.classes)
    gradients = margin_gradients(
        problem.dense, coordinates @ problem.gain, sides, sharpness=problem.sharpness, temperature=problem.temperature
    ).double() * float(search.unit[restart])
    coordinates = coordinates.double()
    weighted = coordinates * weight
    gram = (gradients @ gradients.T) * (weighted @ coordinates.T)
    matched = ((gradients @ problem.image.double()) * weighted).sum(dim=1)
    floor = torch.full((n,), least * float(search.multipliers[restart].mean()), dtype=torch.float64)
    gram += _RIDGE * gram.diagonal().mean() * torch.eye(n, dtype=gram.dtype)
    factor = torch.linalg.cholesky(gram)
    right = torch.linalg.solve_triangular(factor, (matched - gram @ floor)[:, None], upper=False)[:, 0]
    above, _ = nnls(factor.T.numpy(), right.numpy(), maxiter=30 * n)
    return (floor + torch.from_numpy(np.asarray(above))).to(search.multipliers.dtype)


# ---- sample splitting -----------------------------------------------------------------------------------------------


def split(at: tuple[float, ...]) -> Between:
    """Sample splitting (Shen et al. 2026) at these shares of the steps.

    A candidate whose contribution curves downwards, the residual held fixed, is worth more as two: it moves one way
    along the eigenvector of the lowest curvature with half its multiplier, and its other half moves the other way. They
    add a candidate; our number is fixed, so the other half takes the place of the candidate of its class that carries
    least.
    """

    def between(search: Search, number: int, plan: Plan) -> None:
        if number in {round(share * plan.steps) for share in at}:
            curvature, direction = _lowest(search, plan.exponent_at(number))
            for restart in range(len(search.offset)):
                _split(search, restart, curvature[restart], direction[restart])

    return between


def _split(search: Search, restart: int, curvature: Tensor, direction: Tensor) -> None:
    offset, multipliers = search.offset[restart], search.multipliers[restart]
    labels = search.problem.sides.labels[: len(offset)]
    taken = torch.zeros(len(offset), dtype=torch.bool)
    for i in curvature.argsort()[: round(_SPLIT * len(offset))].tolist():
        others = torch.nonzero((labels == labels[i]) & ~taken).flatten()
        others = others[others != i]
        if curvature[i] >= 0 or taken[i] or len(others) == 0:
            continue
        j = int(others[multipliers[others].argmin()])
        taken[[i, j]] = True
        step = _APART * offset[i].norm() * direction[i]
        offset[j] = offset[i] - step
        offset[i] += step
        multipliers[i] /= 2
        multipliers[j] = multipliers[i]


def _lowest(search: Search, exponent: float) -> tuple[Tensor, Tensor]:
    """Lowest curvature of each candidate's contribution (r, n) and its direction (r, n, d), by power iteration."""
    direction = torch.nn.functional.normalize(
        torch.randn(search.offset.shape, generator=torch.Generator().manual_seed(0)), dim=2
    )
    inside = search.problem.basis
    project = inside @ torch.linalg.pinv(inside)
    top = torch.zeros(search.multipliers.shape)
    for shift in (False, True):  # the largest magnitude first, then the lowest below it
        bound = top.abs()[:, :, None]
        for _ in range(_TURNS):
            product = _curved(search, exponent, direction) @ project
            turned = bound * direction - product if shift else product
            top = (direction * product).sum(dim=2)
            direction = torch.nn.functional.normalize(turned, dim=2)
    return top, direction


def _curved(search: Search, exponent: float, direction: Tensor) -> Tensor:
    """Hessian-vector product of each candidate's share in the loss, the residual held fixed, by autograd."""
    problem = search.problem
    lam = (search.multipliers * search.unit)[:, :, None]

    def contributions(offset: Tensor) -> tuple[Tensor, Tensor]:
        coordinates = offset @ problem.basis + problem.constant
        found = margin_gradients(
            problem.dense,
            coordinates.flatten(0, 1) @ problem.gain,
            problem.sides,
            sharpness=problem.sharpness,
            temperature=problem.temperature,
        )
        return lam * found.unflatten(0, problem.shape), coordinates

    with torch.no_grad():
        gradients, coordinates = contributions(search.offset)
        slope = -2 * (problem.image - gradients.mT @ coordinates) * problem.weight(exponent)
    point = search.offset.clone().requires_grad_()
    gradients, coordinates = contributions(point)
    (first,) = torch.autograd.grad((gradients @ slope * coordinates).sum(), point, create_graph=True)
    (second,) = torch.autograd.grad((first * direction).sum(), point)
    return second


# ---- a finish in double precision -----------------------------------------------------------------------------------


def finished(share: float) -> Between:
    """The last share of the steps in float64."""

    def between(search: Search, number: int, plan: Plan) -> None:
        if number != round((1 - share) * plan.steps):
            return
        problem, dense = search.problem, search.problem.dense
        tensors = ("image", "values", "gain", "basis", "constant", "mean", "scale")
        search.problem = replace(
            problem,
            dense=replace(
                dense,
                weights=tuple(weight.double() for weight in dense.weights),
                biases=tuple(None if bias is None else bias.double() for bias in dense.biases),
            ),
            **{name: getattr(problem, name).double() for name in tensors},
        )
        old = [search.optimizer.state[one] for one in (search.offset, search.multipliers)]
        search.offset, search.multipliers, search.unit = (
            tensor.double() for tensor in (search.offset, search.multipliers, search.unit)
        )
        search.optimizer = torch.optim.Adam([{"params": [search.offset]}, {"params": [search.multipliers]}], fused=True)
        for one, state in zip((search.offset, search.multipliers), old, strict=True):
            search.optimizer.state[one] = {
                key: value if key == "step" else value.double() for key, value in state.items()
            }

    return between
