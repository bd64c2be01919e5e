"""The words and figures of a comparison, the same in every view.

Public names: `OUTCOMES`, `NOTES`, `Row`, `main_rows`, `rate_rows`, `absences`, `sides`, `recovered`.
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
    """Sign and value."""
    interval: str
    p: str
    """Corrected for all tests; empty where there is none."""
    moved: str
    """What is claimed."""
    change: Change


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

NOTES = (
    "The same members and controls stand on both sides, image by image, and every interval and test uses that.",
    "Intervals are at 95% confidence, each for itself. p-values are corrected for all tests of the table (Holm): the "
    "chance that any of them is called a difference where there is none is at most 5%.",
    "What is drawn at random are the images. How much another run of the training, or another seed of the attacks, "
    "would move the figures is not in the intervals: audit the same model twice to see the second.",
    "Less than before is not nothing: the level of the new verdict stands for itself.",
)


def main_rows(comparison: Comparison) -> tuple[Row, ...]:
    """The changes in words, in their order, without those of `rate_rows` and `absences`."""
    return tuple(_row(c, comparison.n_members) for c in comparison.changes if c.measure != "rate" and c.difference)


def rate_rows(comparison: Comparison) -> tuple[Row, ...]:
    """The changes at a fixed false-positive rate, which have an interval and no test."""
    return tuple(_row(c, comparison.n_members) for c in comparison.changes if c.measure == "rate")


def absences(comparison: Comparison) -> tuple[str, ...]:
    """What was not compared or not tested, a line a reason."""
    reasons: dict[str, list[str]] = {}
    for change in comparison.changes:
        if change.reason:
            reasons.setdefault(change.reason, []).append(change.name)
    return tuple(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())


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


def _row(change: Change, n_members: int) -> Row:
    difference, old, new = change.difference, change.old, change.new
    return Row(
        name=change.name,
        old=_value(change, old, n_members),
        new=_value(change, new, n_members),
        difference=_signed(change, difference.value, n_members) if difference else "",
        interval=" to ".join(_signed(change, end, n_members) for end in (difference.low, difference.high))
        if difference
        else "",
        p=number.p_value(change.adjusted_p) if change.adjusted_p is not None else "",
        moved=change.moved or ("no" if change.p_value is not None else "not tested"),
        change=change,
    )


def _value(change: Change, value: float | None, n_members: int) -> str:
    if value is None:
        return "n/a"
    match change.measure:
        case "recovered":
            return f"{round(value * n_members)} of {number.count(n_members)}"
        case "rate":
            return number.percent(value)
        case _:
            return number.estimate(value)


def _signed(change: Change, value: float, n_members: int) -> str:
    """With its sign; members, percentage points, or as it is."""
    match change.measure:
        case "recovered":
            return f"{value * n_members:+.1f}".replace(".0", "")
        case "rate":
            return f"{100 * value:+.1f}"
        case _:
            return f"{value:+.3f}".replace("-0.000", "+0.000")
