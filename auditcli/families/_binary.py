"""Binarised layers as modules, and what they are in integers.

Public names: `Sign`, `BinaryLinear`, `BinaryScores`, `signs`, `integers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from auditcli.types import BinarisedStack

if TYPE_CHECKING:
    from torch import Tensor


def signs(x: Tensor, width: float = 1.0) -> Tensor:
    """1 where x is at least 0, else -1; backwards the straight-through estimate: that of x within `width`, else 0.

    The sign of 0 is 1, as in most binarised networks; `torch.sign` has 0 there.
    """
    passed = (x / width).clamp(-1, 1)
    # The difference is 0 to the last bit, and carries the derivative.
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype) + (passed - passed.detach())


class Sign(nn.Module):
    """`signs` as an activation."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, in {-1, 1}."""
        return signs(x, self.width)


class BinaryLinear(nn.Module):
    """The signs of its weights times what it reads, and a bias: minus the threshold of each neuron."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.float())
        self.bias = nn.Parameter(bias.float())

    def forward(self, x: Tensor) -> Tensor:
        """(n, in) -> (n, out)."""
        return functional.linear(x, signs(self.weight), self.bias)


class BinaryScores(nn.Module):
    """The last layer: the signs of its weights times what it reads, scaled and shifted to logits."""

    def __init__(self, weight: Tensor, scale: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.float())
        self.scale = nn.Parameter(scale.float())
        self.offset = nn.Parameter(offset.float())

    def forward(self, x: Tensor) -> Tensor:
        """(n, in) -> (n, outputs)."""
        return functional.linear(x, signs(self.weight)) * self.scale + self.offset


def integers(net: nn.Module) -> BinarisedStack | None:
    """What the binarised layers of a network are in integers; None where the first reads no signs.

    Args:
        net: Made of a `Sign` on the pixels, `BinaryLinear` and `Sign` in turn, and `BinaryScores`; or of other modules.
    """
    leaves = [module for module in net.modules() if not any(module.children()) and not isinstance(module, nn.Flatten)]
    last = leaves[-1]
    if not isinstance(leaves[0], Sign) or not isinstance(last, BinaryScores):
        return None
    layers = [layer for layer in leaves if isinstance(layer, BinaryLinear)]
    turned = torch.where(last.scale.detach() < 0, -1, 1)
    return BinarisedStack(
        weights=(*(_integers(layer.weight) for layer in layers), _integers(last.weight, turned[:, None])),
        # A sum of signs is at least -bias where it is at least the next whole number.
        thresholds=tuple((-layer.bias.detach().cpu()).ceil().long() for layer in layers),
        scales=last.scale.detach().abs().cpu(),
        offsets=last.offset.detach().cpu().clone(),
    )


def _integers(weight: Tensor, turned: Tensor | int = 1) -> Tensor:
    return (torch.where(weight.detach() >= 0, 1, -1) * turned).to("cpu", torch.int8)
