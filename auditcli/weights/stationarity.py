"""The stationarity condition `theta = sum_i lambda_i g_i` in inner products alone. Public names: `Terms`, `terms`.

With `K_ij = <g_i, g_j>` and `m_i = <theta, g_i>` the squared residual is `|theta|^2 - 2 m.lambda + lambda.K lambda`.
A gradient at a linear layer is an outer product of what comes back and what went in, so both are products of (n, n)
matrices, and no gradient of the size of the weights is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import DenseStack, WeightSpan
    from auditcli.weights.backward import Pass


@dataclass(frozen=True, slots=True)
class Terms:
    """Inner products of r groups of n gradients, each scaled to norm 1, with each other and with weights of norm 1."""

    gram: Tensor
    """(r, n, n)."""
    matched: Tensor
    """(r, n)."""

    def residual(self, multipliers: Tensor) -> Tensor:
        """Squared residual (r,) with multipliers (r, n) of the scaled gradients: 1 where they are 0."""
        fitted = (self.gram @ multipliers[:, :, None])[:, :, 0]
        return 1 + (multipliers * (fitted - 2 * self.matched)).sum(dim=1)

    def scaled(self, multipliers: Tensor) -> Tensor:
        """Squared residual (r,) with these multipliers times the one factor that fits best, in [0, 1]."""
        matched = (multipliers * self.matched).sum(dim=1)
        square = (multipliers * (self.gram @ multipliers[:, :, None])[:, :, 0]).sum(dim=1)
        share = matched.clamp_min(0).square() / square.clamp_min(torch.finfo(square.dtype).tiny)
        return (1 - share).clamp(0, 1)


def terms(
    dense: DenseStack,
    weights: WeightSpan,
    coordinates: Tensor,
    passed: Pass,
    *,
    exponent: float,
    upper: float,
    restarts: int,
) -> Terms:
    """The inner products of the gradients that a pass left, restart by restart.

    The first layer is taken within its span and each of its directions divided by a power of its singular value. Every
    layer counts by its squared norm, so that layers of different scale weigh alike.

    Args:
        dense: The network.
        weights: Span of its first layer.
        coordinates: (r * n, rank) of the inputs in the span.
        passed: Of the same inputs.
        exponent: Of the singular values, relative to the largest.
        upper: Weight of each layer above the first, which has weight 1; 0 leaves them out.
        restarts: r.
    """
    scaled = (weights.values / weights.values[0]).pow(-exponent)
    first = coordinates * scaled
    image = weights.written * scaled
    total = image.square().sum()
    gram = _gram(passed.gradients[0], first, restarts) / total
    matched = ((passed.gradients[0] @ image) * first).sum(dim=1) / total
    for layer in range(1, len(dense.weights) if upper else 0):
        weight, bias = dense.weights[layer], dense.biases[layer]
        inputs, gradients, outputs = passed.inputs[layer - 1], passed.gradients[layer], passed.outputs[layer]
        total = weight.square().sum()
        if bias is not None:
            inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
            total = total + bias.square().sum()
        gram = gram + upper * _gram(gradients, inputs, restarts) / total
        matched = matched + upper * (gradients * outputs).sum(dim=1) / total
    norm = 1 + upper * (len(dense.weights) - 1)
    scale = gram.diagonal(dim1=1, dim2=2).clamp_min(torch.finfo(gram.dtype).tiny).sqrt()
    return Terms(gram / scale[:, :, None] / scale[:, None, :], matched.unflatten(0, scale.shape) / scale / norm**0.5)


def _gram(gradients: Tensor, inputs: Tensor, restarts: int) -> Tensor:
    left, right = (side.unflatten(0, (restarts, -1)) for side in (gradients, inputs))
    gram: Tensor = (left @ left.mT) * (right @ right.mT)
    return gram
