"""In which order the layers of a state dict are run: `ordered`; and what a layer reads: `reads`, `grouped`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from auditcli.families._layers import Group, parent
from auditcli.families._template import Mismatch

if TYPE_CHECKING:
    from auditcli.families._dossier import Dossier

_STEPS = 10_000
"""Of the search for an order; a state dict with more fitting beginnings is answered by its names."""


def reads(layer: Group) -> int:
    """Features or channels that one group of a layer reads."""
    return layer.weight.shape[1]


def grouped(before: int, layer: Group) -> int | None:
    """Groups with which a convolution reads `before` channels; None where no number does."""
    groups, rest = divmod(before, reads(layer))
    return None if rest or not groups or len(layer.weight) % groups else groups


def ordered(
    dossier: Dossier, layers: Sequence[Group], sequentials: frozenset[str] = frozenset()
) -> tuple[Group, ...] | Mismatch:
    """Convolutions, then linear layers, so that each reads what the one before returns.

    The order stated by `--assume order=...` wins, then that of the numbers in the names. Without numbers, that of the
    names where no other fits; else it is listed as an assumption, as is the only order that fits.

    Args:
        dossier: Takes what is stated, and notes what is assumed.
        layers: Linear layers and convolutions in the order of their names.
        sequentials: Names of each nn.Sequential, whose layers are run in the order of their numbers.

    Raises:
        OpenQuestion: more than one order fits, that of the names does not, and there are no numbers.
    """
    convs = [layer for layer in layers if layer.kind == "convolution"]
    linears = [layer for layer in layers if layer.kind == "linear"]
    if turned := [mismatch for layer in linears if (mismatch := _transposed(layer)) is not None]:
        return turned[0]
    if (order := dossier.stated("order")) is not None:
        by_name = {layer.name: layer for layer in layers}
        if sorted(order) == sorted(by_name):
            convs = [by_name[name] for name in order if by_name[name].kind == "convolution"]
        elif sorted(order) != sorted(layer.name for layer in linears):
            raise dossier.open_question(
                f"order names {', '.join(order)}; the layers are {', '.join(by_name)}",
                f"--assume order={'/'.join(by_name)}",
            )
        linears = [by_name[name] for name in order if by_name[name].kind == "linear"]
        if _fits(convs, _reads_channels) and _fits(linears, _reads_features):
            return (*convs, *linears)
        return _broken(linears, _reads_features) if _fits(convs, _reads_channels) else _broken(convs, _reads_channels)
    row: list[Group] = []
    for kind, follows in ((convs, _reads_channels), (linears, _reads_features)):
        homes = {parent(layer) for layer in kind}
        proven = len(homes) == 1 and homes <= sequentials and _fits(kind, follows)
        part = tuple(kind) if proven else _in_order(dossier, kind, follows)
        if isinstance(part, Mismatch):
            return part
        row += part
    return tuple(row)


Reads = Callable[[Group, Group], bool]
"""Whether the second layer can read what the first returns."""


def _reads_features(before: Group, after: Group) -> bool:
    return reads(after) == before.width


def _reads_channels(before: Group, after: Group) -> bool:
    return grouped(before.width, after) is not None


def _in_order(dossier: Dossier, layers: Sequence[Group], follows: Reads) -> tuple[Group, ...] | Mismatch:
    """Layers of one kind in the order of their names, or in the only other that fits."""
    fits, numbered = _fits(layers, follows), _numbered(layers)
    # Numbers give the order. Where it does not fit, another that does is no better: reversed, transposed weights fit.
    if numbered and not fits:
        return _broken(layers, follows)
    orders = _orders(layers, _exactly if layers and layers[0].kind == "convolution" else follows)
    if not orders and not fits:
        return _broken(layers, follows)
    if fits and (len(orders) <= 1):
        return tuple(layers)
    if len(orders) > 1 and not fits:
        raise dossier.open_question(
            "more than one order of the layers fits their shapes",
            " or ".join(f"--assume order={'/'.join(layer.name for layer in order)}" for order in orders),
            [{"order": "/".join(layer.name for layer in order)} for order in orders],
        )
    chosen = tuple(layers) if fits else orders[0]
    names = ["/".join(layer.name for layer in order) for order in (chosen, *orders)]
    why = (
        "the order of the numbers in the names; shapes allow others"
        if numbered
        else f"{'one of the orders' if len(orders) > 1 else 'the only order'} in which the layers fit each other"
    )
    alternatives = [name for name in names[1:] if name != names[0]]
    dossier.assume("order of layers", names[0], why=why, flag="--assume order=...", alternatives=alternatives)
    return chosen


def _exactly(before: Group, after: Group) -> bool:
    """Without groups: with them, too many orders fit to say anything."""
    return reads(after) == before.width


def _transposed(layer: Group) -> Mismatch | None:
    if layer.bias is None or layer.bias.shape == layer.weight.shape[:1]:
        return None
    rows, columns = layer.weight.shape
    turned = " (it looks transposed)" if tuple(layer.bias.shape) == (columns,) else ""
    why = f"{layer.name}.weight is {rows}x{columns} and its bias {tuple(layer.bias.shape)}{turned}"
    return Mismatch(why, 0.9, "save weights as (out, in), as torch.nn.Linear does")


def _fits(layers: Sequence[Group], follows: Reads) -> bool:
    return all(follows(before, after) for before, after in pairwise(layers))


def _numbered(layers: Sequence[Group]) -> bool:
    numbers = {tuple(re.findall(r"\d+", layer.name)) for layer in layers}
    return len(numbers) == len(layers) and () not in numbers


def _broken(layers: Sequence[Group], follows: Reads) -> Mismatch:
    before, after = next((one, two) for one, two in pairwise(layers) if not follows(one, two))
    what = "channels" if after.kind == "convolution" else "values"
    why = f"{after.name} reads {reads(after)} {what}, {before.name} before it returns {before.width}"
    if after.kind == "convolution":
        export = "export it to ONNX, which holds the graph: torch.onnx.export(model.eval(), (images,), F)"
        return Mismatch(f"{why} (a branched network)", 0.9, export)
    if all(one.weight.shape[0] == two.weight.shape[1] for two, one in pairwise(layers)):
        return Mismatch(why, 0.9, "save weights as (out, in), as torch.nn.Linear does: they look transposed")
    return Mismatch(why, 0.9)


def _orders(layers: Sequence[Group], follows: Reads, limit: int = 2) -> list[tuple[Group, ...]]:
    """At most `limit` orders in which all layers fit each other."""
    found: list[tuple[Group, ...]] = []
    budget = _STEPS

    def extend(chain: tuple[Group, ...], left: tuple[Group, ...]) -> None:
        nonlocal budget
        budget -= 1
        if not left:
            found.append(chain)
        for layer in left:
            if len(found) >= limit or budget < 0:
                return
            if not chain or follows(chain[-1], layer):
                extend((*chain, layer), tuple(other for other in left if other is not layer))

    extend((), tuple(layers))
    return found
