"""Which findings a policy lets pass. Public names: `Waiving`, `waive`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from auditcli.gate.demands import Demand
from auditcli.gate.policy_file import Waiver
from auditcli.report.findings import Finding
from auditcli.rules import RULES, Id


@dataclass(frozen=True, slots=True)
class Waiving:
    """What the waivers of a policy do to findings."""

    findings: tuple[Finding, ...]
    """The same as were given, in their order; those that are let pass say why."""
    demands: tuple[Demand, ...]
    """One for each waiver: that it has not expired, and has something to waive."""


def waive(found: Iterable[Finding], waivers: tuple[Waiver, ...], model_sha256: str, today: date) -> Waiving:
    """Let findings pass that a waiver is for; it is good through the day it names.

    Args:
        found: Of the report, and breaches of the policy.
        waivers: Of the policy.
        model_sha256: Hash of the model that the findings are about.
        today: The day of the ruling, in UTC.
    """
    findings = tuple(found)
    valid = [waiver for waiver in waivers if today <= waiver.expires]

    def judged(finding: Finding) -> Finding:
        for waiver in valid:
            if _covers(waiver, finding, model_sha256):
                return replace(finding, waived=f"{waiver.reason} (until {waiver.expires})")
        return finding

    return Waiving(
        findings=tuple(judged(finding) for finding in findings),
        demands=tuple(_demand(waiver, findings, model_sha256, today) for waiver in waivers),
    )


def _covers(waiver: Waiver, finding: Finding, model_sha256: str) -> bool:
    return (
        waiver.id == finding.id
        and RULES[finding.id].waivable
        and waiver.subject in {None, finding.subject}
        and waiver.model in {None, model_sha256}
    )


def _demand(waiver: Waiver, findings: tuple[Finding, ...], model_sha256: str, today: date) -> Demand:
    about = f"{waiver.id} {waiver.subject or ''}".rstrip()
    name = f"waiver {about}"
    wanted = f"until {waiver.expires}"
    if today > waiver.expires:
        text = f"The waiver of {about} was good until {waiver.expires}; its reason: {waiver.reason}"
        breach = Finding(Id.WAIVER_EXPIRED.value, text, "none-detected", about)
        return Demand(name, wanted, f"expired on {waiver.expires}", "broken", breach)
    covered = sum(_covers(waiver, finding, model_sha256) for finding in findings)
    if covered:
        return Demand(name, wanted, f"covers {covered} finding{'s' * (covered > 1)}", "met")
    why = _unmatched(waiver, findings, model_sha256)
    text = f"The waiver of {about} matches no finding: {why}."
    breach = Finding(Id.WAIVER_UNMATCHED.value, text, "none-detected", about)
    return Demand(name, wanted, "matches nothing", "broken", breach)


def _unmatched(waiver: Waiver, findings: tuple[Finding, ...], model_sha256: str) -> str:
    alike = [finding for finding in findings if finding.id == waiver.id]
    if not alike:
        return f"the report has no {waiver.id}"
    if waiver.model not in {None, model_sha256}:
        return f"it is for the model {waiver.model}"
    return f"the subjects found are {', '.join(sorted({finding.subject or '(none)' for finding in alike}))}"
