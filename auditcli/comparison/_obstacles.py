"""What stands between two audits and a comparison of their models.

Public names: `obstacles`, `forbidden`, `tried_more`, `DOUBTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from auditcli.comparison.schema import About, Effort, Obstacle
from auditcli.report import number
from auditcli.report.schema import PROFILES, Report

DOUBTS = ("verdict", "audit", "order")
"""Obstacles that are no difference of settings: what follows from them is said in full."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Something that must be equal on both sides."""

    what: str
    forbids: bool
    value: Callable[[Report], str]
    why: str
    about: About = "everything"


def obstacles(old: Report, new: Report) -> tuple[Obstacle, ...]:
    """Every difference between two audits that is none between their models, what forbids a comparison first."""
    found = [*_unequal(old, new), *_names(old, new), *_efforts(old, new), *_doubts(old, new)]
    return tuple(sorted(found, key=lambda obstacle: obstacle.severity != "forbids"))


def forbidden(found: Sequence[Obstacle]) -> bool:
    """Whether any of them forbids the comparison."""
    return any(obstacle.severity == "forbids" for obstacle in found)


def tried_more(found: Sequence[Obstacle], about: About) -> frozenset[Effort]:
    """The sides that tried more, in the part of the audit it is about; both, where each did in its own way."""
    return frozenset(o.effort for o in found if o.effort and o.about in ("everything", about))


def _sample(role: str) -> Callable[[Report], str]:
    def sha256(report: Report) -> str:
        return next((f"sha256 {file.sha256[:12]}" for file in report.manifest.files if file.role == role), "none")

    return sha256


def _counts(report: Report) -> str:
    return f"{report.controls.n_members:,} members, {report.controls.n_controls:,} controls"


def _left_out(report: Report) -> str:
    left = report.comparability.left_out if report.comparability else ()
    return f"{sum(o.role == 'member' for o in left)} members, {sum(o.role == 'control' for o in left)} controls"


def _definition(report: Report) -> str:
    found = {
        f"{d.window} window, range {d.data_range:g}, k1 {d.k1:g}, k2 {d.k2:g}, channels {d.channels}"
        for d in (attack.ssim.definition for attack in report.attacks if attack.ssim)
    }
    return "; ".join(sorted(found))


def _rate(report: Report) -> str:
    return f"a false-discovery rate of {report.controls.false_discovery_rate:g}"


def _assumed(report: Report) -> str:
    return "; ".join(sorted(f"{a.what} = {a.value}" for a in report.model.assumptions)) or "nothing"


def _normalised(report: Report) -> str:
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (report.model.mean, report.model.std))
    return f"mean {mean}, std {std}"


def _shadows(report: Report) -> str:
    kept = report.plan.shadow_controls if report.plan else 0
    return f"{kept:,} controls left beside shadow models" if kept else "no shadow models"


_OTHER = "The audits compare their models with different images."
_DEMANDS = (
    Demand("members", True, _sample("members"), _OTHER),
    Demand("controls", True, _sample("controls"), _OTHER),
    Demand("images counted", True, _counts, _OTHER),
    Demand("images left out", True, _left_out, _OTHER),
    Demand(
        "input shape",
        True,
        lambda report: "x".join(map(str, report.model.input_shape)),
        "The same files were read as images of another size.",
    ),
    Demand(
        "definition of a recovery", True, _rate, "The same result counts as recovered in one audit and not the other."
    ),
    Demand("classes", False, lambda r: f"{r.model.classes:,}", "The models answer different questions."),
    Demand("architecture", False, lambda r: r.model.architecture, "Attacks reach further in one kind than another."),
    Demand("normalisation", False, _normalised, "A wrong one can hide a leak."),
    Demand("assumptions", False, _assumed, "A wrong one can hide a leak."),
    Demand(
        "privaudit version",
        False,
        lambda r: r.manifest.privaudit,
        "Attacks and signals may give other figures in another version.",
    ),
    Demand("device", False, lambda r: r.budget.device, "Attacks take another course.", "reconstruction"),
    Demand("seed", False, lambda r: f"{r.budget.seed}", "Attacks take another course.", "reconstruction"),
    Demand("shadow models", False, _shadows, "Signals that rest on them compare other controls.", "membership"),
)


def _unequal(old: Report, new: Report) -> Iterator[Obstacle]:
    for demand in _DEMANDS:
        values = demand.value(old), demand.value(new)
        if values[0] != values[1]:
            yield _obstacle(demand.what, values, demand.why, forbids=demand.forbids, about=demand.about)
    definitions = _definition(old), _definition(new)
    if all(definitions) and definitions[0] != definitions[1]:
        yield _obstacle("definition of SSIM", definitions, "The numbers mean different things.", forbids=True)
    if not (old.controls.n_members or new.controls.n_members):
        why = "Without training images there is nothing to compare one by one."
        yield _obstacle("members", ("none", "none"), why, forbids=True)


def _names(old: Report, new: Report) -> Iterator[Obstacle]:
    """Members are paired by their place; their names say whether that is right, unless one side has other names."""
    before, after = ([member.id for member in report.members] for report in (old, new))
    if not (before and after) or before == after:
        return
    renamed = len(before) == len(after) and not set(before) & set(after)
    first = next((pair for pair in zip(before, after, strict=False) if pair[0] != pair[1]), ("fewer", "fewer"))
    why = (
        "One report hides them; members are paired by their place in the same sample."
        if renamed
        else "The same place holds another image."
    )
    yield _obstacle("names of members", first, why, forbids=not renamed)


def _efforts(old: Report, new: Report) -> Iterator[Obstacle]:
    sides = (old, new)
    profiles = [report.budget.profile for report in sides]
    yield from _effort("profile", profiles, [PROFILES.index(profile) for profile in profiles])
    whole = [report.budget.stopped_by != "seconds" for report in sides]
    yield from _effort("end", ["ran to its end" if one else "ended by its clock" for one in whole], whole)
    seconds = [report.budget.seconds for report in sides]
    budgets = [number.duration(one) for one in seconds]
    if not all(whole):
        yield from _effort("budget", budgets, seconds)
    elif seconds[0] != seconds[1]:
        yield _obstacle("budget", budgets, "Neither audit was ended by its clock, so both had time enough.")
    done = [not report.interrupted for report in sides]
    yield from _effort("interruption", ["none" if one else "interrupted" for one in done], done, about="everything")
    attacks = [{a.name for a in report.attacks if a.status == "scored" and not a.negative_control} for report in sides]
    yield from _missing("attacks", attacks, "reconstruction")
    signals = [{s.signal for s in report.membership if s.status == "scored"} for report in sides]
    yield from _missing("signals", signals, "membership")


def _effort(
    what: str, words: Sequence[str], amounts: Sequence[float], *, about: About = "reconstruction"
) -> Iterator[Obstacle]:
    if amounts[0] != amounts[1]:
        side: Effort = "old" if amounts[0] > amounts[1] else "new"
        yield _obstacle(what, words, f"The {side} audit tried more.", about=about, effort=side)


def _missing(what: str, names: Sequence[set[str]], about: About) -> Iterator[Obstacle]:
    old, new = (_listed(here - there) for here, there in ((names[0], names[1]), (names[1], names[0])))
    if old:
        yield _obstacle(what, (old, "not scored"), "Only the old audit tried that.", about=about, effort="old")
    if new:
        yield _obstacle(what, ("not scored", new), "Only the new audit tried that.", about=about, effort="new")


def _doubts(old: Report, new: Report) -> Iterator[Obstacle]:
    levels = (old.verdict.level, new.verdict.level)
    if "inconclusive" in levels:
        yield _obstacle("verdict", levels, "An inconclusive audit gives reasons not to rely on its figures.")
    if old.manifest.started == new.manifest.started and old.model.sha256 == new.model.sha256:
        moment = number.moment(old.manifest.started)
        yield _obstacle("audit", (moment, moment), "Both are the same audit, so nothing can differ.")
    elif old.manifest.started > new.manifest.finished:
        moments = [number.moment(report.manifest.finished) for report in (old, new)]
        yield _obstacle("order", moments, "The old audit was made after the new one: are they swapped?")


def _obstacle(
    what: str,
    values: Sequence[str],
    why: str,
    *,
    forbids: bool = False,
    about: About = "everything",
    effort: Effort = "",
) -> Obstacle:
    """The difference between what stands on the old side and on the new one."""
    return Obstacle(
        what=what,
        severity="forbids" if forbids else "weakens",
        old=values[0],
        new=values[1],
        why=why,
        about=about,
        effort=effort,
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
