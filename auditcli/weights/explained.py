"""How much of the first layer a set of images explains, together and each.

Public names: `explained`, `leave_one_out`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import nnls

from auditcli.weights.margin import Sides, margin_gradients

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from auditcli.types import DenseStack, WeightSpan

_SHARP = 1e6
"""The true step of a ReLU, within rounding."""
_RIDGE = 1e-9
"""Relative, on the Gram matrix, whose Cholesky factor must exist where candidates coincide."""
_ITERATIONS = 30
"""An image, of the least-squares solver; among near copies its own limit of 3 is soon reached."""


def explained(dense: DenseStack, weights: WeightSpan, inputs: Tensor, sides: Sides) -> float:
    """Share of the squared norm of the first layer, within its span, that images explain by the KKT condition.

    The best non-negative multipliers of `A V = sum_i lambda_i delta_i [x_i, 1]^T V` are found by least squares, so the
    share is a property of the images alone and not of what an attack believed about them.

    Args:
        dense: The network.
        weights: Span of its first layer.
        inputs: (n, d) flat images in the input space of the first layer.
        sides: Class of each image.

    Returns:
        In [0, 1]: 0 where no image explains anything, 1 where the layer is their combination.
    """
    system = _system(dense, weights, inputs, sides)
    return min(1.0, max(0.0, system.solve(range(len(inputs)))[1]))


def leave_one_out(dense: DenseStack, weights: WeightSpan, inputs: Tensor, sides: Sides) -> Tensor:
    """What of the explained share is lost without each image, the multipliers of the others fitted anew.

    Args:
        dense: The network.
        weights: Span of its first layer.
        inputs: (n, d) flat images in the input space of the first layer.
        sides: Class of each image.

    Returns:
        (n,) float64 in [0, 1]: 0 where the others explain as much, as where an image's own multiplier is 0.
    """
    system = _system(dense, weights, inputs, sides)
    everyone = range(len(inputs))
    multipliers, share = system.solve(everyone)
    losses = torch.zeros(len(inputs), dtype=torch.float64)
    for i in np.flatnonzero(multipliers).tolist():
        losses[i] = max(0.0, share - system.solve([j for j in everyone if j != i])[1])
    return losses


@dataclass(frozen=True, slots=True)
class _System:
    """Normal equations of the multipliers, each image's contribution scaled to norm 1."""

    gram: Tensor
    matched: Tensor
    """(n,) inner products of the contributions and the layer."""
    total: float
    """Squared norm of the layer."""

    def solve(self, chosen: Sequence[int]) -> tuple[NDArray[np.float64], float]:
        """Non-negative multipliers of these images, and the share that they explain."""
        index = torch.as_tensor(chosen)
        factor = torch.linalg.cholesky(self.gram[index][:, index])
        right = torch.linalg.solve_triangular(factor, self.matched[index][:, None], upper=False)[:, 0]
        multipliers, residual = nnls(factor.T.numpy(), right.numpy(), maxiter=_ITERATIONS * len(index))
        return multipliers, (float(right.square().sum()) - residual**2) / self.total


def _system(dense: DenseStack, weights: WeightSpan, inputs: Tensor, sides: Sides) -> _System:
    with torch.no_grad():
        coordinates = weights.coordinates(inputs)
        gradients = margin_gradients(dense, coordinates @ weights.image.T, sides, sharpness=_SHARP).double()
        coordinates = coordinates.double()
        image = weights.written.double()
        gram = (gradients @ gradients.T) * (coordinates @ coordinates.T)
        matched = ((gradients @ image) * coordinates).sum(dim=1)
        scale = gram.diagonal().sqrt().clamp_min(torch.finfo(torch.float64).tiny)
        gram = gram / scale / scale[:, None] + _RIDGE * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return _System(gram.cpu(), (matched / scale).cpu(), float(image.square().sum()))
