"""The words and figures of a comparison, the same in every view. Public names: `OUTCOMES`, `Row`, `rows`, `sides`, `recovered`, `NOTES`.

All text is plain: the views escape it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

from auditcli.comparison.schema import Change, Comparison, Outcome, Pair
from auditcli.report import number
from auditcli.report.schema import LevelName
from auditcli.report.wording import LEVELS


class OutcomeWords(NamedTuple):
    """How an outcome is spoken of."""

    word: str
    symbol: str
    """One character for Markdown and terminals."""
    colour: LevelName | None
    """The level whose colours it takes; None for those of the text."""


class Row(NamedTuple):
    """One change in words."""

    name: str
    old: str
    new: str
    difference: str
    """Sign and value; empty where none was measured."""
    interval: str
    p: str
    """Corrected for all tests."""
    moved: str
    """What is claimed, or why nothing is."""


class SideRow(NamedTuple):
    """One fact about both audits."""

    name: str
    old: str
    new: str


OUTCOMES = MappingProxyType[Outcome, OutcomeWords](
    {
        "less": OutcomeWords("Less was found", "↓", "low"),
        "more": OutcomeWords("More was found", "↑", "high"),
        "mixed": OutcomeWords("Less and more were found", "↕", "moderate"),
        "no-difference": OutcomeWords("No difference found", "≈", None),
        "not-comparable": OutcomeWords("Cannot be compared", "≠", "inconclusive"),
    }
)

_MOVED = MappingProxyType({"less": "less", "more": "more"})

NOTES = (
    "The same members and controls stand on both sides, image by image, and every interval and test uses that.",
    "Intervals are at 95% confidence, each for itself. p-values are corrected for all tests of the table (Holm): the "
    "chance that any of them is called a difference where there is none is at most 5%.",
    "What is drawn at random are the images. How much another run of the training, or another seed of the attacks, "
    "would move the figures is not in the intervals: audit the same model twice to see the second.",
    "Less than before is not nothing: the level of the new verdict stands for itself.",
)


def rows(comparison: Comparison) -> tuple[Row, ...]:
    """The changes in words, in their order."""
    return tuple(_row(change) for change in comparison.changes)


def sides(comparison: Comparison) -> tuple[SideRow, ...]:
    """What each audit was."""
    old, new = comparison.old, comparison.new
    return (
        SideRow("Verdict", LEVELS[old.level].word, LEVELS[new.level].word),
        SideRow("Model", old.model, new.model),
        SideRow("sha256", old.sha256, new.sha256),
        SideRow("Budget", *(f"{number.duration(s.seconds_used)} of {number.duration(s.seconds)}" for s in (old, new))),
        SideRow("Profile", old.profile, new.profile),
        SideRow("Device", old.device, new.device),
        SideRow("Seed", f"{old.seed}", f"{new.seed}"),
        SideRow("privaudit", old.privaudit, new.privaudit),
        SideRow("Finished", number.moment(old.finished), number.moment(new.finished)),
    )


def _row(change: Change) -> Row:
    difference = change.difference
    return Row(
        name=change.name,
        old=_value(change, change.old),
        new=_value(change, change.new),
        difference=_signed(change, difference.value) if difference else "",
        interval=f"{_signed(change, difference.low)} to {_signed(change, difference.high)}" if difference else "",
        p=number.p_value(change.adjusted_p) if change.adjusted_p is not None else "",
        moved=_claim(change),
    )


def _claim(change: Change) -> str:
    if change.p_value is not None:
        return _MOVED.get(change.moved, "no more than chance")
    if change.reason:
        return f"not tested: {change.reason}" if change.difference else f"not compared: {change.reason}"
    return "not tested"


def _in_percent(change: Change) -> bool:
    return change.measure in ("recovered", "rate")


def _value(change: Change, value: float | None) -> str:
    if value is None:
        return "n/a"
    return number.percent(value) if _in_percent(change) else number.score(value)


def _signed(change: Change, value: float) -> str:
    """With its sign; shares in percentage points."""
    return f"{100 * value:+.1f}" if _in_percent(change) else f"{value:+.3f}"


def recovered(pair: Pair) -> str:
    """When a member was recovered."""
    match pair.old_recovered, pair.new_recovered:
        case True, True:
            return "before and after"
        case True, False:
            return "before"
        case False, True:
            return "after"
        case _:
            return "no"
