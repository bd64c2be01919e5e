"""Annotations of a GitHub Actions run, one workflow command a line. Public name: `render`."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple

from auditcli.report.findings import Finding
from auditcli.report.schema import LevelName, Report
from auditcli.report.severity import Graded, Severity, accepted, graded
from auditcli.report.text import clean
from auditcli.report.wording import LEVELS

MOST = 10
"""Annotations of one kind that GitHub shows of a step."""
COMMANDS = MappingProxyType[Severity, str]({"error": "error", "warning": "warning", "note": "notice"})
_VERDICTS = MappingProxyType[LevelName, str](
    {
        "none-detected": "notice",
        "low": "notice",
        "moderate": "warning",
        "high": "error",
        "critical": "error",
        "inconclusive": "error",
    }
)


class Annotation(NamedTuple):
    """One workflow command."""

    command: str
    title: str
    text: str

    def __str__(self) -> str:
        title = _escape(self.title).replace(":", "%3A").replace(",", "%2C")
        return f"::{self.command} title={title}::{_escape(self.text)}"


def render(report: Report, found: Sequence[Finding] | None = None) -> str:
    """The verdict and the findings, the worst first; the last of a kind says how many there is no room for.

    Args:
        report: What was audited.
        found: What a policy made of the findings; a waived one is a notice. None: those of the report.
    """
    here = graded(report, found)
    annotations = sorted(
        (_verdict(report, here), *map(_annotation, here)),
        key=lambda annotation: list(COMMANDS.values()).index(annotation.command),
    )
    kinds = groupby(annotations, key=lambda annotation: annotation.command)
    return "".join(f"{annotation}\n" for command, kind in kinds for annotation in _fitting(command, list(kind)))


def _verdict(report: Report, found: Sequence[Graded]) -> Annotation:
    level, text = report.verdict.level, report.verdict.headline
    title = f"privaudit: {LEVELS[level].word}"
    if report.interrupted:
        return Annotation("error", title, f"The audit was interrupted. {text}")
    if level not in {"none-detected", "inconclusive"} and accepted(found):
        return Annotation("notice", f"{title} (waived)", f"{text} Every finding of a leak is waived.")
    return Annotation(_VERDICTS[level], title, text)


def _annotation(one: Graded) -> Annotation:
    finding, severity = one
    title = f"{finding.id} {finding.rule.title}"
    if finding.waived:
        return Annotation("notice", f"{title} (waived)", f"{finding.text} Waived: {finding.waived}")
    return Annotation(COMMANDS[severity], title, finding.text)


def _fitting(command: str, annotations: Sequence[Annotation]) -> Iterator[Annotation]:
    if len(annotations) <= MOST:
        yield from annotations
        return
    yield from annotations[: MOST - 1]
    more = len(annotations) - MOST + 1
    yield Annotation(command, "privaudit", f"{more} more of this kind stand in the summary and in report.json.")


def _escape(text: str) -> str:
    """On one line, with what workflow commands read as their own encoded."""
    return clean(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
