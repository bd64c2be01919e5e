"""Gradients of the margin at the first layer, by one explicit backward pass, and the way back through that pass.

Public names: `Sides`, `Margins`, `margins`, `margin_gradients`, `margin_pull`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from auditcli.weights.activation import back_through, bend
from auditcli.weights.backward import backward

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import DenseStack
    from auditcli.weights.backward import Pass


@dataclass(frozen=True, slots=True)
class Sides:
    """The side of the decision each candidate is on."""

    labels: Tensor
    """(n,) int64 class indices; 0 or 1 where the model has a single logit."""
    classes: int

    @classmethod
    def balanced(cls, n: int, classes: int) -> Sides:
        """As many candidates of each class as of any other, in turn."""
        return cls(torch.arange(n) % classes, classes)


@dataclass(frozen=True, slots=True)
class Margins:
    """Gradients of margins at the first layer, with what it takes to go back through them without a graph."""

    _dense: DenseStack
    _passed: Pass
    _choice: Tensor | None
    """(n, classes) weights of the wrong classes in the margin, or None for a single logit."""
    _sharpness: float
    _temperature: float

    @property
    def gradients(self) -> Tensor:
        """(n, h) gradient of each input's margin with respect to the output of the first linear layer."""
        return self._passed.gradients[0]

    def pull(self, adjoint: Tensor) -> Tensor:
        """What automatic differentiation of `gradients` would return, by hand.

        Args:
            adjoint: (n, h) derivative of something with respect to `gradients`.

        Returns:
            (n, h) its derivative with respect to the output of the first linear layer.
        """
        activation, passed = self._dense.activation, self._passed
        before, direct = passed.outputs[:-1], []
        for z, step, arriving, weight in zip(
            before, passed.steps, passed.arriving, self._dense.weights[1:], strict=True
        ):
            direct.append(bend(activation, z, step, self._sharpness, adjoint * arriving))
            adjoint = (adjoint * step) @ weight.T
        back = _choice_pull(self._choice, adjoint, self._temperature)
        for z, bent, weight in zip(reversed(before), reversed(direct), reversed(self._dense.weights), strict=False):
            back = bent if back is None else bent.add_(back_through(activation, z, back @ weight))
        return torch.zeros_like(adjoint) if back is None else back


def margins(dense: DenseStack, first: Tensor, sides: Sides, *, sharpness: float, temperature: float = 1.0) -> Margins:
    """As `margin_gradients`, with the way back."""
    passed = backward(
        dense, first, lambda logits: margin_pull(logits, sides, temperature=temperature), sharpness=sharpness
    )
    choice = _choice(passed.outputs[-1], sides, temperature)
    return Margins(dense, passed, choice, sharpness, temperature)


def margin_gradients(
    dense: DenseStack, first: Tensor, sides: Sides, *, sharpness: float, temperature: float = 1.0
) -> Tensor:
    """Gradient of each input's margin with respect to the output of the first linear layer; it can be differentiated.

    The margin is `+-f(x)` for a single logit. For several, it is `f_y - sum_{j != y} q_j f_j` with `q` the softmax of
    `f / temperature` over the wrong classes. At 1 that is the direction in which cross-entropy pulls, up to a positive
    factor, which the multiplier of the KKT condition takes up. Buzaglo et al. 2023 (arXiv:2307.01827) take the largest
    wrong logit, as we do at a temperature of 0.

    A ReLU's step is replaced by `sigmoid(sharpness z / rms(z))` in the backward pass alone, as Haim et al. 2022
    (arXiv:2206.07758) do, so that the result can be differentiated; they do not divide by the root mean square of z.

    Args:
        dense: The network.
        first: (n, h) output of the first linear layer, before the activation.
        sides: Class of each input.
        sharpness: Of the smoothed step; at infinity the true gradient.
        temperature: Of the softmax over the wrong classes; 0 takes the largest.

    Returns:
        (n, h).
    """
    return margins(dense, first, sides, sharpness=sharpness, temperature=temperature).gradients


def margin_pull(logits: Tensor, sides: Sides, *, temperature: float = 1.0) -> Tensor:
    """Gradient of the margin at the logits (n, outputs), see `margin_gradients`."""
    choice = _choice(logits, sides, temperature)
    if choice is None:
        return (2.0 * sides.labels.to(logits.device)[:, None] - 1).to(logits.dtype)
    return _own(logits, sides).to(logits.dtype) - choice


def _own(logits: Tensor, sides: Sides) -> Tensor:
    return sides.labels.to(logits.device)[:, None] == torch.arange(logits.shape[1], device=logits.device)


def _choice(logits: Tensor, sides: Sides, temperature: float) -> Tensor | None:
    """Weights of the wrong classes in the margin; None where there is a single logit."""
    if logits.shape[1] == 1:
        return None
    wrong = logits.masked_fill(_own(logits, sides), -torch.inf)
    if temperature == 0:
        return torch.zeros_like(logits).scatter(1, wrong.argmax(dim=1, keepdim=True), 1.0)
    return (wrong / temperature).softmax(dim=1)


def _choice_pull(choice: Tensor | None, adjoint: Tensor, temperature: float) -> Tensor | None:
    """Back through `margin_pull`; None where it does not depend on the logits."""
    if choice is None or temperature == 0:
        return None
    mean = (choice * adjoint).sum(dim=1, keepdim=True)
    return choice * (mean - adjoint) / temperature
