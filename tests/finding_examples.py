"""Findings as a policy hands them on: one waived, one added as a breach."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from auditcli.report import Report
from auditcli.report import findings as module
from auditcli.report.findings import Finding, findings
from auditcli.rules import RULES, Rule

WAIVER = "the training images are public; until 2027-01-31"
BREACH = "PA399"


def with_breach(monkeypatch: pytest.MonkeyPatch) -> Finding:
    """A breach of a policy, under a rule that the test adds."""
    rule: Any = Rule(BREACH, "DemandNotMet", "breach", "A demand is not met", "It is not.", "Meet it.")  # type: ignore[arg-type]
    monkeypatch.setattr(module, "RULES", MappingProxyType({**RULES, BREACH: rule}))
    return Finding(BREACH, "The budget is 10 min, the policy asks for 1 h.", "none-detected")


def ruled(report: Report, *extra: Finding, waive: str = "leak") -> tuple[Finding, ...]:
    """The findings of a report with every one of that kind waived, and those given added."""
    found = (replace(one, waived=WAIVER if one.rule.kind == waive else "") for one in findings(report))
    return (*found, *extra)


def hostile_findings(text: str) -> tuple[Finding, ...]:
    """One finding of each kind that says `text` wherever a stranger's words can reach."""
    levels = {"PA001": "critical", "PA106": "inconclusive", "PA205": "none-detected"}
    return tuple(Finding(id, text, level, text, text if id == "PA205" else "") for id, level in levels.items())
