"""What a policy demands, each held against what the report says. Public names: `Demand`, `Status`, `demands`.

These are the demands that rest on the report alone; `ruling` adds those that waivers decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from auditcli.gate.identity import contradictions
from auditcli.gate.measures import MEASURES, Figure, Measure
from auditcli.gate.policy_file import Policy
from auditcli.report import number, summary
from auditcli.report.findings import Finding
from auditcli.report.schema import PROFILES, PositiveControl, Report
from auditcli.rules import Id

Status = Literal["met", "waived", "open", "broken"]
"""`open`: nothing could be established, which is no pass."""

_SHOWN = 12
"""Hexadecimal digits of a hash that are shown."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One demand of a policy."""

    name: str
    """As the policy file names it, or what it is about, e.g. `attack kkt`."""
    wanted: str
    measured: str
    status: Status
    breach: Finding | None = None
    """What is broken, also where it is waived."""


def demands(report: Report, policy: Policy, today: date, model_sha256: str | None) -> Iterator[Demand]:
    """Every demand that a report alone meets or breaks.

    Args:
        report: The one to be judged.
        policy: What is demanded of it.
        today: The day of the ruling, in UTC.
        model_sha256: Hash of the model that is to be released; with None the report is taken for that of the model.
    """
    if model_sha256 is not None:
        yield from _identity(report, model_sha256, today)
    yield from _effort(report, policy, today)
    yield from _coverage(report, policy)
    for name, measure in MEASURES.items():
        limit = getattr(policy.thresholds, name)
        if limit is not None:
            yield _threshold(name, measure, limit, report, policy)


def _identity(report: Report, model_sha256: str, today: date) -> Iterator[Demand]:
    same = model_sha256 == report.model.sha256
    yield _demand(
        "model",
        f"sha256 {report.model.sha256[:_SHOWN]}",
        f"sha256 {model_sha256[:_SHOWN]}",
        None if same else Id.OTHER_MODEL,
        f"The report is about a model with sha256 {report.model.sha256}, and this one has {model_sha256}.",
    )
    wrong = tuple(contradictions(report))
    yield _demand(
        "report",
        "agrees with itself",
        f"{number.count(len(wrong), 'contradiction')}" if wrong else "agrees with itself",
        Id.CONTRADICTION if wrong else None,
        f"The report contradicts itself: {'; '.join(wrong)}.",
    )
    finished = _finished(report)
    yield _demand(
        "date",
        f"until {today}",
        f"{finished}",
        Id.FROM_THE_FUTURE if finished > today else None,
        f"The audit ended on {finished}, and the day of the ruling is {today}.",
    )


def _effort(report: Report, policy: Policy, today: date) -> Iterator[Demand]:
    budget = report.budget
    if (oldest := policy.maximum_age) is not None:
        age = (today - _finished(report)).days
        yield _demand(
            "maximum_age",
            f"at most {_span(oldest)}",
            number.count(age, "day"),
            Id.TOO_OLD if timedelta(days=age).total_seconds() > oldest else None,
            f"The audit ended {number.count(age, 'day')} ago; the policy allows {_span(oldest)}.",
        )
    if (least := policy.minimum_budget) is not None:
        yield _demand(
            "minimum_budget",
            f"at least {_span(least)}",
            _span(budget.seconds),
            Id.BUDGET_TOO_SMALL if budget.seconds < least else None,
            f"The audit was given {_span(budget.seconds)}; the policy requires {_span(least)}.",
        )
    if (lowest := policy.minimum_profile) is not None:
        yield _demand(
            "minimum_profile",
            f"at least {lowest}",
            budget.profile,
            Id.PROFILE_TOO_LOW if PROFILES.index(budget.profile) < PROFILES.index(lowest) else None,
            f"The audit ran with the profile {budget.profile}; the policy requires {lowest}.",
        )


def _coverage(report: Report, policy: Policy) -> Iterator[Demand]:
    controls = report.controls
    known = {(one.kind, one.name): one for one in summary.outcomes(report)}
    for name in policy.required_attacks:
        yield _scored("attack", name, known.get(("attack", name)), Id.ATTACK_REQUIRED)
    for name in policy.required_signals:
        yield _scored("signal", name, known.get(("signal", name)), Id.SIGNAL_REQUIRED)
    if policy.required_members is not None:
        yield _images("members", policy.required_members, controls.n_members, Id.MEMBERS_REQUIRED)
    if policy.required_controls is not None:
        yield _images("controls", policy.required_controls, controls.n_controls, Id.CONTROLS_REQUIRED)
    if policy.require_positive_control:
        yield _positive(report)


def _scored(kind: str, name: str, found: summary.Outcome | None, id: Id) -> Demand:
    status, reason = (found.status, found.reason) if found else ("absent", "the report does not know it")
    because = f": {reason}" if reason else ""
    text = f"The {kind} {name} is required to have a score, and is {status}{because}."
    return _demand(f"{kind} {name}", "scored", status, None if status == "scored" else id, text, name)


def _images(kind: str, least: int, given: int, id: Id) -> Demand:
    text = f"The audit had {given:,} {kind}; the policy requires {least:,}."
    return _demand(f"required_{kind}", f"at least {least:,}", f"{given:,}", id if given < least else None, text)


def _positive(report: Report) -> Demand:
    """Positive controls are run where nothing was found: a leak that was found shows by itself that it can be."""
    if summary.found(report):
        measured, met = "a leak was found, which needs none", True
    else:
        alike: dict[tuple[str, bool], list[PositiveControl]] = {}
        for control in report.controls.positive:
            alike.setdefault((control.kind, control.matched), []).append(control)
        passed = [any(control.passed for control in controls) for controls in alike.values()]
        met = bool(passed) and all(passed)
        measured = f"{sum(passed)} of {len(passed)} passed" if passed else "none was run"
    id = None if met else Id.POSITIVE_REQUIRED
    return _demand("require_positive_control", "passed", measured, id, f"Of the positive controls, {measured}.")


def _threshold(name: str, measure: Measure, limit: float, report: Report, policy: Policy) -> Demand:
    bound = policy.thresholds.bound
    figures = measure.figures(report)
    wanted = f"at most {measure.written(limit)}"
    lost = [figure.of for figure in figures if figure.value is None]
    if lost or not figures:
        by = f" by {', '.join(lost)}" if lost else ""
        text = f"{name} was not measured{by}; it needs {measure.needs}."
        return _demand(name, wanted, "not measured", Id.NOT_MEASURED, text, name)
    worst = max(figures, key=lambda figure: figure.at(bound))
    measured = _measured(measure, worst, bound == "upper")
    over = worst.at(bound) > limit
    text = f"{name} is {measured}; the policy allows {wanted}."
    return _demand(name, wanted, measured, Id.OVER_THRESHOLD if over else None, text, name)


def _measured(measure: Measure, figure: Figure, by_upper: bool) -> str:
    value = measure.written(figure.value or 0.0)
    if figure.upper is not None and by_upper:
        value = f"up to {measure.written(figure.upper)} (estimate {value})"
    return f"{value}, {figure.of}" if figure.of else value


def _demand(name: str, wanted: str, measured: str, id: Id | None, text: str, subject: str = "") -> Demand:
    if id is None:
        return Demand(name, wanted, measured, "met")
    return Demand(name, wanted, measured, "broken", Finding(id.value, text, "none-detected", subject))


def _finished(report: Report) -> date:
    return number.utc(report.manifest.finished).date()


def _span(seconds: float) -> str:
    days = timedelta(seconds=seconds).days
    return number.count(days, "day") if seconds == days * 86400 and days else number.duration(seconds)
