"""The ruling: whether a report meets a policy. Public names: `Ruling`, `Outcome`, `rule`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from auditcli.gate.demands import Demand, demands
from auditcli.gate.policy_file import FailOn, Policy
from auditcli.gate.waivers import waive
from auditcli.report.findings import Finding, findings
from auditcli.report.schema import LevelName, Report
from auditcli.report.wording import SCALE
from auditcli.rules import Id

Outcome = Literal["passed", "broken", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a policy makes of a report on one day."""

    demands: tuple[Demand, ...]
    """Every demand, met or not, in the order it is shown in."""
    findings: tuple[Finding, ...]
    """Those of the report, then the breaches of the policy; what is let pass says why."""
    today: date
    """The day it was made for, in UTC."""

    @property
    def outcome(self) -> Outcome:
        """`passed` where every demand is met or waived; `inconclusive` where nothing is worse than an open question."""
        found = {demand.status for demand in self.demands}
        return "broken" if "broken" in found else "inconclusive" if "open" in found else "passed"


def rule(report: Report, policy: Policy, *, today: date, model_sha256: str | None = None) -> Ruling:
    """Hold a report against a policy.

    Args:
        report: Of an audit that ended, or was interrupted.
        policy: What is demanded, and what is let pass.
        today: The day to rule for, in UTC: the age of the report and the end of waivers count from it.
        model_sha256: Hash of the model that is to be released. None, right after an audit, takes the report for that of
            the model and does not ask whether it was changed since.

    Returns:
        One that passes only if no leak at or above `fail_on` stands without a waiver, the audit came to an answer, and
        every other demand is met or waived.
    """
    own = tuple(demands(report, policy, today, model_sha256))
    found = (*_found(report), *(demand.breach for demand in own if demand.breach))
    waiving = waive(found, policy.waivers, report.model.sha256, today)
    judged = {finding.fingerprint: finding for finding in waiving.findings}
    decided = tuple(_decided(report, policy, waiving.findings))
    late = (*decided, *waiving.demands)
    return Ruling(
        demands=(*(_waived(demand, judged) for demand in own), *late),
        findings=(*waiving.findings, *(demand.breach for demand in late if demand.breach)),
        today=today,
    )


def _found(report: Report) -> Iterator[Finding]:
    found = findings(report)
    yield from found
    if report.interrupted and not any(finding.id == Id.INTERRUPTED for finding in found):
        yield Finding(Id.INTERRUPTED.value, "The audit was interrupted.", "inconclusive")


def _waived(demand: Demand, judged: dict[str, Finding]) -> Demand:
    """The same demand, waived where its breach is."""
    if demand.breach is None:
        return demand
    breach = judged[demand.breach.fingerprint]
    return replace(demand, breach=breach, status="waived" if breach.waived else "broken")


def _decided(report: Report, policy: Policy, found: tuple[Finding, ...]) -> Iterator[Demand]:
    """The demands on the verdict and its findings, of which some may be waived."""
    level = _level(report, policy.fail_on, found)
    yield level
    for id in policy.forbid:
        yield _forbidden(id, found)
    yield _conclusive(report, found, level.status == "waived")


def _level(report: Report, fail_on: FailOn, found: tuple[Finding, ...]) -> Demand:
    """That no leak reaches `fail_on`: neither by the findings nor by the verdict, which must not be worse than they."""
    verdict = report.verdict.level
    if fail_on == "never":
        return Demand("fail_on", "any level", verdict, "met")
    wanted = f"below {fail_on}"
    leaks = [finding for finding in found if finding.rule.kind == "leak" and _reaches(finding.level, fail_on)]
    standing = [finding for finding in leaks if not finding.waived]
    unexplained = _reaches(verdict, fail_on) and not any(_reaches(finding.level, verdict) for finding in leaks)
    if standing or unexplained:
        named = ", ".join(sorted({f"{finding.id} gives {finding.level}" for finding in standing}))
        text = f"The policy demands a level {wanted}; {named or f'no finding explains why it is {verdict}'}."
        return Demand("fail_on", wanted, verdict, "broken", Finding(Id.LEVEL_REACHED.value, text, "none-detected"))
    return Demand("fail_on", wanted, verdict, "waived" if leaks else "met")


def _reaches(level: LevelName, limit: LevelName) -> bool:
    return level in SCALE and limit in SCALE and SCALE.index(level) >= SCALE.index(limit)


def _forbidden(id: str, found: tuple[Finding, ...]) -> Demand:
    alike = [finding for finding in found if finding.id == id]
    standing = [finding for finding in alike if not finding.waived]
    name, measured = f"forbid {id}", f"{len(alike)} found" if alike else "none"
    if standing:
        about = ", ".join(finding.subject for finding in standing if finding.subject)
        text = f"The policy forbids {id} ({standing[0].rule.title.lower()}), and the report has it" + (
            f" about {about}." if about else "."
        )
        return Demand(name, "none", measured, "broken", Finding(Id.FORBIDDEN.value, text, "none-detected", id))
    return Demand(name, "none", measured, "waived" if alike else "met")


def _conclusive(report: Report, found: tuple[Finding, ...], excused: bool) -> Demand:
    """That the audit came to an answer.

    A verdict with a level is one. An interrupted audit is none, and neither is a level that counts no more because what
    gave it is waived: then every doubt must be waived as well.
    """
    doubts = [finding for finding in found if finding.rule.kind == "doubt"]
    standing = [finding for finding in doubts if not finding.waived]
    silent = report.verdict.level == "inconclusive"
    if silent or report.interrupted:
        measured = "interrupted" if report.interrupted else "inconclusive"
        unanswered = bool(standing) or not doubts
    else:
        measured, unanswered = "an answer", excused and bool(standing)
    if unanswered and standing:
        measured = f"{measured}: {', '.join(sorted({finding.id for finding in standing}))}"
    waived = not unanswered and bool(doubts) and (silent or report.interrupted or excused)
    return Demand("verdict", "an answer", measured, "open" if unanswered else "waived" if waived else "met")
