"""A layer of binary weights with what follows it, in real numbers, and its neurons in whole ones (`SignedLayer`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from auditcli.families._binary import BinaryLinear

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dense import Norm


@dataclass(frozen=True, slots=True)
class SignedLayer:
    """A layer of binary weights: `norm(scale * (signs @ x) + bias)`."""

    signs: Tensor
    """(out, in) in {-1, 1}."""
    scale: Tensor
    """(out,) above 0."""
    bias: Tensor
    """(out,)."""
    norm: Norm | None = None

    def affine(self) -> tuple[Tensor, Tensor]:
        """Factor and summand (out,) in float64 that make the layer's output of a sum of signs."""
        factor, shift = self._norm()
        return factor * self.scale, factor * self.bias + shift

    def neuron(self) -> BinaryLinear:
        """The layer in front of a sign: weights turned round where the factor is negative, thresholds in whole numbers.

        A neuron of factor 0 does not look at its inputs, and has a threshold that every or no sum of signs reaches.
        """
        factor, _ = self.affine()
        width = self.signs.shape[1]
        turned = torch.where(factor < 0, -1.0, 1.0).double()
        edge = self._edge() * turned
        # Sums of signs are as even or odd as their number.
        threshold = (2 * ((edge + width) / 2).ceil() - width).clamp(-width, width + 2)
        return BinaryLinear(self.signs * turned[:, None], -threshold)

    def _norm(self) -> tuple[Tensor, Tensor]:
        if self.norm is None:
            return torch.ones_like(self.scale), torch.zeros_like(self.scale)
        mean, weight, bias, deviation = self._statistics(self.norm)
        return weight / deviation, bias - mean * weight / deviation

    def _edge(self) -> Tensor:
        """The sum of signs (out,) at which the output is 0; infinite where it never is."""
        if self.norm is None:
            return -self.bias / self.scale
        mean, weight, bias, deviation = self._statistics(self.norm)
        reached = torch.where(bias >= 0, -torch.inf, torch.inf)
        # The batch norm's shift apart: a mean that is a whole number shall stay one.
        return torch.where(weight == 0, reached, (mean - self.bias - bias * deviation / weight) / self.scale)

    def _statistics(self, norm: Norm) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        one = torch.ones_like(self.scale)
        weight = one if norm.weight is None else norm.weight.double()
        bias = 0 * one if norm.bias is None else norm.bias.double()
        return norm.mean.double(), weight, bias, (norm.variance.double() + norm.eps).sqrt()
