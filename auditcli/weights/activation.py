"""Activations of a dense network, their steps, and what it takes to go back through both by hand.

The step of a rectifier is smoothed in the backward pass alone, as Haim et al. 2022 (arXiv:2206.07758) do. Public names:
`activate`, `smooth_step`, `bend`, `back_through`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

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


def _leak(activation: str) -> float | None:
    """Slope below zero of a rectifier, or None for any other activation."""
    if activation == "relu":
        return 0.0
    if activation.startswith("leaky_relu"):
        slope = re.search(r"\((.+)\)", activation)
        return float(slope[1]) if slope else 0.01
    return None


def activate(activation: str, z: Tensor) -> Tensor:
    """The activation of z."""
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


def smooth_step(activation: str, z: Tensor, sharpness: float) -> Tensor:
    """The step of the activation, smoothed where it is a rectifier's."""
    leak = _leak(activation)
    if leak is not None:
        smooth = (z * _rate(z, sharpness)).sigmoid_()
        return leak + (1 - leak) * smooth if leak else smooth
    if activation == "identity":
        return torch.ones_like(z)
    with torch.enable_grad():
        point = z if z.requires_grad else z.detach().requires_grad_()
        (found,) = torch.autograd.grad(_FUNCTIONS[activation](point).sum(), point, create_graph=z.requires_grad)
    return found


def bend(activation: str, z: Tensor, smoothed: Tensor, sharpness: float, adjoint: Tensor) -> Tensor:
    """`adjoint` times the derivative of `smooth_step`, whose value is `smoothed`."""
    leak = _leak(activation)
    if leak is not None:
        smooth = (smoothed - leak) / (1 - leak) if leak else smoothed
        bent: Tensor = torch.ops.aten.sigmoid_backward(adjoint, smooth)
        return bent.mul_((1 - leak) * _rate(z, sharpness))
    if activation == "identity":
        return torch.zeros_like(z)
    with torch.enable_grad():
        point = z.detach().requires_grad_()
        (second,) = torch.autograd.grad(
            smooth_step(activation, point, sharpness), point, adjoint, allow_unused=True, materialize_grads=True
        )
    return second


def back_through(activation: str, z: Tensor, adjoint: Tensor) -> Tensor:
    """`adjoint` times the true step of the activation."""
    leak = _leak(activation)
    if leak is not None:
        stepped: Tensor = torch.ops.aten.leaky_relu_backward(adjoint, z, leak, False)
        return stepped
    return adjoint * smooth_step(activation, z, 0.0)
