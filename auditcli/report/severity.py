"""How loud a finding is where machines read it.

Public names: `Severity`, `Graded`, `graded`, `accepted`, `UNTRIED`.
SARIF, JUnit, annotations, summary and checklist all take their findings from here.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from auditcli.report.findings import Finding, findings
from auditcli.report.schema import LevelName, Report
from auditcli.rules import Id

Severity = Literal["error", "warning", "note"]

UNTRIED = frozenset({Id.ATTACK_NOT_RUN, Id.ATTACK_FAILED, Id.SIGNAL_NOT_RUN, Id.SIGNAL_FAILED})
"""Gaps of one attack or signal each: a format that lists what was tried has said them."""

_LEAKS = MappingProxyType[LevelName, Severity](
    {"critical": "error", "high": "error", "moderate": "warning", "low": "note"}
)


class Graded(NamedTuple):
    """A finding, and how loud it is."""

    finding: Finding
    severity: Severity


def graded(report: Report, found: Sequence[Finding] | None = None) -> tuple[Graded, ...]:
    """The findings of a report, each with its severity.

    Args:
        report: What was audited.
        found: What a policy made of the findings: some waived, breaches added. None: those of the report.

    Returns:
        In the order they came in.
    """
    return tuple(
        Graded(finding, _severity(finding, report)) for finding in (findings(report) if found is None else found)
    )


def accepted(found: Sequence[Graded]) -> bool:
    """Whether there are leaks or breaches, and every one is waived."""
    counting = [finding for finding, _ in found if finding.rule.kind in {"leak", "breach"}]
    return bool(counting) and all(finding.waived for finding in counting)


def _severity(finding: Finding, report: Report) -> Severity:
    match finding.rule.kind:
        case "leak":
            return _LEAKS.get(finding.level, "error")
        case "doubt":
            return "error" if report.verdict.level == "inconclusive" else "warning"
        case "breach":
            return "error"
        case "gap":
            return "note"
