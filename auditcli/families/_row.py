"""A state dict as a row of layers: their order, their norms, and what the names say of the rest (`row`).

An nn.Sequential numbers its modules, and those without parameters leave holes: `0.weight`, `3.weight` are two layers
with two modules between them, which can only be such as activation, pooling or dropout.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditcli.families._layers import Group, attach_norms, parent, position
from auditcli.families._order import ordered, reads
from auditcli.families._template import Mismatch

if TYPE_CHECKING:
    from auditcli.families._dossier import Dossier

ARCH = "--arch module:callable"
_ON_INPUT = re.compile(
    r"(?:^|[._])(?:(?:in|input|data|pre)_?(?:bn|norm|batch_?norm)|(?:bn|norm)_?(?:in|input|data|0))$"
)
_OTHER_ROLE = re.compile(
    r"(?:^|[._])(?:dec|decoder|decode|deconv|recon|reconstruction|generator|upsample|up)\d*(?=[._]|$)"
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A linear layer or convolution, and what follows it until the next."""

    layer: Group
    norm: Group | None = None
    place: str | None = None
    """Where the names put the norm: `before` the activation, `after` it, or `last`, behind two modules or more."""
    room: int | None = None
    """Modules without parameters until the next layer, where the names show it; flattening is not counted."""
    pools: int | None = None
    """How many of them can be pooling, with one an activation."""

    @property
    def active(self) -> bool:
        """Whether an activation can follow: not where the next layer follows at once."""
        return self.room != 0


@dataclass(frozen=True, slots=True)
class Row:
    """Layers in the order in which they are run."""

    stages: tuple[Stage, ...]
    first: Group | None = None
    """A norm on the input."""


def row(dossier: Dossier, layers: Sequence[Group]) -> Row | Mismatch:
    """The linear layers and convolutions of a state dict in a row, with their norms.

    Args:
        dossier: Takes what is stated, and notes what is assumed.
        layers: All of kind `linear`, `convolution`, `batch norm` and `norm`.

    Returns:
        The row, or why the layers make none.

    Raises:
        OpenQuestion: more than one order fits, or it is open which layers the norms follow.
    """
    if (other := next((layer.name for layer in layers if _OTHER_ROLE.search(layer.name)), None)) is not None:
        return Mismatch(f"{other} is named like a part that makes images, not classes", 0.9)
    sequentials = _sequentials(layers)
    bodies = [layer for layer in layers if layer.kind in {"linear", "convolution"}]
    in_order = ordered(dossier, bodies, sequentials)
    if isinstance(in_order, Mismatch):
        return in_order
    norms = [layer for layer in layers if layer.kind in {"batch norm", "norm"}]
    first = next((norm for norm in norms if _on_input(norm, in_order[0], sequentials)), None)
    attached = attach_norms(in_order, [norm for norm in norms if norm is not first])
    if attached is None:
        raise dossier.open_question(
            f"it is open which of the {len(in_order)} layers the {len(norms)} norms follow",
            "name them alike (fc1, bn1), or export the model to ONNX",
        )
    following = [*in_order[1:], None]
    stages = tuple(
        _stage(layer, attached.get(layer.name), after, sequentials)
        for layer, after in zip(in_order, following, strict=True)
    )
    _say_how(dossier, stages, sequentials)
    return Row(stages, first)


def assume_dropout(dossier: Dossier, stages: Sequence[Stage], used: Sequence[int]) -> None:
    """List the modules without parameters that neither activation nor pooling explains."""
    left = [
        (stage.layer.name, stage.room - taken)
        for stage, taken in zip(stages, used, strict=True)
        if stage.room is not None and stage.room > taken
    ]
    if left and not dossier.described:
        where = ", ".join(name for name, _ in left[:4])
        count = "a module" if sum(more for _, more in left) == 1 else "modules"
        why = f"{count} without parameters behind {where} beside activation and pooling"
        dossier.assume("between layers", "dropout", why=why, flag=ARCH)


def _sequentials(layers: Sequence[Group]) -> frozenset[str]:
    """Modules whose numbered children leave holes: a list of layers would have none."""
    indices: dict[str, set[int]] = {}
    for layer in layers:
        parts = layer.name.split(".")
        for depth, part in enumerate(parts):
            if part.isdecimal():
                indices.setdefault(".".join(parts[:depth]), set()).add(int(part))
    return frozenset(name for name, found in indices.items() if len(found) <= max(found))


def _gap(before: Group, after: Group | None, sequentials: frozenset[str]) -> int | None:
    """Modules without parameters between two layers, where they stand in one nn.Sequential."""
    if after is None or parent(before) != parent(after) or parent(before) not in sequentials:
        return None
    start, end = position(before), position(after)
    return None if start is None or end is None or end <= start else end - start - 1


def _stage(layer: Group, norm: Group | None, after: Group | None, sequentials: frozenset[str]) -> Stage:
    flatten = int(after is not None and layer.kind == "convolution" and after.kind == "linear")
    if norm is None:
        room = _gap(layer, after, sequentials)
        room = None if room is None else max(0, room - flatten)
        return Stage(layer, room=room, pools=None if room is None else max(0, room - 1))
    to_norm, behind = _gap(layer, norm, sequentials), _gap(norm, after, sequentials)
    place = None if to_norm is None else ("before", "after", "last")[min(to_norm, 2)]
    if to_norm is None or behind is None:
        return Stage(layer, norm, place)
    room = max(0, to_norm + behind - flatten)
    return Stage(layer, norm, place, room, max(0, room - 1))


def _on_input(norm: Group, first: Group, sequentials: frozenset[str]) -> bool:
    if norm.kind != "batch norm" or norm.width != reads(first):
        return False
    if parent(norm) == parent(first) and parent(first) in sequentials:
        before, after = position(norm), position(first)
        return before is not None and after is not None and before < after
    return bool(_ON_INPUT.search(norm.name))


def _say_how(dossier: Dossier, stages: Sequence[Stage], sequentials: frozenset[str]) -> None:
    """Note that names prove a row, or list it as an assumption."""
    homes = [parent(stage.layer) for stage in stages]
    loose = [home for home in homes if home not in sequentials]
    if len(stages) == 1 or (len(loose) <= 1 and len(set(homes)) <= 2):
        if len(stages) > 1:
            dossier.note("layers in a row: numbered as in nn.Sequential, with holes where modules have no parameters")
        return
    if dossier.described:
        return
    widths = [reads(stages[0].layer), *(stage.layer.width for stage in stages)]
    repeated = next((width for width in widths if widths.count(width) > 1), None)
    shortcuts = (
        f"widths that repeat ({repeated}) would allow a shortcut, and layers that are unused or used twice"
        if repeated is not None
        else "no width repeats, as a shortcut would need"
    )
    dossier.assume("graph", "layers in a row", why=f"a state dict holds no graph; {shortcuts}", flag=ARCH)
