"""The activations a description may name: `activation`, `KNOWN`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from torch import nn

from auditcli.errors import UnknownModel

if TYPE_CHECKING:
    from torch import Tensor


class HardSwish(nn.Module):
    """Hardswish whose second derivative exists: torch's own has none."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x * (x / 6 + 0.5).clamp(0, 1)


KNOWN: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {
        "identity": nn.Identity,
        "relu": nn.ReLU,
        "leaky_relu": nn.LeakyReLU,
        "relu6": nn.ReLU6,
        "gelu": nn.GELU,
        "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
        "silu": nn.SiLU,
        "mish": nn.Mish,
        "hardswish": HardSwish,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "elu": nn.ELU,
        "selu": nn.SELU,
        "softplus": nn.Softplus,
    }
)
_PIECEWISE_LINEAR_THROUGH_ZERO = ("identity", "relu", "leaky_relu")


def activation(name: str) -> nn.Module:
    """The activation of that name; `leaky_relu(0.2)` names a slope other than 0.01.

    Raises:
        UnknownModel: no such activation.
    """
    if name in KNOWN:
        return KNOWN[name]()
    if slope := re.fullmatch(r"leaky_relu\((\d*\.?\d+(?:e-?\d+)?)\)", name):
        return nn.LeakyReLU(float(slope[1]))
    raise UnknownModel(
        f"{name[:40]!r} is no known activation", hint=f"--assume activation=NAME, one of {', '.join(KNOWN)}"
    )


def is_homogeneous(name: str) -> bool:
    """Whether scaling the input by a positive number scales the output by it."""
    return name.split("(")[0] in _PIECEWISE_LINEAR_THROUGH_ZERO
