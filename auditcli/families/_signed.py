"""Layers of binary weights with what follows them, in real numbers, and the network of whole ones they make.

Public names: `SignedLayer`, `network`, `signed_layers`, `is_flat`, `reads_pixels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from auditcli.families._binary import BinaryLinear, BinaryScores, Sign
from auditcli.families._dense import Norm, linear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from auditcli.families._trace import Step, Trace
    from auditcli.types import Normalisation


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

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, norm: Norm | None) -> SignedLayer:
        """The layer of a weight of plus or minus one number a row."""
        scale = weight.double().abs().amax(dim=1)
        signs = torch.where(weight >= 0, 1.0, -1.0).double()
        return cls(signs, scale, torch.zeros_like(scale) if bias is None else bias.double(), norm)

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


def network(layers: Sequence[SignedLayer], *, reads_signs: bool = True) -> nn.Sequential:
    """The layers in a row, on normalised images; the first reads their signs, or their values."""
    first, *others, last = layers
    modules: list[nn.Module] = [nn.Flatten(), Sign(), first.neuron()] if reads_signs else _on_values(first)
    for layer in others:
        modules += [_sign_behind(modules[-1]), layer.neuron()]
    return nn.Sequential(*modules, _sign_behind(modules[-1]), BinaryScores(last.signs, *last.affine()))


def signed_layers(seen: Trace) -> list[SignedLayer] | None:
    """The layers of binary weights that a trace shows, each on the signs of what came before; None where one is not.

    Args:
        seen: Of a network on normalised images, so many that numbers of 0 in front of a sign would show.
    """
    layers: list[SignedLayer] = []
    read, last = _signs(seen.images), None
    for step in seen.steps:
        if step.kind == "batch norm" and last is not None and torch.equal(step.read, last.returned):
            layers[-1], last = SignedLayer.of(last.weight, last.bias, _norm(step)), None
            read = _signs(step.returned)
        elif step.kind == "linear" and step.whole and torch.equal(step.read, read) and is_flat(step.weight):
            layers.append(SignedLayer.of(step.weight, step.bias, None))
            last, read = step, _signs(step.returned)
        else:
            return None
    return layers if len(layers) > 1 else None


def reads_pixels(normalisation: Normalisation) -> bool:
    """Whether a pixel of 0 has the sign -1 and one of 1 the sign 1."""
    return all(0 < mean <= 1 for mean in normalisation.mean)


def is_flat(weight: Tensor) -> bool:
    """Whether each row is plus or minus one number above 0."""
    # Most networks end at the first row, before the whole weight was looked at.
    for rows in (weight[:1], weight):
        low, high = rows.abs().amin(dim=1), rows.abs().amax(dim=1)
        if not bool(((low > 0) & (high - low <= 1e-5 * high)).all()):
            return False
    return True


def _signs(x: Tensor) -> Tensor:
    return torch.where(x.flatten(1) >= 0, 1.0, -1.0)


def _norm(step: Step) -> Norm:
    if step.statistics is None:
        raise TypeError("a batch norm has statistics")
    mean, variance, eps = step.statistics
    return Norm(mean, variance, step.weight, step.bias, eps)


def _on_values(layer: SignedLayer) -> list[nn.Module]:
    """The first layer where it reads pixels as they are."""
    norm = () if layer.norm is None else (layer.norm.module(nn.BatchNorm1d),)
    return [nn.Flatten(), linear((layer.signs * layer.scale[:, None]).float(), layer.bias.float()), *norm]


def _sign_behind(module: nn.Module) -> Sign:
    """The sign of a sum of n signs, whose size is about the root of n; of what batch norm returns, that is 1."""
    return Sign(module.weight.shape[1] ** 0.5 if isinstance(module, BinaryLinear) else 1.0)
