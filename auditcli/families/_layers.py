"""A state dict as layers: grouping by name, natural order, and which norm belongs to which layer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditcli.types import Layer

if TYPE_CHECKING:
    from torch import Tensor

_STATISTICS = frozenset({"running_mean", "running_var", "num_batches_tracked"})


@dataclass(frozen=True, slots=True)
class Group:
    """The tensors of one layer: those that share a name up to its last dot."""

    name: str
    parts: Mapping[str, Tensor]

    @property
    def weight(self) -> Tensor:
        """The tensor called `weight`."""
        return self.parts["weight"]

    @property
    def bias(self) -> Tensor | None:
        """The tensor called `bias`, where there is one."""
        return self.parts.get("bias")

    @property
    def width(self) -> int:
        """Output features of a linear layer, channels of a convolution, features of a batch norm."""
        return len(self.parts["running_mean"] if self.kind == "batch norm" else self.weight)

    @property
    def kind(self) -> str:
        """`linear`, `convolution`, `batch norm`, `norm` or `other`."""
        names = set(self.parts)
        trained = {name: part for name, part in self.parts.items() if name != "num_batches_tracked"}
        shapes = {tuple(part.shape) for part in trained.values()}
        if not trained or not all(part.is_floating_point() and part.numel() for part in trained.values()):
            return "other"
        if {"running_mean", "running_var"} <= names <= _STATISTICS | {"weight", "bias"}:
            return "batch norm" if len(shapes) == 1 and len(next(iter(shapes))) == 1 else "other"
        weight, bias = self.parts.get("weight"), self.parts.get("bias")
        if weight is None or not names <= {"weight", "bias"} or (bias is not None and bias.ndim != 1):
            return "other"
        # A linear layer with a bias of another length is a transposed one, which is told apart later.
        if bias is not None and weight.ndim != 2 and bias.shape != weight.shape[:1]:
            return "other"
        return {1: "norm", 2: "linear", 4: "convolution"}.get(weight.ndim, "other")


def groups(tensors: Mapping[str, Tensor]) -> tuple[Group, ...]:
    """Layers of a state dict in natural order of their names (`fc2` before `fc10`)."""
    by_name: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        by_name.setdefault(layer, {})[part] = tensor
    return tuple(Group(name, by_name[name]) for name in sorted(by_name, key=natural))


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that reads digits as numbers."""
    pieces = re.split(r"(\d+)", name)
    return tuple((1, int(piece), "") if piece.isdecimal() else (0, 0, piece) for piece in pieces)


def table(tensors: Mapping[str, Tensor]) -> tuple[Layer, ...]:
    """The layer table of a state dict."""
    rows = []
    for group in groups(tensors):
        trained = {name: part for name, part in group.parts.items() if name not in _STATISTICS}
        largest = max(group.parts.values(), key=lambda part: (part.ndim, part.numel()))
        kind = {"norm": "layer norm"}.get(group.kind, group.kind)
        shape = tuple((trained.get("weight", largest)).shape)
        count = sum(part.numel() for part in trained.values())
        rows.append(Layer(name=group.name or ", ".join(group.parts), kind=kind, shape=shape, parameters=count))
    return tuple(rows)


def parameters(tensors: Mapping[str, Tensor]) -> int:
    """Trained numbers: running statistics are not counted."""
    return sum(tensor.numel() for name, tensor in tensors.items() if name.rpartition(".")[2] not in _STATISTICS)


def attach_norms(layers: Sequence[Group], norms: Sequence[Group]) -> dict[str, Group] | None:
    """Which norm follows which layer, by layer name; None where names and widths leave it open.

    Layers that share a parent with their norms say it by position (`net.0` is followed by `net.1`). Others say it by
    the number at the end of the name (`bn2` follows `fc2`), or by the only order-preserving choice with fitting widths.
    """
    parents = {parent(layer) for layer in layers}
    shared = bool(norms) and any(parent(norm) in parents and position(norm) is not None for norm in norms)
    for rule in (_by_position,) if shared else (_by_position, _by_number, _by_width):
        attached = rule(layers, norms)
        if attached is not None and all(
            norm.width == layer.width for layer in layers if (norm := attached.get(layer.name))
        ):
            return attached
    return None


def parent(group: Group) -> str:
    """Name of the module that holds the layer; empty for the outermost."""
    return group.name.rpartition(".")[0]


def position(group: Group) -> int | None:
    """Index of the layer in the nn.Sequential or nn.ModuleList that holds it; None where it is an attribute."""
    last = group.name.rpartition(".")[2]
    return int(last) if last.isdecimal() and len(last) < 6 else None


def _by_position(layers: Sequence[Group], norms: Sequence[Group]) -> dict[str, Group] | None:
    attached: dict[str, Group] = {}
    for norm in norms:
        place = position(norm)
        siblings = [layer for layer in layers if parent(layer) == parent(norm)]
        if place is not None:
            siblings = [layer for layer in siblings if (before := position(layer)) is not None and before < place]
        elif len(siblings) != 1:
            return None
        if not siblings or siblings[-1].name in attached:
            return None
        attached[siblings[-1].name] = norm
    return attached


def _by_number(layers: Sequence[Group], norms: Sequence[Group]) -> dict[str, Group] | None:
    def last_number(group: Group) -> str | None:
        numbers = re.findall(r"\d+", group.name)
        return numbers[-1] if numbers else None

    by_number = {last_number(layer): layer.name for layer in layers}
    wanted = [last_number(norm) for norm in norms]
    if None in wanted or len(by_number) < len(layers) or len(set(wanted)) < len(wanted):
        return None
    if not set(wanted) <= by_number.keys():
        return None
    return {by_number[number]: norm for number, norm in zip(wanted, norms, strict=True)}


def _by_width(layers: Sequence[Group], norms: Sequence[Group]) -> dict[str, Group] | None:
    choices = _embeddings([layer.width for layer in layers], [norm.width for norm in norms])
    if len(choices) != 1:
        return None
    return {layers[index].name: norm for index, norm in zip(choices[0], norms, strict=True)}


def _embeddings(widths: Sequence[int], wanted: Sequence[int], start: int = 0) -> list[tuple[int, ...]]:
    """At most two increasing index lists that pick `wanted` out of `widths`: two are enough to know it is open."""
    if not wanted:
        return [()]
    found: list[tuple[int, ...]] = []
    for index in range(start, len(widths) - len(wanted) + 1):
        if widths[index] == wanted[0]:
            found += [(index, *rest) for rest in _embeddings(widths, wanted[1:], index + 1)]
        if len(found) > 1:
            return found[:2]
    return found
