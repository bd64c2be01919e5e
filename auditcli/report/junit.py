"""The JUnit view: each claim of the audit as a test case, named so that a pass says no more than was shown.

Public name: `render`. Skipped, uncompared or waived is never a pass, and neither is a leak too weak to break a policy.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

from auditcli.report import number
from auditcli.report.figures import attack_figures, signal_figures
from auditcli.report.findings import Finding
from auditcli.report.schema import Controls, Report
from auditcli.report.severity import UNTRIED, Graded, accepted, graded
from auditcli.report.summary import budget_sentence, negative_sentence, positive_groups, positive_sentences
from auditcli.report.text import clean

Outcome = Literal["passed", "failure", "error", "skipped"]

ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""


@dataclass(frozen=True, slots=True)
class Case:
    """One claim, and what became of it."""

    claim: str
    outcome: Outcome
    text: str
    kind: str = ""
    """What sort of failure."""
    advice: str = ""
    """What to do about it."""
    seconds: float = 0.0


def render(report: Report, found: Sequence[Finding] | None = None) -> str:
    """Four suites: the verdict, the findings, what was tried, and the controls.

    Args:
        report: What was audited.
        found: What a policy made of the findings; a waived one is skipped, with its reason. None: those of the report.
    """
    here = graded(report, found)
    root = ET.Element("testsuites", name=_tidy(f"privaudit {report.model.path}"))
    verdict = _suite(root, report, "verdict", [_verdict(report, here)])
    _properties(verdict, report)
    _suite(root, report, "findings", [_finding(one) for one in here if one.finding.id not in UNTRIED])
    _suite(root, report, "tried", [*_attacks(report), *_signals(report)])
    _suite(root, report, "controls", [*_positive(report), _negative(report.controls)])
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _verdict(report: Report, found: Sequence[Graded]) -> Case:
    claim = "no leak was detected, by an audit that could have found one"
    level, text = report.verdict.level, report.verdict.headline
    if report.interrupted:
        return Case(claim, "error", f"The audit was interrupted. {text}", "interrupted")
    if level == "inconclusive":
        return Case(claim, "failure", text, level)
    if level == "none-detected":
        return Case(claim, "passed", text)
    if accepted(found):
        return Case(claim, "skipped", f"{text} Every finding of a leak is waived.")
    return Case(claim, "failure", text, level)


def _finding(one: Graded) -> Case:
    """Leaks and breaches fail, and doubts do where they leave no answer; everything else is skipped."""
    finding, severity = one
    rule = finding.rule
    claim = f"{finding.id} {rule.title}{f': {finding.subject}' if finding.subject else ''}"
    if finding.waived:
        return Case(claim, "skipped", f"waived: {finding.waived} {finding.text}")
    failed = rule.kind in {"leak", "breach"} or (rule.kind == "doubt" and severity == "error")
    return Case(claim, "failure" if failed else "skipped", finding.text, rule.kind, rule.action)


def _attacks(report: Report) -> Iterator[Case]:
    for attack in report.attacks:
        claim = f"the attack {attack.name} ran and was compared"
        match attack.status:
            case "scored":
                yield Case(claim, "passed", attack_figures(attack), seconds=attack.seconds)
            case "failed":
                yield Case(claim, "error", attack.reason, "attack failed", seconds=attack.seconds)
            case "skipped" | "unscored":
                yield Case(claim, "skipped", attack.reason, seconds=attack.seconds)


def _signals(report: Report) -> Iterator[Case]:
    for signal in report.membership:
        claim = f"the signal {signal.signal} was measured"
        match signal.status:
            case "scored":
                yield Case(claim, "passed", signal_figures(signal))
            case "failed":
                yield Case(claim, "error", signal.reason, "signal failed")
            case "skipped":
                yield Case(claim, "skipped", signal.reason)


def _positive(report: Report) -> Iterator[Case]:
    groups = positive_groups(report)
    if not groups:
        yield Case("a positive control passed", "skipped", " ".join(positive_sentences(report)))
    for group, sentence in zip(groups, positive_sentences(report) if groups else (), strict=True):
        best = group[0]
        claim = f"the positive control of {best.kind} on {best.fixture} passed"
        yield Case(claim, "passed" if best.passed else "failure", sentence, "positive control")


def _negative(controls: Controls) -> Case:
    claim, sentence = "the negative control found nothing", negative_sentence(controls)
    if controls.negative is None:
        return Case(claim, "skipped", sentence)
    passed = controls.negative.p_value >= controls.negative_alpha
    return Case(claim, "passed" if passed else "failure", sentence, "negative control")


def _suite(root: ET.Element, report: Report, name: str, cases: Sequence[Case]) -> ET.Element:
    counted = Counter(case.outcome for case in cases)
    started = report.manifest.started
    suite = ET.SubElement(
        root,
        "testsuite",
        name=f"privaudit.{name}",
        tests=str(len(cases)),
        failures=str(counted["failure"]),
        errors=str(counted["error"]),
        skipped=str(counted["skipped"]),
        time=f"{sum(case.seconds for case in cases):.2f}",
        timestamp=f"{number.utc(started):%Y-%m-%dT%H:%M:%S}",
    )
    seen = Counter[str]()
    for case in cases:
        claim = _tidy(case.claim)
        seen[claim] += 1
        # GitLab drops every case but the first of a name.
        unique = claim if seen[claim] == 1 else f"{claim} ({seen[claim]})"
        _write(suite, name, unique, case)
    return suite


def _write(suite: ET.Element, name: str, claim: str, case: Case) -> None:
    element = ET.SubElement(suite, "testcase", classname=f"privaudit.{name}", name=claim, time=f"{case.seconds:.2f}")
    text = _tidy(case.text)
    match case.outcome:
        case "passed":
            ET.SubElement(element, "system-out").text = text
        case "skipped":
            ET.SubElement(element, "skipped", message=text)
        case "failure" | "error":
            body = _tidy(f"{case.text} {case.advice}")
            ET.SubElement(element, case.outcome, message=text, type=_tidy(case.kind)).text = body


def _properties(suite: ET.Element, report: Report) -> None:
    """What the figures are about; JUnit wants it before the cases."""
    properties = ET.Element("properties")
    for name, value in (
        ("model", report.model.path),
        ("sha256", report.model.sha256),
        ("verdict", report.verdict.level),
        ("budget", budget_sentence(report)),
        ("privaudit", report.manifest.privaudit),
        ("command", report.manifest.command),
    ):
        ET.SubElement(properties, "property", name=name, value=_tidy(value))
    suite.insert(0, properties)


def _tidy(text: str) -> str:
    return ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", clean(text))
