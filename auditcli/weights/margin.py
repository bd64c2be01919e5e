"""Gradients at the layers of a dense network, by one explicit backward pass that can itself be differentiated.

Public names: `Sides`, `Pass`, `backward`, `margin_pull`, `margin_gradients`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
class Pass:
    """What one pass forward and one back leave at every linear layer."""

    inputs: tuple[Tensor, ...]
    """(n, in) of each layer but the first."""
    outputs: tuple[Tensor, ...]
    """(n, out) of each layer, before the activation; the last are the logits."""
    gradients: tuple[Tensor, ...]
    """(n, out) of what is differentiated, with respect to these outputs."""


def margin_gradients(dense: DenseStack, first: Tensor, sides: Sides, *, sharpness: float) -> Tensor:
    """Gradient of each input's margin with respect to the output of the first linear layer.

    The margin is `+-f(x)` for a single logit. For several, it is `f_y - sum_{j != y} q_j f_j` with `q` the softmax over
    the wrong classes: the direction in which cross-entropy pulls, up to a positive factor, which the multiplier of the
    KKT condition takes up. Buzaglo et al. 2023 (arXiv:2307.01827) take the largest wrong logit, which q tends to.

    A ReLU's step is replaced by `sigmoid(sharpness z / rms(z))` in the backward pass alone, as Haim et al. 2022
    (arXiv:2206.07758) do, so that the result can be differentiated; they do not divide by the root mean square of z.

    Args:
        dense: The network.
        first: (n, h) output of the first linear layer, before the activation.
        sides: Class of each input.
        sharpness: Of the smoothed step; at infinity the true gradient.

    Returns:
        (n, h).
    """
    return backward(dense, first, partial(margin_pull, sides=sides), sharpness=sharpness).gradients[0]


def backward(dense: DenseStack, first: Tensor, pull: Callable[[Tensor], Tensor], *, sharpness: float) -> Pass:
    """One pass forward from the output of the first linear layer, and one back to it.

    Args:
        dense: The network.
        first: (n, h) output of the first linear layer, before the activation.
        pull: Logits (n, outputs) to the gradient at the logits of what is differentiated.
        sharpness: Of the smoothed step of a ReLU, see `margin_gradients`.
    """
    inputs: list[Tensor] = []
    outputs = [first]
    for weight, bias in zip(dense.weights[1:], dense.biases[1:], strict=True):
        inputs.append(_activate(dense.activation, outputs[-1]))
        outputs.append(nn.functional.linear(inputs[-1], weight, bias))
    gradients = [pull(outputs[-1])]
    for weight, z in zip(reversed(dense.weights[1:]), reversed(outputs[:-1]), strict=True):
        gradients.append((gradients[-1] @ weight) * _slope(dense.activation, z, sharpness))
    return Pass(tuple(inputs), tuple(outputs), tuple(reversed(gradients)))


def margin_pull(logits: Tensor, sides: Sides) -> Tensor:
    """Gradient of the margin at the logits (n, outputs), see `margin_gradients`."""
    labels = sides.labels.to(logits.device)
    if logits.shape[1] == 1:
        return (2.0 * labels[:, None] - 1).to(logits.dtype)
    own = nn.functional.one_hot(labels, logits.shape[1]).bool()
    return own.to(logits.dtype) - logits.masked_fill(own, -torch.inf).softmax(dim=1)


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
        return nn.functional.leaky_relu(z, leak)
    activated: Tensor = _FUNCTIONS[activation](z)
    return activated


def _slope(activation: str, z: Tensor, sharpness: float) -> Tensor:
    leak = _leak(activation)
    if leak is not None:
        scale = z.detach().square().mean().sqrt().clamp_min(torch.finfo(z.dtype).tiny)
        return leak + (1 - leak) * torch.sigmoid(z * (sharpness / scale))
    if activation == "identity":
        return torch.ones_like(z)
    with torch.enable_grad():
        point = z if z.requires_grad else z.detach().requires_grad_()
        (slope,) = torch.autograd.grad(_FUNCTIONS[activation](point).sum(), point, create_graph=z.requires_grad)
    return slope
