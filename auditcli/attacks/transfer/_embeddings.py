"""The KKT condition of a head, solved for the embeddings it was trained on: `Settings`, `search`, `Found`."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import TYPE_CHECKING

import torch

from auditcli.weights import Sides, margin_gradients, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from auditcli.types import DenseStack


@dataclass(frozen=True, slots=True)
class Settings:
    """Of the search; each is explained where `transfer` takes it."""

    rate: float
    multiplier_rate: float
    exponent: float
    anneal: float
    sharpness: float
    explained: float
    start: float
    span_weight: float
    norm_weight: float
    multiplier_weight: float
    least_multiplier: float


@dataclass(frozen=True, slots=True)
class Found:
    """Where the search is."""

    embeddings: Tensor
    """(s, n, f) of each start."""
    residual: Tensor
    """(s,) share of the layer that they leave unexplained, at the final exponent."""


def search(
    dense: DenseStack,
    classes: int,
    *,
    starts: int,
    candidates: int,
    steps: int,
    norm: float,
    rng: torch.Generator,
    settings: Settings,
) -> Iterator[Found]:
    """Minimise, from many starts in one batch, what embeddings leave of the head's first layer.

    Args:
        dense: The head.
        classes: Of the task.
        starts: Independent of each other.
        candidates: Embeddings of each start at most; twice the rank of the span are enough.
        steps: Planned; rate and exponent follow them.
        norm: Of a typical embedding.
        rng: Of the starting embeddings and multipliers, drawn on the CPU.
        settings: See `transfer`.

    Yields:
        Before each step, where it is.
    """
    weights = span(dense, at_least=2 * classes)
    basis, device = weights.basis[:-1], weights.basis.device
    rank = basis.shape[1]
    n = min(candidates, 2 * rank)
    sides = Sides.balanced(n, classes)
    everyone = Sides(sides.labels.repeat(starts), classes)
    place = torch.randn(starts, n, rank, generator=rng).mul(settings.start / rank**0.5).to(device).requires_grad_()
    multipliers = torch.rand(starts, n, generator=rng).add(0.5).to(device).requires_grad_()
    image, relative = weights.image / weights.values[0], weights.values / weights.values[0]
    optimizer = torch.optim.Adam([{"params": [place]}, {"params": [multipliers]}])
    unit: Tensor | None = None
    for number in range(steps):
        done = number / steps
        cosine = 0.5 * (1 + cos(pi * done))
        for group, rate in zip(
            optimizer.param_groups, (settings.rate / rank**0.5, settings.multiplier_rate), strict=True
        ):
            group["lr"] = rate * cosine
        inputs = norm * place.flatten(0, 1) @ basis.T
        coordinates = weights.coordinates(inputs)
        gradients = margin_gradients(dense, coordinates @ weights.image.T, everyone, sharpness=settings.sharpness)
        terms = gradients.unflatten(0, (starts, n)), coordinates.unflatten(0, (starts, n))
        if unit is None:
            unit = settings.explained * _unit(image, *terms)
        residual = image - _combine(*terms, multipliers * unit)
        outside = weights.residual(inputs).unflatten(0, (starts, n)).mean(dim=1)
        stretched = (inputs.norm(dim=1) / norm - 1).square().unflatten(0, (starts, n)).mean(dim=1)
        loss = (
            _weighted(residual, relative.pow(-settings.exponent * min(1.0, done / settings.anneal)), image)
            + settings.span_weight * outside
            + settings.norm_weight * stretched
            + settings.multiplier_weight * _unused(multipliers, settings.least_multiplier)
        ).sum()
        with torch.no_grad():
            objective = _weighted(residual, relative.pow(-settings.exponent), image)
        yield Found(inputs.detach().unflatten(0, (starts, n)), objective)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _combine(gradients: Tensor, coordinates: Tensor, multipliers: Tensor) -> Tensor:
    """`sum_i lambda_i delta_i c_i^T` of each start, (s, h, rank)."""
    return (multipliers[:, :, None] * gradients).transpose(1, 2) @ coordinates


def _unit(image: Tensor, gradients: Tensor, coordinates: Tensor) -> Tensor:
    """The multiplier at which the starting candidates together are as large as the layer, (s, 1)."""
    together = _combine(gradients, coordinates, torch.ones_like(gradients[:, :, 0])).detach()
    unit: Tensor = image.norm() / together.flatten(1).norm(dim=1).clamp_min(torch.finfo(image.dtype).tiny)
    return unit[:, None]


def _weighted(residual: Tensor, weight: Tensor, image: Tensor) -> Tensor:
    """Squared norm of each start's residual against the layer's, both weighted by direction, (s,)."""
    share: Tensor = (residual * weight).square().sum(dim=(1, 2)) / (image * weight).square().sum()
    return share


def _unused(multipliers: Tensor, least: float) -> Tensor:
    """How far multipliers are below the least allowed share of their mean, squared and summed, (s,)."""
    share = multipliers / multipliers.mean(dim=1, keepdim=True).detach().clamp_min(1e-6)
    return (least - share).relu().square().sum(dim=1)
