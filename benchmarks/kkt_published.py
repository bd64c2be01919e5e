"""The published reconstruction, from its equations: `published`, `stationarity`, `penalty`, `Settings`, `PUBLISHED`.

Haim et al. 2022 (arXiv:2206.07758) for one logit, Buzaglo et al. 2023 (arXiv:2307.01827) for several. It is here to be
measured beside the product's attack on the same victim, and shares no line with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from auditcli.types import DenseStack, Target

_BOX, _MULTIPLIER = 1.0, 5.0
"""Published weights of the two hinges."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The tuned hyper-parameters of one released run; the defaults are of all runs."""

    name: str
    start: float
    """Standard deviation of the starting images, in pixels minus the mean."""
    rate: float
    """Of the images."""
    least_multiplier: float
    sharpness: float
    """Of the sigmoid that stands for the step of a ReLU in the backward pass; of z itself, not of z over its size."""
    multiplier_rate: float = 1e-4
    optimiser: Literal["sgd", "adam"] = "sgd"


PUBLISHED: Mapping[str, tuple[Settings, ...]] = MappingProxyType(
    {
        "mnist": (
            Settings("kcf9bhbi", 3.498e-2, 0.030524, 0.44705, 149.866),
            Settings("rbijxft7", 1.742e-3, 0.28212, 0.41527, 19.215),
        ),
        "cifar": (
            Settings("b9dfyspx", 8.857e-4, 0.55492, 0.49830, 19.145),
            Settings("k60fvjdy", 4.474e-3, 0.34621, 0.49359, 21.679),
        ),
        "fashion": (
            Settings("multiclass run2", 6.228e-5, 1.362e-3, 0.20320, 39.52, multiplier_rate=0.47933),
            Settings("multiclass sweep", 3.605e-4, 2.420e-4, 0.04012, 326.47, multiplier_rate=0.95128),
        ),
    }
)
"""Hyper-parameters released with the papers for the task nearest to each victim."""


def published(target: Target, n: int, rng: torch.Generator, settings: Settings) -> Iterator[Tensor]:
    """Solve for images whose margin gradients add up to all weights, without end.

    Minimises `stationarity + penalty` over x and lambda by SGD with momentum 0.9 (or Adam) from
    `x = start * N(0, 1)` and `lambda ~ U[0, 1]`, labels fixed and shared out evenly. As published, x is in pixels minus
    the mean; the victim's division by the standard deviation belongs to the network, so that the rates keep the units
    they were tuned in. We differ: float32, not float64, which is faster; 2 n candidates of small victims.

    Args:
        target: A dense network.
        n: Images guessed.
        rng: Of the start.
        settings: Of the run.

    Yields:
        (n, c, h, w) pixels, not clamped.
    """
    dense, profile = target.dense, target.profile
    if dense is None:
        raise TypeError("the published recipe needs a dense network")
    mean, std = profile.normalisation.mean[0], profile.normalisation.std[0]
    labels = torch.arange(n) % profile.classes
    x = (torch.randn(n, dense.weights[0].shape[1], generator=rng) * settings.start).requires_grad_()
    multipliers = torch.rand(n, generator=rng).requires_grad_()
    optimiser = _optimiser(x, multipliers, settings)
    while True:
        yield (x.detach() + mean).unflatten(1, profile.input_shape)
        optimiser.zero_grad()
        loss = stationarity(dense, x / std, labels, multipliers, settings.sharpness)
        (loss + penalty(x, multipliers, settings.least_multiplier)).backward(inputs=[x, multipliers])
        optimiser.step()


def stationarity(dense: DenseStack, inputs: Tensor, labels: Tensor, multipliers: Tensor, sharpness: float) -> Tensor:
    """`sum_l |theta_l - (1/n) sum_i lambda_i grad_l margin(x_i)|^2` over all weights and biases.

    The margin is `+-f(x)` for a single logit, and `f_y - max_{j != y} f_j` for several. The gradient is taken by
    autograd and differentiated by it once more.

    Args:
        dense: ReLU network.
        inputs: (n, d), in its input space.
        labels: (n,) int64.
        multipliers: (n,) lambda.
        sharpness: See `Settings`.
    """
    weights = [weight.detach().clone().requires_grad_() for weight in dense.weights]
    biases = [None if bias is None else bias.detach().clone().requires_grad_() for bias in dense.biases]
    z = inputs
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        z = functional.linear(_smoothed_relu(z, sharpness) if number else z, weight, bias)
    theta = [*weights, *(bias for bias in biases if bias is not None)]
    total = (multipliers * _margins(z, labels)).sum() / len(inputs)
    gradients = torch.autograd.grad(total, theta, create_graph=True)
    layers = [(one.detach() - gradient).square().sum() for one, gradient in zip(theta, gradients, strict=True)]
    return torch.stack(layers).sum()


def penalty(x: Tensor, multipliers: Tensor, least_multiplier: float) -> Tensor:
    """Squared hinges, summed: x (n, d), in pixels minus the mean, within [-1, 1], and lambda (n,) above its least."""
    box = (x.abs() - 1).relu().square().sum()
    unused = (least_multiplier - multipliers).relu().square().sum()
    return _BOX * box + _MULTIPLIER * unused


class _SmoothedRelu(torch.autograd.Function):
    """A ReLU forward; backward its step is `sigmoid(sharpness z)`, which has a derivative."""

    @staticmethod
    def forward(context: Any, z: Tensor, sharpness: float) -> Tensor:
        context.save_for_backward(z)
        context.sharpness = sharpness
        return z.clamp_min(0)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (z,) = context.saved_tensors
        return gradient * torch.sigmoid(context.sharpness * z), None


def _smoothed_relu(z: Tensor, sharpness: float) -> Tensor:
    activated: Tensor = _SmoothedRelu.apply(z, sharpness)  # type: ignore[no-untyped-call]
    return activated


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.shape[1] == 1:
        return (2 * labels - 1) * logits[:, 0]
    own = functional.one_hot(labels, logits.shape[1]).bool()
    return logits[own] - logits.masked_fill(own, -torch.inf).amax(dim=1)


def _optimiser(x: Tensor, multipliers: Tensor, settings: Settings) -> torch.optim.Optimizer:
    groups = [{"params": [x], "lr": settings.rate}, {"params": [multipliers], "lr": settings.multiplier_rate}]
    if settings.optimiser == "adam":
        return torch.optim.Adam(groups)
    return torch.optim.SGD(groups, momentum=0.9)
