"""An executable model and the views of it that attacks and signals read: `Target` and its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from auditcli.types.profile import Profile


@dataclass(frozen=True, slots=True)
class DenseStack:
    """The linear layers of an MLP in its own input space: `z = W x + b`, one activation between layers.

    `weights[i]` is (out, in); `weights[0]` is (h, d) and reads the normalised image flattened in c, h, w order.
    Batch norm behind a linear layer is folded into it.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor | None, ...]
    activation: str


@dataclass(frozen=True, slots=True)
class BinarisedStack:
    """A binarised network in integers: its inputs, weights and hidden values are -1 or 1, and the sign of 0 is 1.

    A hidden value is 1 where `weights[i] @ values >= thresholds[i]`, else -1. Scales, biases and batch norm are in the
    thresholds; a neuron of negative scale has its weights turned round. The logits are `scales * (weights[-1] @ values)
    + offsets` in float32, one operation after the other.
    """

    weights: tuple[Tensor, ...]
    """(out, in) int8, in {-1, 1}; `weights[0]` reads the image flattened in c, h, w order."""
    thresholds: tuple[Tensor, ...]
    """(out,) int64, one for each layer but the last."""
    scales: Tensor
    """(outputs,) float32, at least 0."""
    offsets: Tensor
    """(outputs,) float32."""


@dataclass(frozen=True, slots=True)
class WeightSpan:
    """Right singular directions of `A = [W1 b1]` that stand above the noise of the initial weights."""

    basis: Tensor
    """(d + 1, r) orthonormal; the last row belongs to the bias, that is, to the constant input 1."""
    values: Tensor
    """(r,) singular values, falling."""
    image: Tensor
    """(h, r) `A @ basis`, which maps coordinates to what the layer returns."""
    written: Tensor
    """(h, r) what training wrote, in the basis: `image`, less that of a base model where one is known."""
    rank: int
    """Directions above the edge; `basis` may hold more where a caller asked for more."""
    edge: float
    """Largest singular value the initial weights explain."""

    def coordinates(self, inputs: Tensor) -> Tensor:
        """Coordinates (n, r) of `[x, 1]` in the basis, for flat inputs (n, d)."""
        return inputs @ self.basis[:-1] + self.basis[-1]

    def residual(self, inputs: Tensor) -> Tensor:
        """Share (n,) of `|[x, 1]|^2` that lies outside the span, in [0, 1], for flat inputs (n, d)."""
        total = inputs.square().sum(dim=1) + 1
        return (1 - self.coordinates(inputs).square().sum(dim=1) / total).clamp_min(0)  # rounding ends below 0


@dataclass(frozen=True, slots=True)
class Head:
    """The fully connected layers at the end of a network, and what they read."""

    features: Callable[[Tensor], Tensor]
    """Images (n, c, h, w) in [0, 1] -> (n, f), what the first of the layers reads."""
    dense: DenseStack
    """`weights[0]` is (h, f) and reads the features; the last returns the logits, before a softmax if there is one."""


@dataclass(frozen=True, slots=True)
class Target:
    """An executable model: `target(images)` maps float images (n, c, h, w) in [0, 1] to logits (n, outputs)."""

    module: nn.Module
    """In eval mode, parameters frozen, normalisation inside."""
    profile: Profile
    dense: DenseStack | None = None
    """Present exactly when `Trait.DENSE` is."""
    head: Head | None = None
    """Present exactly when `Trait.HEAD` is."""
    span: WeightSpan | None = None
    """Span of the first layer where a caller has it already; it must be that of `dense`. See `weights.span`."""
    base: Target | None = None
    """The public model that its training started from, where the auditor named one."""
    binarised: BinarisedStack | None = None
    """Present exactly when `Trait.BINARISED` is; on the CPU. A pixel of 0 reads as -1 there, and one of 1 as 1."""

    @property
    def device(self) -> torch.device:
        """Where its weights are; the CPU where it has none."""
        import torch  # not above: these types are also used where torch is not installed

        return next(self.module.parameters(), torch.empty(0)).device

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (n, outputs) of images (n, c, h, w) in [0, 1]."""
        logits: Tensor = self.module(images)
        return logits
