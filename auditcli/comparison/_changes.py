"""The figures that two audits of the same images have in common, and which moved by more than chance.

Public names: `changes`, `crossings`, `pairs`, `controls_shift`, `ALPHA`.
"""

from __future__ import annotations

from collections.abc import Iterator

from auditcli.comparison import _paired as paired
from auditcli.comparison.schema import Change, Crossings, Measure, Pair
from auditcli.report.schema import Interval, Membership, Report, Scores

ALPHA = 0.05
"""Chance that any figure at all is said to have moved where none did."""
RATE = 0.01
"""False-positive rate at which the members found are compared."""
_LEAST = 2
"""Members and controls below which areas have no variance."""


def changes(old: Report, new: Report) -> tuple[Change, ...]:
    """Every figure that both audits hold, reconstruction first; all their tests are corrected together.

    Both reports must be of the same images in the same order.
    """
    found = [*_reconstruction(old, new), *_membership(old, new)]
    tested = [change.p_value for change in found if change.p_value is not None]
    adjusted = iter(paired.holm_adjusted(tested))
    return tuple(change if change.p_value is None else _judged(change, next(adjusted)) for change in found)


def crossings(old: Report, new: Report) -> Crossings | None:
    """How many members changed sides; None where either audit names no member."""
    if not (old.members and new.members):
        return None
    sides = [(a.leaked, b.leaked) for a, b in zip(old.members, new.members, strict=True)]
    return Crossings(
        both=sides.count((True, True)),
        only_old=sides.count((True, False)),
        only_new=sides.count((False, True)),
        neither=sides.count((False, False)),
    )


def pairs(old: Report, new: Report) -> tuple[Pair, ...]:
    """Each member on both sides; empty where either audit names none."""
    if not (old.members and new.members):
        return ()
    return tuple(
        Pair(id=b.id, old_ssim=a.best_ssim, new_ssim=b.best_ssim, old_recovered=a.leaked, new_recovered=b.leaked)
        for a, b in zip(old.members, new.members, strict=True)
    )


def controls_shift(old: Report, new: Report) -> float | None:
    """By how much the mean best SSIM of the controls moved: what a change does to images that were never trained on."""
    before, after = old.controls.controls_ssim, new.controls.controls_ssim
    return sum(after) / len(after) - sum(before) / len(before) if before and after else None


def _judged(change: Change, adjusted: float) -> Change:
    moved = "" if adjusted > ALPHA or not change.difference else "more" if change.difference.value > 0 else "less"
    return change.model_copy(update={"adjusted_p": adjusted, "moved": moved})


def _reconstruction(old: Report, new: Report) -> Iterator[Change]:
    if not (old.members and new.members):
        here = "neither audit" if not (old.members or new.members) else "only one audit"
        yield _change("recovered", "Members recovered", reason=f"{here} compared reconstructions with the members")
        return
    tested = bool(old.controls.controls_ssim and new.controls.controls_ssim)
    uncalibrated = "" if tested else "without controls nothing says how near chance comes"
    if tested:
        recovered = paired.shares([m.leaked for m in old.members], [m.leaked for m in new.members])
        yield _change("recovered", "Members recovered", recovered)
    else:
        yield _change("recovered", "Members recovered", reason=uncalibrated)
    before, after = (([m.best_ssim for m in report.members], report.controls.controls_ssim) for report in (old, new))
    name = "Mean best SSIM, members" + (" above controls" if tested else "")
    yield _change("similarity", name, paired.means(before, after), reason=uncalibrated)


def _membership(old: Report, new: Report) -> Iterator[Change]:
    after = {signal.signal: signal for signal in new.membership}
    for signal in old.membership:
        other = after.get(signal.signal)
        if other is not None and "scored" in (signal.status, other.status):
            yield from _signal(signal, other)


def _signal(old: Membership, new: Membership) -> Iterator[Change]:
    name, before, after = f"AUC of {old.signal}", old.scores, new.scores
    if before is None or after is None:
        reason = " and ".join(
            f"the {side} audit {_lacking(signal)}" for side, signal in (("old", old), ("new", new)) if not signal.scores
        )
        yield _change("auc", name, subject=old.signal, reason=reason, values=(_auc(old), _auc(new)))
        return
    shared = sorted(_by_place(before).keys() & _by_place(after).keys())
    if min(len(before.members), len(shared)) < _LEAST:
        reason = f"the audits have {len(before.members)} members and {len(shared)} controls of it in common"
        yield _change("auc", name, subject=old.signal, reason=reason, values=(_auc(old), _auc(new)))
        return
    first, second = ((part.members, [_by_place(part)[place] for place in shared]) for part in (before, after))
    yield _change("auc", name, paired.areas(first, second), subject=old.signal)
    found = paired.rates(first, second, RATE)
    if found is not None:
        yield _change("rate", f"Found by {old.signal} at 1% false alarms", found, subject=old.signal)


def _lacking(signal: Membership) -> str:
    if signal.status != "scored":
        return f"did not score it: {signal.reason}" if signal.reason else "did not score it"
    return "holds no score of each image, as it was made by an older version"


def _auc(signal: Membership) -> float | None:
    return signal.auc.value if signal.auc else None


def _by_place(scores: Scores) -> dict[int, float]:
    """Scores of the controls by their place among all of them."""
    places = range(len(scores.controls)) if scores.places is None else scores.places
    return dict(zip(places, scores.controls, strict=True))


def _change(
    measure: Measure,
    name: str,
    found: paired.Difference | None = None,
    *,
    subject: str = "",
    reason: str = "",
    values: tuple[float | None, float | None] = (None, None),
) -> Change:
    return Change(
        measure=measure,
        subject=subject,
        name=name,
        reason=reason,
        old=found.old if found else values[0],
        new=found.new if found else values[1],
        difference=Interval(value=found.interval.value, low=found.interval.low, high=found.interval.high)
        if found
        else None,
        test=found.test if found else "",
        p_value=found.p_value if found else None,
        adjusted_p=None,
        moved="",
    )
