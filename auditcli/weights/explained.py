"""How much of the first layer a set of images explains. Public name: `explained`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from scipy.optimize import nnls

from auditcli.weights.margin import Sides, margin_gradients

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import DenseStack
    from auditcli.weights.span import WeightSpan

_SHARP = 1e6
"""The true step of a ReLU, within rounding."""
_RIDGE = 1e-9
"""Relative, on the Gram matrix, whose Cholesky factor must exist where candidates coincide."""


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
    with torch.no_grad():
        coordinates = weights.coordinates(inputs)
        gradients = margin_gradients(dense, coordinates @ weights.image.T, sides, sharpness=_SHARP).double()
        coordinates = coordinates.double()
        image = weights.image.double()
        gram = (gradients @ gradients.T) * (coordinates @ coordinates.T)
        matched = ((gradients @ image) * coordinates).sum(dim=1)
        scale = gram.diagonal().sqrt().clamp_min(torch.finfo(torch.float64).tiny)
        gram = gram / scale / scale[:, None] + _RIDGE * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        factor = torch.linalg.cholesky(gram.cpu())
        right = torch.linalg.solve_triangular(factor, (matched / scale).cpu()[:, None], upper=False)[:, 0]
    _, residual = nnls(factor.T.numpy(), right.numpy())
    total = float(image.square().sum())
    return min(1.0, max(0.0, (float(right.square().sum()) - residual**2) / total))
