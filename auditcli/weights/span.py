"""The span of the first layer: directions of input space that training wrote into the weights.

Every gradient step adds combinations of `[x_i, 1]` over training inputs x_i to the rows of `A = [W1 b1]`, so up to the
initial weights the row space of A is the span of the training inputs. What is left of the initial weights is a floor of
singular values that ends at the Marchenko-Pastur edge. Where the initial weights are public, the floor of the
difference is rounding.

Public names: `span`, `span_of`.
"""

from __future__ import annotations

from functools import cache
from math import pi, sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditcli.types import WeightSpan
from auditcli.weights.difference import base_of, first_layer, written

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import DenseStack, Target

_QUANTILE = 0.25
"""The noise is read off the lower quartile of the singular values: right while under three quarters are signal."""
_TRACY_WIDOM = 2.02
"""Value that the scaled square of the largest singular value of pure noise stays below in 99% of draws."""
_ESTIMATE = 4.0
"""How far the estimated noise may be off, in units of `ratio^2 / small`: measured on pure noise, worst where square."""
_PRECISION = 1e-6
"""Relative to the largest singular value; below it, float32 weights hold rounding alone."""


def span_of(target: Target, *, at_least: int = 0) -> WeightSpan:
    """The span of a dense target's first layer, from its base where it has one; what the target carries comes first.

    Raises:
        TypeError: the target is no dense network.
        AttackError: its first layer is that of its base.
    """
    if target.dense is None:
        raise TypeError("a target with Trait.DENSE has no dense stack")
    return target.span or span(target.dense, base_of(target), at_least=at_least)


def span(dense: DenseStack, base: DenseStack | None = None, *, at_least: int = 0) -> WeightSpan:
    """The directions of the first layer that can be told from its initial weights.

    Args:
        dense: First layer (h, d).
        base: The network its training started from, where that is known; then the floor is rounding alone.
        at_least: Directions to keep even where fewer stand above the noise, as far as there are so many.

    Returns:
        The span; `rank` counts the directions above the noise, `basis` holds `max(rank, at_least)` of them.

    Raises:
        AttackError: the first layer is that of the base.

    Reference:
        Marchenko and Pastur 1967 for the edge `s (sqrt(h) + sqrt(d + 1))` of noise with standard deviation s;
        Johnstone 2001, doi:10.1214/aos/1009210544, for how far the largest singular value lies beyond it; the estimate
        of s from a quantile follows Gavish and Donoho 2014, arXiv:1305.5870, who use the median. We use the
        lower quartile, since training may fill more than half of the directions.
    """
    matrix, change = first_layer(dense), written(dense, base)
    _, values, rows = torch.linalg.svd(change, full_matrices=False)
    edge = max(_noise_edge(change, values), float(values[0]) * _PRECISION)
    rank = int((values > edge).sum())
    kept = min(max(rank, at_least), len(values))
    basis, dtype = rows[:kept].T, dense.weights[0].dtype
    return WeightSpan(
        basis=basis.to(dtype).contiguous(),
        values=values[:kept].to(dtype),
        image=(matrix @ basis).to(dtype),
        written=(change @ basis).to(dtype),
        rank=rank,
        edge=edge,
    )


def _noise_edge(matrix: Tensor, values: Tensor) -> float:
    """What the largest singular value of the noise in a matrix stays below, read off its small singular values.

    Rows of a difference that are zero belong to neurons that were never active, and hold not even noise.
    """
    live = [max(1, int(matrix.any(dim=axis).sum())) for axis in (1, 0)]
    small, large = sorted(live)
    noise = float(values[:small].quantile(_QUANTILE)) / sqrt(large * _noise_quantile(small / large))
    return noise * _largest(small, large)


def _largest(small: int, large: int) -> float:
    """What the largest singular value of unit noise stays below in about 99% of draws, its variance estimated."""
    a, b = sqrt(small - 0.5), sqrt(large - 0.5)
    square = (a + b) ** 2 + _TRACY_WIDOM * (a + b) * (1 / a + 1 / b) ** (1 / 3)
    return sqrt(square) * (1 + _ESTIMATE * small / large**2)


@cache
def _noise_quantile(ratio: float) -> float:
    """Quantile of the Marchenko-Pastur law of unit variance and aspect ratio in (0, 1], by the midpoint rule."""
    low, high = (1 - sqrt(ratio)) ** 2, (1 + sqrt(ratio)) ** 2
    edges = np.linspace(low, high, 20_001)
    middle = (edges[1:] + edges[:-1]) / 2
    density = np.sqrt((high - middle) * (middle - low)) / (2 * pi * ratio * middle)
    cumulated = np.cumsum(density)
    return float(middle[np.searchsorted(cumulated, _QUANTILE * cumulated[-1])])
