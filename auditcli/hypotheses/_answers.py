"""What the comparison of hypotheses answers, in words: `answers`, `undecided`, `checked`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from auditcli.errors import OpenQuestion
from auditcli.families import NORMALISATION, Choice
from auditcli.hypotheses._choose import Comparison, floor
from auditcli.hypotheses._search import Tried
from auditcli.types import Checkpoint, Profile

_LISTED = 4


@dataclass(frozen=True, slots=True)
class Settled:
    """What images chose, and what they could not tell."""

    choices: dict[str, Choice]
    notes: tuple[str, ...]
    final: Tried
    """The hypothesis that these choices and the defaults are."""


def answers(found: Comparison, roots: Sequence[Mapping[str, str]], images: str) -> Settled | None:
    """Choices on which all hypotheses that are left agree; None where a question stays open.

    What they do not agree on stays at its default, where that is among what is left.

    Args:
        found: The comparison.
        roots: Answers to the open question; its keys have no default.
        images: What decided, e.g. `500 controls`.
    """
    asked = {key for root in roots for key in root}
    keys = sorted({key for one in found.tried for key in one.hypothesis.keys} | asked)
    values = {key: {one.hypothesis.value(key) for one in found.left} for key in keys}
    agreed = {key for key in keys if len(values[key]) == 1}
    if asked - agreed:
        return None
    # What is left with as many defaults as possible: it must have them all, but for what was agreed on.
    final = next((one for one in found.left if not set(one.hypothesis.answers) - agreed), None)
    if final is None:
        return None
    choices = {
        key: Choice(final.hypothesis.answers[key], _why(key, final, found, images) or f"goes with what {images} chose")
        for key in sorted(agreed & set(final.hypothesis.answers))
    }
    confirmed = [
        f"{key} = {final.hypothesis.value(key)}: {why}"
        for key in sorted(agreed - set(choices))
        if (why := _why(key, final, found, images))
    ]
    doubt = [f"{images} decide nothing: {found.doubt}"] if found.doubt else []
    unclear = [
        f"{key} = {final.hypothesis.value(key)} is assumed: {images} do not tell it from "
        f"{', '.join(sorted(values[key] - {final.hypothesis.value(key)}))}"
        for key in keys
        if key not in agreed
    ]
    return Settled(choices, (*confirmed, *(doubt or unclear)), final)


def _why(key: str, final: Tried, found: Comparison, images: str) -> str:
    """How the value of a key was chosen: the figures beside those of the best with another value; empty without one."""
    value = final.hypothesis.value(key)
    others = [one for one in found.tried if one.hypothesis.value(key) != value]
    if not others or not found.by:
        return ""
    rival = min(others, key=lambda one: one.order)
    figures = []
    if "statistics" in found.by and final.distance is not None and rival.distance is not None:
        figures.append(f"batch-norm statistics {final.distance:.2g} off against {rival.distance:.2g}")
    if final.accuracy is not None and rival.accuracy is not None:
        figures.append(f"right on {final.accuracy:.1%} against {rival.accuracy:.1%}")
    return f"chosen by {images}: {', '.join(figures)} of {_named(key, rival)}"


def _named(key: str, one: Tried) -> str:
    return one.hypothesis.value(key) or "none"


def still_open(question: OpenQuestion, found: Comparison, images: str) -> OpenQuestion:
    """The question as it was, its candidates in the order in which images rank them, with why they do not decide."""
    asked = {key for candidate in question.candidates for key in candidate}
    ranked = [{key: value for key, value in one.hypothesis.answers.items() if key in asked} for one in found.tried]
    order = [candidate for candidate in ranked if candidate in question.candidates]
    distinct = [candidate for index, candidate in enumerate(order) if candidate not in order[:index]]
    rest = [dict(candidate) for candidate in question.candidates if dict(candidate) not in distinct]
    why = f"{question.message}; {images} do not decide it: {found.doubt}"
    return OpenQuestion(why, hint=question.hint, candidates=[*distinct, *rest])


def undecided(
    checkpoint: Checkpoint, found: Comparison, roots: Sequence[Mapping[str, str]], images: str
) -> OpenQuestion:
    """The question that stays open, with what is left of its answers, the best first."""
    asked = {key for root in roots for key in root}
    ranked = sorted(found.left, key=lambda one: one.order)
    keys = [
        key
        for key in sorted(asked | {key for one in ranked for key in one.hypothesis.answers})
        if len({one.hypothesis.value(key) for one in ranked}) > 1
    ]
    candidates = list(
        {tuple((key, one.hypothesis.value(key)) for key in keys): one for one in reversed(ranked)}.items()
    )
    candidates.reverse()
    shown = [f"{_flags(dict(pairs))} ({_figures(one)})" for pairs, one in candidates[:_LISTED]]
    more = f"; and {len(candidates) - _LISTED} more" if len(candidates) > _LISTED else ""
    return OpenQuestion(
        f"{checkpoint.name}: {images} do not tell {len(candidates)} answers apart ({', '.join(keys)})",
        hint="; or ".join(shown) + more,
        candidates=[dict(pairs) for pairs, _ in candidates],
    )


def _flags(pairs: Mapping[str, str]) -> str:
    written = []
    for key, value in pairs.items():
        if key == NORMALISATION:
            mean, _, std = value.partition("/")
            written.append(f"--mean {mean} --std {std}" if std else "--mean 0 --std 1")
        else:
            written.append(f"--assume {key}={value}")
    return " ".join(written)


def _figures(one: Tried) -> str:
    figures = [] if one.distance is None else [f"statistics {one.distance:.2g} off"]
    return ", ".join(figures + ([] if one.accuracy is None else [f"right on {one.accuracy:.1%}"]))


def checked(profile: Profile, final: Tried | None, role: str) -> Profile:
    """The profile with how often the model is right on labelled images; a rate near chance is said to be one."""
    if final is None or final.accuracy is None:
        return profile
    count = len(final.measured.logits)
    sentence = f"the model as built is right on {final.accuracy:.0%} of {count} labelled {role}"
    if final.accuracy < floor(profile.classes):
        sentence += f", and chance is {1 / profile.classes:.0%}: a wrong assumption would look like this"
    return replace(profile, evidence=(*profile.evidence, sentence))
