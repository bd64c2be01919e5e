"""Names of tensors: without the prefix of an outer module (`unwrapped`), in the words of a publication (`renamed`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_COUNTER = "num_batches_tracked"
_DEEPEST = 8
"""Outer modules that are taken off at most."""

Rename = tuple[str, str]
"""A regular expression that is searched for once in a name, and what stands in its place."""


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A state dict without the prefix of the modules around the network (`module.`, `model.`, `backbone.`, ...)."""

    state: Mapping[str, Tensor]
    prefix: str
    outside: tuple[str, ...]
    """Names that did not carry the prefix, as they are in `state`."""


def unwrapped(tensors: Mapping[str, Tensor], anchors: Sequence[str]) -> Unwrapped | None:
    """The state dict as the network would have saved it alone; counters of batch norm are left out.

    Args:
        tensors: By name, as in the file.
        anchors: Names of which every network of the kind has one; the shortest prefix before one is taken off.

    Returns:
        None where no anchor is there, or two names become one.
    """
    before = [
        name.removesuffix(anchor)
        for anchor in anchors
        for name in tensors
        if name == anchor or name.endswith("." + anchor)
    ]
    if not before:
        return None
    prefix = min(before, key=len)
    counted = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] != _COUNTER}
    state = {name.removeprefix(prefix): tensor for name, tensor in counted.items()}
    if len(state) < len(counted):
        return None
    return Unwrapped(state, prefix, tuple(name for name in counted if not name.startswith(prefix)))


def readings(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The state dict as it is, then without each prefix that all names share; counters are left out."""
    state = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] != _COUNTER}
    yield state
    for _ in range(_DEEPEST):
        heads = {name.partition(".")[0] if "." in name else "" for name in state}
        if len(heads) != 1 or heads == {""}:
            return
        state = {name.partition(".")[2]: tensor for name, tensor in state.items()}
        yield state


def renamed(state: Mapping[str, Tensor], renames: Sequence[Rename]) -> dict[str, Tensor] | None:
    """The state dict in the names of the publication; None where two names become one."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for pattern, replacement in renames:
            new, count = re.subn(pattern, replacement, name, count=1)
            if count:
                name = new
        if name in found:
            return None
        found[name] = tensor
    return found
