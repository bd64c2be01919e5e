"""The SARIF 2.1.0 view, for code scanning. Public name: `render`.

Severities of rules follow the scale that GitHub documents for `security-severity`: above 9.0 is critical, from 7.0
high, from 4.0 medium, below that low. A value makes a result one of security, so that doubts, gaps and breaches have
none.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from auditcli.report import number
from auditcli.report.findings import Finding
from auditcli.report.schema import LevelName, Report
from auditcli.report.severity import Graded, graded
from auditcli.report.summary import outcomes
from auditcli.report.text import clean

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
SCORES = MappingProxyType[LevelName, str]({"critical": "9.5", "high": "8.0", "moderate": "5.5", "low": "2.0"})
_LINK = re.compile(r"\](?=\()")
"""What makes a link in a message of SARIF."""


def render(report: Report, found: Sequence[Finding] | None = None) -> str:
    """One run with a result for each finding.

    Args:
        report: What was audited.
        found: What a policy made of the findings; a waived one is suppressed. None: those of the report.
    """
    found_here = graded(report, found)
    ids = list(dict.fromkeys(finding.id for finding, _ in found_here))
    run = {
        "tool": {
            "driver": {
                "name": "privaudit",
                "version": clean(report.manifest.privaudit),
                "rules": [_rule(next(one for one in found_here if one.finding.id == id)) for id in ids],
            }
        },
        "automationDetails": {"id": f"privaudit/{_uri(report.model.path)}/{_stamp(report.manifest.finished)}"},
        "invocations": [_invocation(report)],
        "artifacts": list(_artifacts(report)),
        "results": list(_results(report, found_here, ids)),
        "properties": {"verdict": report.verdict.level, "headline": _text(report.verdict.headline)},
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _rule(first: Graded) -> dict[str, Any]:
    """What the catalogue says of a finding, as severe as the first result under it."""
    finding, severity = first
    rule = finding.rule
    score = {"security-severity": SCORES[finding.level]} if rule.kind == "leak" and finding.level in SCORES else {}
    return {
        "id": finding.id,
        "name": rule.name,
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": rule.meaning},
        "help": {
            "text": f"{rule.meaning} What to do: {rule.action}",
            "markdown": f"{rule.meaning}\n\n**What to do:** {rule.action}\n",
        },
        "defaultConfiguration": {"level": severity},
        "properties": {"tags": ["privacy", "security", rule.kind], **score},
    }


def _results(report: Report, found: Sequence[Graded], ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """`kind` is always `fail`: with any other, SARIF has no level, and a doubt would look like a pass."""
    seen = Counter[str]()
    for finding, severity in found:
        seen[finding.fingerprint] += 1
        result: dict[str, Any] = {
            "ruleId": finding.id,
            "ruleIndex": ids.index(finding.id),
            "kind": "fail",
            "level": severity,
            "message": {"text": _message(finding)},
            "locations": [{"physicalLocation": _location(report)}],
            "partialFingerprints": _fingerprints(finding, seen[finding.fingerprint]),
        }
        if finding.waived:
            waiver = {"kind": "external", "status": "accepted", "justification": _text(finding.waived)}
            result["suppressions"] = [waiver]
        yield result


def _message(finding: Finding) -> str:
    return _text(finding.text) or finding.rule.title


def _location(report: Report) -> dict[str, Any]:
    """The model file; weights have no lines, and GitHub shows a result at a line only."""
    return {"artifactLocation": {"uri": _uri(report.model.path), "index": 0}, "region": {"startLine": 1}}


def _fingerprints(finding: Finding, occurrence: int) -> dict[str, str]:
    """The same in every report on this model, whatever the figures say.

    GitHub reads `primaryLocationLineHash` alone, in its own form `hash:occurrence`; where it is missing, the upload
    computes one from the lines of the file, and weights have none.
    """
    return {
        "primaryLocationLineHash": f"{finding.fingerprint[:16]}:{occurrence}",
        "privauditFinding/v1": f"{finding.fingerprint}:{occurrence}",
    }


def _artifacts(report: Report) -> Iterator[dict[str, Any]]:
    yield {
        "location": {"uri": _uri(report.model.path)},
        "roles": ["analysisTarget"],
        "length": max(report.model.bytes, -1),
        "hashes": {"sha-256": clean(report.model.sha256)},
    }
    for file in report.manifest.files:
        if file.role != "model":
            yield {
                "location": {"uri": _uri(file.name), "description": {"text": file.role}},
                "hashes": {"sha-256": clean(file.sha256)},
            }


def _invocation(report: Report) -> dict[str, Any]:
    failures = list(_failures(report))
    notes = [{"level": "error", "message": {"text": text}} for text in failures]
    return {
        "commandLine": clean(report.manifest.command),
        "executionSuccessful": not failures,
        "startTimeUtc": _stamp(report.manifest.started),
        "endTimeUtc": _stamp(report.manifest.finished),
        **({"toolExecutionNotifications": notes} if notes else {}),
    }


def _failures(report: Report) -> Iterator[str]:
    """What did not come to its end, in sentences."""
    if report.interrupted:
        yield "The audit was interrupted."
    for one in outcomes(report):
        if one.status == "failed":
            yield _text(f"The {one.kind} {one.name} failed: {one.reason}")


def _text(text: str) -> str:
    """A message on one line, in which a stranger's words make no link."""
    return _LINK.sub("] ", clean(text))


def _uri(name: str) -> str:
    """A file name as a relative reference: with no slash and no colon it can name no other place."""
    return quote(clean(name), safe="")


def _stamp(moment: datetime) -> str:
    return f"{number.utc(moment):%Y-%m-%dT%H:%M:%SZ}"
