"""Gradients of the margin at the first layer, by one explicit backward pass, and the way back through that pass.

Public names: `Sides`, `Margins`, `margins`, `margin_gradients`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import DenseStack

_FUNCTIONS = {
    "identity": nn.Identity(),
    "relu6": nn.ReLU6(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU(approximate="tanh"),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "hardswish": nn.Hardswish(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "softplus": nn.Softplus(),
}


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

    gradients: Tensor
    """(n, h) gradient of each input's margin with respect to the output of the first linear layer."""
    _dense: DenseStack
    _sharpness: float
    _temperature: float
    _before: tuple[Tensor, ...]
    """Output of each linear layer but the last, before the activation, the first layer's first."""
    _slopes: tuple[Tensor, ...]
    """Smoothed step of the activation there."""
    _arriving: tuple[Tensor, ...]
    """Gradient of the margin behind the activation there."""
    _choice: Tensor | None
    """(n, classes) weights of the wrong classes in the margin, or None for a single logit."""

    def pull(self, adjoint: Tensor) -> Tensor:
        """What automatic differentiation of `gradients` would return, by hand.

        Args:
            adjoint: (n, h) derivative of something with respect to `gradients`.

        Returns:
            (n, h) its derivative with respect to the output of the first linear layer.
        """
        direct = []
        for z, slope, arriving, weight in zip(
            self._before, self._slopes, self._arriving, self._dense.weights[1:], strict=True
        ):
            direct.append(_bend(self._dense.activation, z, slope, self._sharpness, adjoint * arriving))
            adjoint = (adjoint * slope) @ weight.T
        back = _output_pull(self._choice, adjoint, self._temperature)
        for z, bent, weight in zip(
            reversed(self._before), reversed(direct), reversed(self._dense.weights), strict=False
        ):
            back = bent if back is None else bent.add_(_step(self._dense.activation, z, back @ weight))
        return torch.zeros_like(adjoint) if back is None else back


def margins(dense: DenseStack, first: Tensor, sides: Sides, *, sharpness: float, temperature: float = 1.0) -> Margins:
    """As `margin_gradients`, with the way back."""
    before = [first]
    for weight, bias in zip(dense.weights[1:], dense.biases[1:], strict=True):
        before.append(nn.functional.linear(_activate(dense.activation, before[-1]), weight, bias))
    gradient, choice = _output_gradient(before.pop(), sides, temperature)
    slopes: list[Tensor] = []
    arriving: list[Tensor] = []
    for weight, z in zip(reversed(dense.weights[1:]), reversed(before), strict=True):
        slopes.insert(0, _slope(dense.activation, z, sharpness))
        arriving.insert(0, gradient @ weight)
        gradient = arriving[0] * slopes[0]
    return Margins(gradient, dense, sharpness, temperature, tuple(before), tuple(slopes), tuple(arriving), choice)


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


def _output_gradient(logits: Tensor, sides: Sides, temperature: float) -> tuple[Tensor, Tensor | None]:
    """Gradient of the margin with respect to the logits, and the weights of the wrong classes in it."""
    labels = sides.labels.to(logits.device)
    if logits.shape[1] == 1:
        return (2.0 * labels[:, None] - 1).to(logits.dtype), None
    own = labels[:, None] == torch.arange(logits.shape[1], device=logits.device)
    wrong = logits.masked_fill(own, -torch.inf)
    if temperature == 0:
        choice = torch.zeros_like(logits).scatter(1, wrong.argmax(dim=1, keepdim=True), 1.0)
    else:
        choice = (wrong / temperature).softmax(dim=1)
    return own.to(logits.dtype) - choice, choice


def _output_pull(choice: Tensor | None, adjoint: Tensor, temperature: float) -> Tensor | None:
    """Back through `_output_gradient`; None where it does not depend on the logits."""
    if choice is None or temperature == 0:
        return None
    mean = (choice * adjoint).sum(dim=1, keepdim=True)
    return choice * (mean - adjoint) / temperature


def _leak(activation: str) -> float | None:
    """Slope below zero of a rectifier, or None for any other activation."""
    if activation == "relu":
        return 0.0
    if activation.startswith("leaky_relu"):
        slope = re.search(r"\((.+)\)", activation)
        return float(slope[1]) if slope else 0.01
    return None


def _activate(activation: str, z: Tensor) -> Tensor:
    leak = _leak(activation)
    if leak is not None:
        return nn.functional.leaky_relu(z, leak) if leak else z.relu()
    activated: Tensor = _FUNCTIONS[activation](z)
    return activated


def _rate(z: Tensor, sharpness: float) -> Tensor:
    """Steepness of the smoothed step, `sharpness / rms(z)`; a scalar held fixed."""
    rms = torch.linalg.vector_norm(z.detach()) / z.numel() ** 0.5
    rate: Tensor = sharpness / rms.clamp_min(torch.finfo(z.dtype).tiny)
    return rate


def _slope(activation: str, z: Tensor, sharpness: float) -> Tensor:
    """The step of the activation, smoothed where it is a rectifier's."""
    leak = _leak(activation)
    if leak is not None:
        smooth = (z * _rate(z, sharpness)).sigmoid_()
        return leak + (1 - leak) * smooth if leak else smooth
    if activation == "identity":
        return torch.ones_like(z)
    with torch.enable_grad():
        point = z if z.requires_grad else z.detach().requires_grad_()
        (slope,) = torch.autograd.grad(_FUNCTIONS[activation](point).sum(), point, create_graph=z.requires_grad)
    return slope


def _bend(activation: str, z: Tensor, slope: Tensor, sharpness: float, adjoint: Tensor) -> Tensor:
    """`adjoint` times the derivative of `_slope`."""
    leak = _leak(activation)
    if leak is not None:
        smooth = (slope - leak) / (1 - leak) if leak else slope
        bent: Tensor = torch.ops.aten.sigmoid_backward(adjoint, smooth)
        return bent.mul_((1 - leak) * _rate(z, sharpness))
    if activation == "identity":
        return torch.zeros_like(z)
    with torch.enable_grad():
        point = z.detach().requires_grad_()
        (second,) = torch.autograd.grad(
            _slope(activation, point, sharpness), point, adjoint, allow_unused=True, materialize_grads=True
        )
    return second


def _step(activation: str, z: Tensor, adjoint: Tensor) -> Tensor:
    """`adjoint` times the true step of the activation."""
    leak = _leak(activation)
    if leak is not None:
        stepped: Tensor = torch.ops.aten.leaky_relu_backward(adjoint, z, leak, False)
        return stepped
    return adjoint * _slope(activation, z, 0.0)
