"""A ruling as JSON, for machines. Public name: `render`."""

from __future__ import annotations

import json
from typing import Any, Final

from auditcli.gate.ruling import Ruling
from auditcli.report.findings import Finding
from auditcli.report.schema import Report

SCHEMA_VERSION: Final = "1.0"


def render(report: Report, ruling: Ruling) -> str:
    """The ruling, its demands and all findings, in ASCII, one line break at the end; keys as in `docs/policy.md`."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "outcome": ruling.outcome,
        "today": ruling.today.isoformat(),
        "model": {"path": report.model.path, "sha256": report.model.sha256},
        "level": report.verdict.level,
        "demands": [
            {
                "name": demand.name,
                "wanted": demand.wanted,
                "measured": demand.measured,
                "status": demand.status,
                "breach": demand.breach.id if demand.breach else None,
            }
            for demand in ruling.demands
        ],
        "findings": [_finding(finding) for finding in ruling.findings],
    }
    return json.dumps(document, indent=2) + "\n"


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "name": finding.rule.name,
        "kind": finding.rule.kind,
        "level": finding.level,
        "subject": finding.subject,
        "text": finding.text,
        "waived": finding.waived,
        "fingerprint": finding.fingerprint,
    }
