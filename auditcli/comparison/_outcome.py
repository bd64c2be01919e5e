"""What a comparison amounts to, in a word and in sentences. Public names: `outcome`, `sentence`, `caveats`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from auditcli.comparison._obstacles import DOUBTS, forbidden, tried_more
from auditcli.comparison.schema import About, Change, Obstacle, Outcome
from auditcli.report import number

_RECONSTRUCTION = ("recovered", "similarity")
_NAMED = 3
"""Changes that the sentence names; the table has all."""
_FORBIDDING = 2
"""Reasons that the sentence names where a comparison is forbidden."""


def outcome(changes: Sequence[Change], obstacles: Sequence[Obstacle]) -> Outcome:
    """The answer in a word."""
    if forbidden(obstacles) or all(change.p_value is None for change in changes):
        return "not-comparable"
    match {change.moved for change in changes if change.moved}:
        case moved if not moved:
            return "no-difference"
        case moved if len(moved) > 1:
            return "mixed"
        case moved:
            return "less" if "less" in moved else "more"


def sentence(
    changes: Sequence[Change], obstacles: Sequence[Obstacle], verdict: str, *, n_members: int, same_model: bool
) -> str:
    """The answer in a few sentences, with figures.

    Args:
        changes: What was compared.
        obstacles: What stands in the way.
        verdict: What became of the verdict, in a sentence.
        n_members: Members on both sides.
        same_model: Both audits are of one file.
    """
    answer = outcome(changes, obstacles)
    fell, rose = (_figures([c for c in changes if c.moved == way], n_members) for way in ("less", "more"))
    match answer:
        case "not-comparable":
            return _refusal(changes, obstacles)
        case "no-difference":
            between = " between two audits of one model" if same_model else ""
            undetected = _undetected(changes, n_members)
            return f"No difference beyond chance was found{between}. {undetected} {verdict}"
        case "mixed":
            head = "The new audit of the same model found" if same_model else "The new model leaks"
            return f"{head} less in one way and more in another. Down: {fell}. Up: {rose}. {verdict}"
        case _:
            return f"{_head(answer, changes, obstacles, same_model)}: {fell or rose}. {verdict}"


def caveats(changes: Sequence[Change], obstacles: Sequence[Obstacle], *, same_model: bool) -> tuple[str, ...]:
    """What limits the answer, the weightiest first; empty where there is no answer to limit."""
    if outcome(changes, obstacles) == "not-comparable":
        return ()
    return tuple(_caveats(changes, obstacles, same_model))


def explained_by_effort(changes: Sequence[Change], obstacles: Sequence[Obstacle], way: str) -> bool:
    """Whether that reconstruction found less (or more) may be because that side tried less (or more)."""
    side = "old" if way == "less" else "new"
    return side in tried_more(obstacles, "reconstruction") and any(
        change.moved == way and change.measure in _RECONSTRUCTION for change in changes
    )


def _head(answer: Outcome, changes: Sequence[Change], obstacles: Sequence[Obstacle], same_model: bool) -> str:
    if same_model:
        return f"The new audit of the same model found {answer}"
    only_reconstruction = all(change.measure in _RECONSTRUCTION for change in changes if change.moved)
    if only_reconstruction and explained_by_effort(changes, obstacles, answer):
        effort = "less" if answer == "less" else "more"
        return f"{answer.capitalize()} was recovered from the new model, by an audit that tried {effort}"
    return f"The new model leaks {answer}"


def _refusal(changes: Sequence[Change], obstacles: Sequence[Obstacle]) -> str:
    reasons = [obstacle for obstacle in obstacles if obstacle.severity == "forbids"]
    if not reasons:
        why = next((change.reason for change in changes if change.reason), "they have no figure in common")
        return f"These two reports cannot be compared: {why}."
    shown = "; ".join(_refused(obstacle) for obstacle in reasons[:_FORBIDDING])
    more = f"; and {len(reasons) - _FORBIDDING} more" if len(reasons) > _FORBIDDING else ""
    return f"These two reports cannot be compared: {shown}{more}. {reasons[0].why}"


def _refused(obstacle: Obstacle) -> str:
    if obstacle.old == obstacle.new:
        return f"neither audit was given {obstacle.what}"
    return f"other {obstacle.what} ({obstacle.old} before, {obstacle.new} after)"


def _undetected(changes: Sequence[Change], n_members: int) -> str:
    """How large a difference may be there all the same: the furthest ends of the intervals."""
    reach = {
        measure: max(
            max(abs(change.difference.low), abs(change.difference.high))
            for change in changes
            if change.measure == measure and change.difference
        )
        for measure in ("recovered", "auc")
        if any(change.measure == measure and change.difference for change in changes)
    }
    parts = []
    if "recovered" in reach:
        parts.append(f"{ceil(reach['recovered'] * n_members)} of {number.count(n_members)} members recovered")
    if "auc" in reach:
        parts.append(f"{number.estimate(reach['auc'])} in AUC")
    return f"A true difference of up to {' or '.join(parts)} cannot be excluded." if parts else ""


def _figures(changes: Sequence[Change], n_members: int) -> str:
    """The largest changes in words, those of reconstruction first."""
    ordered = sorted(changes, key=lambda c: (c.measure not in _RECONSTRUCTION, -abs((c.new or 0) - (c.old or 0))))
    rest = len(ordered) - _NAMED
    shown = ", ".join(_figure(change, n_members) for change in ordered[:_NAMED])
    return f"{shown}, and {number.count(rest, 'more figure')}" if rest > 0 else shown


def _figure(change: Change, n_members: int) -> str:
    old, new = change.old or 0.0, change.new or 0.0
    claim = number.p_claim(1.0 if change.adjusted_p is None else change.adjusted_p)
    if change.measure == "recovered":
        counts = f"{round(old * n_members)} to {round(new * n_members)} of {number.count(n_members)}"
        return f"members recovered from {counts} ({claim})"
    name = change.name[0].lower() + change.name[1:] if change.measure == "similarity" else change.name
    return f"{name} from {number.estimate(old)} to {number.estimate(new)} ({claim})"


def _caveats(changes: Sequence[Change], obstacles: Sequence[Obstacle], same_model: bool) -> Iterator[str]:
    for way, side in (("less", "old"), ("more", "new")):
        if explained_by_effort(changes, obstacles, way):
            other = "new" if side == "old" else "old"
            yield (
                f"The {side} audit tried more than the {other} one ({_whats(obstacles, side)}): "
                f"that {way} was recovered may be the effort and not the model."
            )
    efforts = tried_more(obstacles, "reconstruction")
    moved = {change.moved for change in changes if change.measure in _RECONSTRUCTION and change.moved}
    if moved == {"less"} and efforts == {"new"}:
        yield f"The new audit tried more ({_whats(obstacles, 'new')}), and recovered less all the same."
    if moved == {"more"} and efforts == {"old"}:
        yield f"The old audit tried more ({_whats(obstacles, 'old')}), and recovered less all the same."
    if not moved and efforts:
        sides = " and ".join(sorted(efforts))
        yield f"The {sides} audit tried more ({_whats(obstacles, *efforts)}), which may hide a difference."
    if missing := [o for o in obstacles if o.about == "membership" and o.effort == "old"]:
        yield f"What the new audit did not score may have moved too: {', '.join(o.old for o in missing)}."
    others = [o for o in obstacles if o.severity == "weakens" and not o.effort]
    yield from (o.why for o in others if o.what in DOUBTS)
    if settings := [o.what for o in others if o.what not in DOUBTS]:
        head = (
            "Both audits are of one model and differ in" if same_model else "The audits differ in more than the model:"
        )
        yield f"{head} {', '.join(settings)}."
    elif same_model:
        yield "Both audits are of one model."
    if any(change.moved == "less" for change in changes):
        yield "A lower figure is not the absence of a leak."


def _whats(obstacles: Sequence[Obstacle], *sides: str, about: About = "reconstruction") -> str:
    return ", ".join(o.what for o in obstacles if o.effort in sides and o.about in ("everything", about))
