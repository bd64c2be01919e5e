"""Reconstruction from the KKT condition, in the span of the first layer. Public name: `kkt`."""

from __future__ import annotations

from math import cos, pi
from typing import TYPE_CHECKING

import torch

from auditcli.attacks._attack import attack
from auditcli.attacks._start import begin
from auditcli.types import Step, Trait
from auditcli.weights import Sides, margin_gradients, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from auditcli.types import Budget, DenseStack, Profile, Target


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
    share: float = 0.001,
    start: float = 0.035,
    span_weight: float = 3.0,
    box_weight: float = 1.0,
    multiplier_weight: float = 5.0,
    least_multiplier: float = 0.6,
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
        budget: At most `candidates` images a restart are guessed: twice the rank of the span, as many of each class.
        rng: Of the starting images and multipliers.
        pixel_rate: Adam step of the images, in pixel units.
        multiplier_rate: Adam step of the multipliers, in units of their starting mean.
        exponent: Final p. Single images live in the small singular directions, which p brings up.
        anneal: Share of the steps over which p rises from 0; from a random start a large p goes nowhere.
        sharpness: Of the smoothed step of a ReLU, see `margin_gradients`.
        share: Norm of what the starting candidates explain, relative to the layer. Small, so that the candidates find
            their places before they carry weight, and multipliers stay near each other on the way up.
        start: Standard deviation of the starting images around the mean image, in pixel units.
        span_weight: Of the share of [x, 1] outside the span.
        box_weight: Of the squared distance to pixels in [0, 1], in units of the input space.
        multiplier_weight: Of the hinge (summed over candidates) that keeps every candidate in use.
        least_multiplier: Least multiplier that is not punished, relative to the mean.
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
    dense, profile = target.dense, target.profile
    if dense is None:
        raise TypeError("a target with Trait.DENSE has no dense stack")
    weights = target.span or span(dense, at_least=2 * profile.classes)
    n = min(budget.candidates, 2 * weights.basis.shape[1] if initial is None else len(initial))
    sides = Sides.balanced(n, profile.classes)
    mean, std = _normalisation(profile, dense)
    low, high = -mean / std, (1 - mean) / std
    shape = (budget.restarts, n, dense.weights[0].shape[1])
    offset = begin(torch.randn(shape, generator=rng) * start, mean, initial).requires_grad_()
    multipliers = torch.rand(budget.restarts, n, generator=rng).add(0.5).to(mean.device).requires_grad_()
    everyone = Sides(sides.labels.repeat(budget.restarts), sides.classes)

    largest = weights.values[0]
    image, relative = weights.image / largest, weights.values / largest
    optimizer = torch.optim.Adam([{"params": [offset]}, {"params": [multipliers]}])
    unit: Tensor | None = None
    for number in range(budget.steps):
        done = number / budget.steps
        cosine = 0.5 * (1 + cos(pi * done))
        for group, rate in zip(optimizer.param_groups, (pixel_rate, multiplier_rate), strict=True):
            group["lr"] = rate * cosine
        x = offset / std
        inputs = x.flatten(0, 1)
        coordinates = weights.coordinates(inputs)
        gradients = margin_gradients(dense, coordinates @ weights.image.T, everyone, sharpness=sharpness)
        terms = gradients.unflatten(0, shape[:2]), coordinates.unflatten(0, shape[:2])
        if unit is None:
            unit = share * _unit(image, *terms)
        residual = image - _combine(terms[0], terms[1], multipliers * unit)
        stationarity = _weighted(residual, relative.pow(-exponent * min(1.0, done / anneal)), image)
        loss = (
            stationarity
            + span_weight * weights.residual(inputs).unflatten(0, shape[:2]).mean(dim=1)
            + box_weight * ((x - high).relu().square() + (low - x).relu().square()).sum(dim=2).mean(dim=1)
            + multiplier_weight * _unused(multipliers, least_multiplier)
        ).sum()
        with torch.no_grad():
            objective = _weighted(residual, relative.pow(-exponent), image)
            pixels = (offset + mean).clamp(0, 1).unflatten(2, profile.input_shape)
        yield Step(pixels, objective)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _normalisation(profile: Profile, dense: DenseStack) -> tuple[Tensor, Tensor]:
    channels, height, width = profile.input_shape
    like = dense.weights[0]
    mean, std = (
        torch.tensor(values, dtype=like.dtype, device=like.device).expand(channels).repeat_interleave(height * width)
        for values in (profile.normalisation.mean, profile.normalisation.std)
    )
    return mean, std


def _combine(gradients: Tensor, coordinates: Tensor, multipliers: Tensor) -> Tensor:
    """`sum_i lambda_i delta_i c_i^T` of each restart, (r, h, rank)."""
    return (multipliers[:, :, None] * gradients).transpose(1, 2) @ coordinates


def _unit(image: Tensor, gradients: Tensor, coordinates: Tensor) -> Tensor:
    """The multiplier at which the starting candidates together are as large as the layer, (r, 1)."""
    start = _combine(gradients, coordinates, torch.ones_like(gradients[:, :, 0])).detach()
    unit: Tensor = image.norm() / start.flatten(1).norm(dim=1).clamp_min(torch.finfo(image.dtype).tiny)
    return unit[:, None]


def _weighted(residual: Tensor, weight: Tensor, image: Tensor) -> Tensor:
    """Squared norm of each restart's residual against the layer's, both weighted by direction, (r,)."""
    share: Tensor = (residual * weight).square().sum(dim=(1, 2)) / (image * weight).square().sum()
    return share


def _unused(multipliers: Tensor, least: float) -> Tensor:
    """How far multipliers are below the least allowed share of their mean, squared and summed, (r,)."""
    share = multipliers / multipliers.mean(dim=1, keepdim=True).detach().clamp_min(1e-6)
    return (least - share).relu().square().sum(dim=1)
