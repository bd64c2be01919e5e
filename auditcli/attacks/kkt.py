"""Reconstruction from the KKT condition, in the span of the first layer. Public name: `kkt`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from auditcli.attacks._attack import attack
from auditcli.attacks._choice import ALTERNATIVES, COMMON, LENGTH, Smoothing, merit
from auditcli.attacks._search import Plan, Search
from auditcli.attacks._start import begin
from auditcli.attacks._stationarity import Penalties, Problem
from auditcli.errors import AttackError
from auditcli.types import Step, Trait
from auditcli.weights import Sides, span_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from auditcli.attacks._stationarity import Slopes
    from auditcli.types import Budget, Target


@attack(
    paper="arXiv:2206.07758, arXiv:2307.01827",
    requires=frozenset({Trait.DENSE, Trait.FIRST_LAYER_LINEAR}),
    weighable=True,
)
def kkt(
    target: Target,
    budget: Budget,
    rng: torch.Generator,
    *,
    pixel_rate: float = 0.007,
    multiplier_rate: float = 0.08,
    exponent: float = 0.6,
    anneal: float = 0.7,
    sharpness: float = 20.0,
    temperature: float = 1.0,
    guesses: float = 2.0,
    share: float = 0.001,
    start: float = 0.035,
    span_weight: float = 3.0,
    box_weight: float = 1.0,
    multiplier_weight: float = 5.0,
    least_multiplier: float = 0.6,
    choose: bool = False,
    signed: bool = False,
    initial: Tensor | None = None,
) -> Iterator[Step]:
    """Solves for images whose margin gradients add up to the first layer.

    A network trained to a large margin, or to rest under weight decay, satisfies `theta = sum_i lambda_i grad m(x_i)`
    over training images x_i with margins m. We ask that of the first layer `A = [W1 b1]` alone, in the span V of
    its singular directions above the noise of its initial weights, and minimise over x and lambda

        |(A V - sum_i lambda_i delta_i [x_i, 1]^T V) S^-p|^2 / |A V S^-p|^2  +  span_weight * mean_i offspan(x_i)
        + box_weight * mean_i box(x_i) + multiplier_weight * sum_i relu(least_multiplier - lambda_i / mean lambda)^2

    with delta_i the margin gradient at the first layer by an explicit backward pass. Restarts run in one batch.

    Args:
        target: A dense network on pixels; one logit (binary) or one a class.
        budget: At most `candidates` images a restart are guessed, as many of each class.
        rng: Of the starting images and multipliers.
        pixel_rate: Adam step of the images, in pixel units.
        multiplier_rate: Adam step of the multipliers, in units of their starting mean.
        exponent: Final p. Single images live in the small singular directions, which p brings up.
        anneal: Share of the steps over which p rises from 0; from a random start a large p goes nowhere.
        sharpness: Of the smoothed step of a ReLU, see `margin_gradients`.
        temperature: Of the softmax over the wrong classes; 0 takes the largest, as published.
        guesses: Candidates for each direction of the span, as far as the budget goes.
        share: Norm of what the starting candidates explain, relative to the layer. Small, so that the candidates find
            their places before they carry weight, and multipliers stay near each other on the way up.
        start: Standard deviation of the starting images around the mean image, in pixel units.
        span_weight: Of the share of [x, 1] outside the span.
        box_weight: Of the squared distance to pixels in [0, 1], in units of the input space.
        multiplier_weight: Of the hinge (summed over candidates) that keeps every candidate in use.
        least_multiplier: Least multiplier that is not punished, relative to the mean.
        choose: Choose `exponent` and `sharpness` by short trials: what they explain times how far restarts agree.
        signed: Take the output itself in place of the margin and let multipliers have either sign, for one output that
            is no class: a regression at rest under weight decay.
        initial: Images to begin from, the i-th of class i modulo the classes; None in every audit.

    Yields:
        Candidates (r, n, c, h, w) in [0, 1]; the objective is the first term at the final exponent, so that steps
        compare: 0 where the images explain the layer, 1 where they explain nothing.

    Reference:
        Haim et al. 2022, arXiv:2206.07758, stationarity loss; Buzaglo et al. 2023, arXiv:2307.01827, several classes
        and weight decay. We differ: first layer alone, within its span and preconditioned by S^-p with p annealed, one
        explicit backward pass in place of double backward, Adam in place of SGD, softmax over the wrong classes in
        place of the largest.
    """
    if target.dense is None:
        raise TypeError("a target with Trait.DENSE has no dense stack")
    if signed and target.profile.outputs > 1:
        raise AttackError(f"kkt with signed=True is for models of one output; this one has {target.profile.outputs}")
    weights = span_of(target, at_least=2 * target.profile.classes)
    most = round(guesses * weights.basis.shape[1]) if initial is None else len(initial)
    n = max(1, min(budget.candidates, most))
    classes = target.profile.classes
    sides = Sides(torch.ones(n, dtype=torch.int64), classes) if signed else Sides.balanced(n, classes)
    problem = Problem.of(target, weights, sides, budget.restarts, sharpness=sharpness, temperature=temperature)
    penalties = Penalties(span_weight, box_weight, 0.0 if signed else multiplier_weight, least_multiplier)
    noise, multipliers = _start(problem, rng, start, signed=signed)
    offset = begin(noise, problem.mean, initial)
    plan = Plan(budget.steps, exponent, anneal, pixel_rate, multiplier_rate)
    final = problem.weight(exponent)

    def search(smoothing: Smoothing, steps: int) -> Iterator[Slopes]:
        own = replace(problem, sharpness=smoothing.sharpness)
        begun = Search.begin(own, penalties, offset.clone(), multipliers.clone(), share=share)
        return begun.run(replace(plan, exponent=smoothing.exponent, steps=steps))

    def guess(slopes: Slopes, handicap: float = 0.0) -> Step:
        return Step(slopes.pixels.unflatten(2, target.profile.input_shape), slopes.energy @ final + handicap)

    length = round(LENGTH * budget.steps) if choose else 0
    merits: dict[Smoothing, float] = {}
    for smoothing in ALTERNATIVES if length else ():
        for slopes in search(smoothing, length):
            yield guess(slopes, handicap=1.0)  # so that no trial is kept in place of the run
        merits[smoothing] = merit(1 - slopes.energy @ problem.weight(COMMON), slopes.pixels)
    best = max(merits, key=merits.__getitem__, default=Smoothing(exponent, sharpness))
    for slopes in search(best, budget.steps - len(merits) * length):
        yield guess(slopes)


def _start(problem: Problem, rng: torch.Generator, deviation: float, *, signed: bool) -> tuple[Tensor, Tensor]:
    """Noise (r, n, d) in pixel units to begin around, and multipliers in [0.5, 1.5], or of either sign."""
    noise = torch.randn(*problem.shape, len(problem.mean), generator=rng) * deviation
    draw = torch.randn if signed else torch.rand
    multipliers = draw(*problem.shape, generator=rng).add(0.0 if signed else 0.5)
    return noise, multipliers.to(problem.mean.device)
