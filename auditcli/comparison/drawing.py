"""Where the marks of a comparison's plots stand; the templates draw them.

Public names: `Bar`, `bar`, `span`, `Dot`, `dots`, `WIDTH`.
All places are in a drawing of `WIDTH` by `WIDTH` (dots) or `WIDTH` across (bars), the origin at the top left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from auditcli.comparison.schema import Change, Comparison, Pair

WIDTH = 200.0
_MARGIN = 8.0
_SPANS = (0.05, 0.1, 0.2, 0.5)


class Bar(NamedTuple):
    """An interval on the axis of differences."""

    low: float
    value: float
    high: float


class Dot(NamedTuple):
    """A member: old SSIM to the right, new SSIM up."""

    x: float
    y: float
    kind: str
    """`both`, `only-old`, `only-new` or `neither`, as it was recovered."""


def span(changes: Iterable[Change]) -> float:
    """The largest difference, either way, that the axis of their bars shows."""
    ends = [abs(end) for c in changes if c.difference for end in (c.difference.low, c.difference.high)]
    return next((span for span in _SPANS if span >= max(ends, default=0.0)), 1.0)


def bar(change: Change, span: float) -> Bar | None:
    """The bar of a change; None where it has no difference."""
    if change.difference is None:
        return None
    difference = change.difference
    return Bar(*(_across(end, span) for end in (difference.low, difference.value, difference.high)))


def dots(comparison: Comparison) -> tuple[Dot, ...]:
    """A dot a member, those of the most common kind first, so that the others lie on top."""
    kinds = ("neither", "both", "only-old", "only-new")
    found = [Dot(_place(pair.old_ssim), _place(1 - pair.new_ssim), _kind(pair)) for pair in comparison.pairs]
    return tuple(sorted(found, key=lambda dot: kinds.index(dot.kind)))


def _across(value: float, span: float) -> float:
    inside = max(-span, min(span, value))
    return round(WIDTH / 2 + inside / span * (WIDTH / 2 - _MARGIN), 1)


def _place(share: float) -> float:
    """SSIM below 0 is no likeness at all and stands at the edge."""
    return round(_MARGIN + max(0.0, min(1.0, share)) * (WIDTH - 2 * _MARGIN), 1)


def _kind(pair: Pair) -> str:
    match pair.old_recovered, pair.new_recovered:
        case True, True:
            return "both"
        case True, False:
            return "only-old"
        case False, True:
            return "only-new"
        case _:
            return "neither"
