"""The loss of `kkt` and its gradients, forward and backward by hand. Public names: `Penalties`, `Problem`, `Slopes`.

Automatic differentiation of the same loss keeps a graph of every step and takes more than twice as long on a CPU; the
tests hold one against the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from auditcli.weights import Margins, Sides, flat_normalisation, margins

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import DenseStack, Target, WeightSpan


@dataclass(frozen=True, slots=True)
class Penalties:
    """Weights of the terms beside the first, see `kkt`."""

    span: float
    box: float
    multiplier: float
    least_multiplier: float


@dataclass(frozen=True, slots=True)
class Slopes:
    """One evaluation of the loss; r restarts of n candidates."""

    pixels: Tensor
    """(r, n, d) candidates within [0, 1]."""
    energy: Tensor
    """(r, k) squared residual of the layer in each direction of its span."""
    offset: Tensor
    """(r, n, d) derivative of the loss with respect to the offsets from the mean image."""
    multipliers: Tensor
    """(r, n) and with respect to the multipliers."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not change while an attack runs."""

    dense: DenseStack
    shape: tuple[int, int]
    """(r, n)."""
    sides: Sides
    """Of the candidates of all restarts, (r * n,)."""
    image: Tensor
    """(h, k) what training wrote into the layer, in its span, in units of its largest singular value."""
    values: Tensor
    """(k,) its singular values in these units."""
    gain: Tensor
    """(k, h) from coordinates in the span to the output of the layer."""
    basis: Tensor
    """(d, k) from offsets in pixels to coordinates."""
    constant: Tensor
    """(k,) coordinates of the mean image."""
    mean: Tensor
    """(d,) the mean image, which is the zero of the input space."""
    scale: Tensor
    """(d,) squared length of a pixel in the input space."""
    sharpness: float
    temperature: float

    @classmethod
    def of(
        cls, target: Target, weights: WeightSpan, sides: Sides, restarts: int, *, sharpness: float, temperature: float
    ) -> Problem:
        """The problem of a dense network.

        Args:
            target: The network; its images are the first layer's inputs.
            weights: Span of the first layer.
            sides: Of the n candidates of a restart.
            restarts: How many there are.
            sharpness: See `margin_gradients`.
            temperature: The same.
        """
        if target.dense is None:
            raise TypeError("a target with Trait.DENSE has no dense stack")
        labels = sides.labels.repeat(restarts).to(weights.basis.device)
        mean, std = flat_normalisation(target.profile, weights.basis)
        return cls(
            dense=target.dense,
            shape=(restarts, len(sides.labels)),
            sides=Sides(labels, sides.classes),
            image=weights.written / weights.values[0],
            values=weights.values / weights.values[0],
            gain=weights.image.T.contiguous(),
            basis=weights.basis[:-1] / std[:, None],
            constant=weights.basis[-1],
            mean=mean,
            scale=std.pow(-2),
            sharpness=sharpness,
            temperature=temperature,
        )

    def weight(self, exponent: float) -> Tensor:
        """(k,) weight of each direction: `S^-2p`, where the whole layer is 1."""
        weight = self.values.pow(-2 * exponent)
        return weight / (self.image.square().sum(dim=0) @ weight)

    def start(self, offset: Tensor) -> Tensor:
        """The multiplier at which candidates (r, n, d), together, are as large as the layer; (r, 1)."""
        coordinates, found = self._look(offset)
        together = found.gradients.unflatten(0, offset.shape[:2]).transpose(1, 2) @ coordinates
        size = together.flatten(1).norm(dim=1).clamp_min(torch.finfo(together.dtype).tiny)
        unit: Tensor = self.image.norm() / size
        return unit[:, None]

    def slopes(self, offset: Tensor, multipliers: Tensor, unit: Tensor, weight: Tensor, penalties: Penalties) -> Slopes:
        """The loss of `kkt` and its derivatives.

        Args:
            offset: (r, n, d) candidates less the mean image, in pixels.
            multipliers: (r, n), in units of `unit`.
            unit: (r, 1) see `start`.
            weight: (k,) of each direction in the first term, in its squares.
            penalties: Of the other terms.
        """
        shape = offset.shape[:2]
        coordinates, found = self._look(offset)
        gradients, lam = found.gradients.unflatten(0, shape), (multipliers * unit)[:, :, None]
        pulls = lam * gradients
        residual = torch.baddbmm(self.image.expand(len(offset), -1, -1), pulls.mT, coordinates, alpha=-1)
        slope = residual * (2 * weight)
        reached = coordinates @ slope.mT
        lam_slope = torch.linalg.vecdot(gradients, reached).mul_(-unit)
        back = found.pull(reached.mul_(-lam).flatten(0, 1)).unflatten(0, shape)
        coordinate_slope = torch.baddbmm(back @ self.gain.T, pulls, slope, alpha=-1)
        inside, radial = self._span(offset, coordinates, penalties.span)
        pixels = offset + self.mean
        clamped = pixels.clamp(0, 1)
        beyond = pixels.sub_(clamped).mul_(2 * penalties.box / shape[1]).addcmul_(radial, offset)
        offset_slope = (coordinate_slope.add_(inside) @ self.basis.T).addcmul_(beyond, self.scale)
        return Slopes(
            pixels=clamped,
            energy=residual.square().sum(dim=1),
            offset=offset_slope,
            multipliers=lam_slope.add_(_unused_slope(multipliers, penalties)),
        )

    def _look(self, offset: Tensor) -> tuple[Tensor, Margins]:
        coordinates = offset @ self.basis + self.constant
        first = coordinates.flatten(0, 1) @ self.gain
        return coordinates, margins(
            self.dense, first, self.sides, sharpness=self.sharpness, temperature=self.temperature
        )

    def _span(self, offset: Tensor, coordinates: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Derivatives of `weight * mean_i offspan(x_i)` by the coordinates (r, n, k), and along the offset (r, n, 1).

        The share is `1 - |c|^2 / (|x|^2 + 1)`; rounding may leave it below 0, where it is held.
        """
        total = (offset.square() @ self.scale).add_(1)[:, :, None]
        within = coordinates.square().sum(dim=2, keepdim=True)
        pull = (within < total) * (2 * weight / offset.shape[1]) / total
        return coordinates * -pull, pull * within / total


def _unused_slope(multipliers: Tensor, penalties: Penalties) -> Tensor:
    """Derivative of `multiplier * sum_i relu(least_multiplier - lambda_i / mean lambda)^2`, the mean held fixed."""
    mean = multipliers.mean(dim=1, keepdim=True).clamp_min(1e-6)
    return (penalties.least_multiplier - multipliers / mean).relu_().mul_(-2 * penalties.multiplier) / mean
