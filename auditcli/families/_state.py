"""Linear layers of a state dict as a chain: in which order (`ordered`), and with which batch norm (`chain_of`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from auditcli.families._dense import Dense, DenseChain, Norm
from auditcli.families._layers import Group, attach_norms
from auditcli.families._template import Mismatch

if TYPE_CHECKING:
    from auditcli.families._dossier import Dossier

_BATCH_NORM_EPS = 1e-5


def ordered(dossier: Dossier, linears: Sequence[Group]) -> tuple[Group, ...] | Mismatch:
    """Linear layers so that each reads what the one before returns.

    The order stated by `--assume order=...` wins, then that of the numbers in the names. Without numbers, that of the
    names where no other fits; else it is listed as an assumption, as is the only order that fits.

    Raises:
        UnknownModel: more than one order fits, that of the names does not, and there are no numbers.
    """
    for layer in linears:
        if layer.bias is not None and layer.bias.shape != layer.weight.shape[:1]:
            rows, columns = layer.weight.shape
            turned = " (it looks transposed)" if tuple(layer.bias.shape) == (columns,) else ""
            why = f"{layer.name}.weight is {rows}x{columns} and its bias {tuple(layer.bias.shape)}{turned}"
            return Mismatch(why, 0.9, "save weights as (out, in), as torch.nn.Linear does")
    if (order := dossier.stated("order")) is not None:
        by_name = {layer.name: layer for layer in linears}
        if set(order) != set(by_name) or len(order) != len(by_name):
            raise dossier.open_question(
                f"order names {', '.join(order)}; the linear layers are {', '.join(by_name)}",
                f"--assume order={'/'.join(by_name)}",
            )
        linears = [by_name[name] for name in order]
        return tuple(linears) if _chains(linears) else _broken(linears)
    # Numbers give the order. Where it does not fit, another that does is no better: reversed, transposed weights fit.
    if _numbered(linears):
        return tuple(linears) if _chains(linears) else _broken(linears)
    orders = _orders(linears)
    if not orders:
        return _broken(linears)
    if len(orders) == 1 and _chains(linears):
        return tuple(linears)
    if len(orders) > 1 and not _chains(linears):
        raise dossier.open_question(
            "more than one order of the linear layers fits their shapes",
            " or ".join(f"--assume order={'/'.join(layer.name for layer in order)}" for order in orders),
        )
    chosen, which = (orders[0], "the only order") if len(orders) == 1 else (tuple(linears), "one of the orders")
    names = "/".join(layer.name for layer in chosen)
    why = f"{which} in which the layers fit each other, and not all names carry numbers"
    dossier.assume("order of layers", names, why=why, flag="--assume order=...")
    return chosen


def chain_of(dossier: Dossier, linears: Sequence[Group], norms: Sequence[Group], activation: str) -> DenseChain:
    """The chain of ordered layers with the batch norms that belong to them.

    Raises:
        UnknownModel: it is open which batch norm belongs to which layer.
    """
    attached = attach_norms(linears, norms)
    if attached is None:
        raise dossier.open_question(
            f"it is open which of the {len(linears)} linear layers the {len(norms)} batch norms follow",
            "name them alike (fc1, bn1), or export the model to ONNX",
        )
    after = bool(norms) and norm_after(dossier)
    eps = norm_eps(dossier) if norms else _BATCH_NORM_EPS
    layers = [Dense(layer.weight, layer.bias, recorded(attached.get(layer.name), eps)) for layer in linears]
    return DenseChain(tuple(layers), activation, norm_after=after)


def norm_after(dossier: Dossier) -> bool:
    """Whether batch norm follows the activation: as stated, else not, listed as an assumption."""
    stated = dossier.stated("norm")
    if stated is None:
        why = "weights do not show on which side of the activation batch norm stands"
        dossier.assume("batch norm", "before the activation", why=why, flag="--assume norm=...")
    return bool(stated == "after")


def norm_eps(dossier: Dossier) -> float:
    """What batch norm adds to the variance: as stated, else torch's default, noted."""
    stated = dossier.stated("eps")
    if stated is None:
        dossier.note(f"batch norm eps: {_BATCH_NORM_EPS}, the default")
    return _BATCH_NORM_EPS if stated is None else float(stated)


def recorded(group: Group | None, eps: float) -> Norm | None:
    """The batch norm that a group of tensors is."""
    if group is None:
        return None
    parts = group.parts
    return Norm(parts["running_mean"], parts["running_var"], parts.get("weight"), group.bias, eps)


def _chains(linears: Sequence[Group]) -> bool:
    return all(after.weight.shape[1] == before.width for before, after in pairwise(linears))


def _numbered(linears: Sequence[Group]) -> bool:
    numbers = {tuple(re.findall(r"\d+", layer.name)) for layer in linears}
    return len(numbers) == len(linears) and () not in numbers


def _broken(linears: Sequence[Group]) -> Mismatch:
    before, after = next(pair for pair in pairwise(linears) if pair[1].weight.shape[1] != pair[0].width)
    columns = after.weight.shape[1]
    if all(one.weight.shape[0] == two.weight.shape[1] for two, one in pairwise(linears)):
        hint = "save weights as (out, in), as torch.nn.Linear does: they look transposed"
    else:
        hint = ""
    return Mismatch(f"{after.name} reads {columns} values, {before.name} before it returns {before.width}", 0.9, hint)


def _orders(linears: Sequence[Group], limit: int = 2) -> list[tuple[Group, ...]]:
    """At most `limit` orders in which all layers chain."""
    found: list[tuple[Group, ...]] = []
    budget = 10_000  # Steps of the search; a state dict with more fitting beginnings is answered by its names.

    def extend(chain: tuple[Group, ...], left: tuple[Group, ...]) -> None:
        nonlocal budget
        budget -= 1
        if not left:
            found.append(chain)
        for layer in left:
            if len(found) >= limit or budget < 0:
                return
            if not chain or layer.weight.shape[1] == chain[-1].width:
                extend((*chain, layer), tuple(other for other in left if other is not layer))

    extend((), tuple(linears))
    return found
