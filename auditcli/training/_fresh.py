"""A network of the target's architecture with nothing learnt left in it: `fresh`, `trainable`."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import Target

_STATISTICS = ("running_mean", "running_var")


def fresh(target: Target, seed: int) -> nn.Module:
    """A copy of the target's network as it might have been before training.

    Layers of torch draw their weights anew by their own rule, and forget the statistics of batch norm. Weights that
    belong to no such layer (those of a converted graph, class tokens, tables of positions) get their own entries in a
    random order: that keeps the scale the network needs, and nothing of what it learnt. What holds one value
    throughout, or two of which neither is minus the other, is a constant of the architecture, such as a mask, and
    stays.

    Args:
        target: It stays as it is, and so does torch's own random state.
        seed: Of all draws, which are made on the CPU.

    Returns:
        On the target's device, in eval mode, with frozen parameters.
    """
    device = target.device
    net = copy.deepcopy(target.module).cpu().requires_grad_(False)
    drawn: set[int] = set()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in net.modules():
            reset = getattr(layer, "reset_parameters", None)
            if callable(reset):
                reset()
                drawn |= {id(parameter) for parameter in layer.parameters(recurse=False)}
        _forget_statistics(net)
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                if id(parameter) not in drawn and not _is_statistic(name) and not _is_constant(parameter):
                    order = torch.randperm(parameter.numel())
                    parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return net.eval().to(device)


def trainable(net: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that training may move: not those in which a converted graph keeps statistics of batch norm."""
    for name, parameter in net.named_parameters():
        if parameter.is_floating_point() and not _is_statistic(name):
            yield parameter


def _is_statistic(name: str) -> bool:
    return name.endswith(_STATISTICS)


def _is_constant(parameter: Tensor) -> bool:
    """Whether its entries are no weights: all one value, or two that are not plus and minus the same."""
    values = parameter.unique()
    if len(values) == 2:
        return bool(values.sum() != 0)
    return len(values) < 2 or not bool(values.isfinite().all())


def _forget_statistics(net: nn.Module) -> None:
    with torch.no_grad():
        for name, tensor in (*net.named_buffers(), *net.named_parameters()):
            if _is_statistic(name):
                tensor.fill_(float(name.endswith("running_var")))
