"""A traced network as a chain of linear layers, where it is one or ends in one.

Public names: `dense_chain`, `last_chains`, `difference`, `disagreement`, `probes`.

The activation is told by what it did to the numbers: the one function of those known that turns what each layer
returned into what the next one read. So it does not matter how the network spells it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from auditcli.families._activations import KNOWN, activation
from auditcli.families._dense import Dense, DenseChain, Norm, head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from auditcli.families._trace import Step, Trace

TOLERANCE = 1e-4
"""Largest difference of a chain from its network, relative to the largest output (at least 1)."""
_RELATIVE, _ABSOLUTE = 1e-5, 2e-6
"""Largest difference of an activation from what the network computed: rounding, and less than between any two known."""


def dense_chain(trace: Trace, pixels: Tensor) -> DenseChain | None:
    """The chain that a trace shows, or None where the network is something else.

    Args:
        trace: Of a network on several images of different contrast, so that activations can be told apart.
        pixels: (n, d) what the first layer should have read: normalised images, flattened in c, h, w order.
    """
    layers = _layers(trace.steps)
    if layers is None or not _equal(layers[0][0].read.flatten(1), pixels):
        return None
    chains = _connected(layers)
    return chains[0] if len(chains) == 1 else None


def last_chains(trace: Trace) -> list[DenseChain]:
    """The longest chain of linear layers that a trace ends in, on one vector an image.

    Returns:
        One chain for each activation that explains the numbers; none where the last layer is of another kind.
    """
    layers = _last_layers(trace)
    for begin in range(len(layers)):
        if chains := _connected(layers[begin:]):
            return chains
    return []


def probes(input_shape: tuple[int, int, int], seed: int) -> Tensor:
    """Random normalised images (8, c, h, w) of contrasts so different that known activations can be told apart."""
    contrast = torch.tensor([0.1, 0.3, 1.0, 1.0, 3.0, 3.0, 10.0, 100.0]).view(-1, 1, 1, 1)
    return contrast * torch.randn(8, *input_shape, generator=torch.Generator().manual_seed(seed))


def difference(chain: DenseChain, net: nn.Module, images: Tensor) -> float:
    """Largest difference of the chain's outputs from the network's, relative to the largest output (at least 1)."""
    with torch.no_grad():
        return disagreement(head(chain).eval()(images.flatten(1)), net(images))


def disagreement(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference of some outputs from others, relative to the largest of those (at least 1)."""
    if ours.shape != theirs.shape:
        return torch.inf
    return float(((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1)).item())


def _layers(steps: Sequence[Step]) -> list[tuple[Step, Step | None]] | None:
    """Linear layers over whole images, each with the batch norm behind it, if any."""
    layers: list[tuple[Step, Step | None]] = []
    for step in steps:
        if step.kind == "linear" and step.whole:
            layers.append((step, None))
        elif step.kind == "batch norm" and layers and layers[-1][1] is None:
            layers[-1] = (layers[-1][0], step)
        else:
            return None
    return layers or None


def _last_layers(trace: Trace) -> list[tuple[Step, Step | None]]:
    """Linear layers at the end that read one vector an image, each with the batch norm behind it, if any."""
    layers: list[tuple[Step, Step | None]] = []
    norm: Step | None = None
    for step in reversed(trace.steps):
        if step.kind == "batch norm" and norm is None:
            norm = step
        elif step.kind == "linear" and step.read.shape == (len(trace.output), step.weight.shape[1]):
            layers.insert(0, (step, norm))
            norm = None
        else:
            break
    return layers


def _connected(layers: Sequence[tuple[Step, Step | None]]) -> list[DenseChain]:
    """The layers as a chain, once for each activation that leads from every one to the next."""
    pairs = [_between(before, norm, after) for (before, norm), (after, _) in pairwise(layers)]
    common = set.intersection(*pairs) if pairs else {("identity", False)}
    norm_after = all(after for _, after in common)
    dense = tuple(Dense(step.weight, step.bias, _norm(norm)) for step, norm in layers)
    return [DenseChain(dense, name, norm_after=norm_after) for name in sorted({name for name, _ in common})]


def _between(before: Step, norm: Step | None, after: Step) -> set[tuple[str, bool]]:
    """Activations, and whether batch norm follows them, that lead from one layer to the next."""
    start, end = before.returned, after.read
    if norm is None:
        return {(name, order) for name in _leading(start, end) for order in (False, True)}
    found = {(name, False) for name in _leading(norm.returned, end)} if _equal(norm.read, start) else set()
    return found | ({(name, True) for name in _leading(start, norm.read)} if _equal(norm.returned, end) else set())


def _leading(start: Tensor, end: Tensor) -> list[str]:
    """The known activations, with a slope of any size, that make one tensor of the other."""
    start, end = start.flatten(1), end.flatten(1)
    if start.shape != end.shape:
        return []
    found = [name for name in KNOWN if _equal(activation(name)(start), end)]
    below = start < 0
    if not found and bool(below.any()):
        slope = float(f"{(end[below] / start[below]).median().item():.6g}")
        if 0 < slope < 1 and _equal(torch.where(below, slope * start, start), end):
            return [f"leaky_relu({slope:g})"]
    return found


def _equal(one: Tensor, other: Tensor) -> bool:
    one, other = one.flatten(1), other.flatten(1)
    if one.shape != other.shape:
        return False
    return bool(((one - other).abs() <= _RELATIVE * (one.abs() + other.abs()) + _ABSOLUTE).all())


def _norm(step: Step | None) -> Norm | None:
    if step is None or step.statistics is None:
        return None
    mean, variance, eps = step.statistics
    return Norm(mean, variance, step.weight, step.bias, eps)
