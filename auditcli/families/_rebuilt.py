"""A target with another network of the same architecture in it: `rebuilt`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from auditcli.families._binary import integers
from auditcli.families._chain import TOLERANCE, probes
from auditcli.families._dense import Dense, DenseChain, Norm, head
from auditcli.families._detached import detached
from auditcli.families._pixels import FromPixels
from auditcli.families._trace import Step, noise, trace

if TYPE_CHECKING:
    from torch import nn

    from auditcli.types import BinarisedStack, DenseStack, Head, Profile, Target


def rebuilt(target: Target, net: nn.Module) -> Target:
    """The target with other weights: same architecture, same profile, and the dense stack of the new network.

    Args:
        target: What `build` returned, or made in the same way.
        net: A network that differs from `target.module` in its weights alone. It is put in eval mode and frozen; the
            dense stack shares its weights where no batch norm is folded.

    Returns:
        A target around `net`.

    Raises:
        ValueError: the target is dense or has a head, and `net` does not compute what its linear layers do; or it is
            binarised, and `net` is not.
    """
    module = net.eval().requires_grad_(False)
    dense = None if target.dense is None else _stack(target.dense, target.profile, module)
    head = None if target.head is None else _head(target.profile, module)
    binarised = None if target.binarised is None else _integers(module)
    return replace(target, module=module, dense=dense, head=head, span=None, base=None, binarised=binarised)


def _integers(module: nn.Module) -> BinarisedStack:
    found = integers(module.net) if isinstance(module, FromPixels) else None
    if found is None:
        raise ValueError("the network is not binarised as the target is")
    return found


def _head(profile: Profile, module: nn.Module) -> Head:
    """The new network cut where the old one was."""
    if not isinstance(module, FromPixels):
        raise ValueError("a network with a head is one that reads pixels")
    device = next(module.parameters()).device
    cut = detached(module, trace(module.net, noise(profile.input_shape).to(device)))
    if cut is None:
        raise ValueError("the network does not end in the linear layers that the target ends in")
    return cut


def _stack(old: DenseStack, profile: Profile, module: nn.Module) -> DenseStack:
    """Linear layers read off a run, batch norm folded; the activation is the one they had."""
    device = old.weights[0].device
    normalised = probes(profile.input_shape, 0).to(device)
    mean, std = (
        torch.tensor(values, device=device).view(1, -1, 1, 1)
        for values in (profile.normalisation.mean, profile.normalisation.std)
    )
    seen = trace(module, normalised * std + mean)
    stack = _chain(seen.steps, old.activation).stack()
    if stack is None or [w.shape for w in stack.weights] != [w.shape for w in old.weights]:
        raise ValueError("the network has other linear layers than the target")
    plain = DenseChain(tuple(Dense(w, b) for w, b in zip(stack.weights, stack.biases, strict=True)), old.activation)
    with torch.no_grad():
        ours = head(plain)(normalised.flatten(1))
    off = (ours - seen.output).abs().max() / seen.output.abs().max().clamp_min(1)
    # Not-a-number is no agreement either.
    if ours.shape != seen.output.shape or not off <= TOLERANCE:
        raise ValueError("the network does not compute what its linear layers do")
    return stack


def _chain(steps: tuple[Step, ...], activation: str) -> DenseChain:
    first: Norm | None = None
    layers: list[Dense] = []
    returned = torch.empty(0)
    for step in steps:
        if step.kind == "linear":
            layers.append(Dense(step.weight, step.bias))
            returned = step.returned
        elif step.kind == "batch norm" and step.statistics is not None:
            mean, variance, eps = step.statistics
            norm = Norm(mean, variance, step.weight, step.bias, eps)
            if layers:
                behind = not torch.equal(step.read.flatten(1), returned.flatten(1))
                layers[-1] = replace(layers[-1], norm=norm, norm_after=behind)
            else:
                first = norm
    return DenseChain(tuple(layers), activation, first=first)
