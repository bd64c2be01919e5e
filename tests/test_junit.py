"""The JUnit view, read back by a library that reads JUnit."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from finding_examples import BREACH, WAIVER, hostile_findings, ruled, with_breach
from hypothesis import given, settings
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped
from report_examples import LEVELS, example, hostile, undrawn

from auditcli.report import junit, render
from auditcli.report.findings import findings

VERDICT = "no leak was detected, by an audit that could have found one"


def cases(text):
    """Every case by its suite and name: the class of its outcome, None for a pass, and what it says."""
    xml = JUnitXml.fromstring(text.encode())
    found = {}
    for suite in xml:
        read = list(suite)
        outcomes = [type(case.result[0]) if case.result else None for case in read]
        assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (
            len(read),
            *(outcomes.count(kind) for kind in (Failure, Error, Skipped)),
        )
        for case, outcome in zip(read, outcomes, strict=True):
            assert case.classname == suite.name
            key = case.classname.removeprefix("privaudit."), case.name
            assert key not in found
            found[key] = outcome, case.result[0].message if outcome else case.system_out
    return found


@pytest.mark.parametrize(
    ("level", "outcome"),
    [(level, None if level == "none-detected" else Failure) for level in LEVELS],
)
def test_only_an_absence_passes(level, outcome):
    report = example(level)
    assert cases(render(report, "junit"))["verdict", VERDICT] == (outcome, report.verdict.headline)


def test_an_interrupted_audit_is_an_error():
    text = render(example("none-detected", interrupted=True), "junit")
    assert cases(text)["verdict", VERDICT][0] is Error


@pytest.mark.parametrize("level", LEVELS)
def test_no_finding_passes(level):
    report = example(level)
    made = {
        name: outcome for (suite, name), (outcome, _) in cases(render(report, "junit")).items() if suite == "findings"
    }
    assert None not in made.values()
    failing = {name[:5] for name, outcome in made.items() if outcome is Failure}
    doubts = report.verdict.level == "inconclusive"
    assert failing == {
        one.id for one in findings(report) if one.rule.kind == "leak" or (doubts and one.rule.kind == "doubt")
    }


def test_what_did_not_run_is_no_pass():
    made = cases(render(example("critical"), "junit"))
    assert made["tried", "the attack deep_inversion ran and was compared"] == (
        Skipped,
        "needs batch norm; this MLP has none",
    )
    assert made["tried", "the attack diffusion_prior ran and was compared"][0] is Error
    assert made["tried", "the attack kkt ran and was compared"][0] is None
    assert "best SSIM 0.9" in made["tried", "the attack kkt ran and was compared"][1]
    assert made["tried", "the signal label_only was measured"][0] is Error
    unscored = cases(render(example("inconclusive"), "junit"))
    assert unscored["tried", "the attack kkt ran and was compared"][0] is Skipped


def test_controls_that_failed_or_are_missing_are_no_pass():
    made = cases(render(example("inconclusive"), "junit"))
    assert made["controls", "the positive control of reconstruction on mlp-16x16 passed"][0] is Failure
    assert made["controls", "the negative control found nothing"][0] is Skipped
    report = example("critical")
    none = report.model_copy(update={"controls": report.controls.model_copy(update={"positive": ()})})
    assert cases(render(none, "junit"))["controls", "a positive control passed"][0] is Skipped
    low = report.controls.negative.model_copy(update={"p_value": 1e-6})
    foul = report.model_copy(update={"controls": report.controls.model_copy(update={"negative": low})})
    assert cases(render(foul, "junit"))["controls", "the negative control found nothing"][0] is Failure


def test_a_waived_finding_is_skipped_with_its_reason_and_a_breach_fails(monkeypatch):
    report = example("critical")
    made = cases(junit.render(report, ruled(report)))
    outcome, said = made["findings", "PA001 Training images were individually recovered"]
    assert outcome is Skipped
    assert WAIVER in said
    assert made["verdict", VERDICT][0] is Skipped
    breached = cases(junit.render(report, ruled(report, with_breach(monkeypatch))))
    assert breached["findings", f"{BREACH} A demand is not met"][0] is Failure
    assert breached["verdict", VERDICT][0] is Failure


def test_a_waived_doubt_makes_no_answer_of_none(monkeypatch):
    report = example("inconclusive")
    breach = replace(with_breach(monkeypatch), waived=WAIVER)
    assert cases(junit.render(report, ruled(report, breach, waive="doubt")))["verdict", VERDICT][0] is Failure


def test_says_what_the_figures_are_about():
    report = example("critical")
    suite = next(iter(JUnitXml.fromstring(render(report, "junit").encode())))
    stated = {one.name: one.value for one in suite.properties()}
    assert stated["sha256"] == report.model.sha256
    assert stated["verdict"] == "critical"
    assert suite.timestamp == "2026-03-02T09:14:05"


@settings(max_examples=25, deadline=None)
@given(st.text(st.sampled_from("<>&\"']]>\x00\x0b\x1b\ufffe\uffff\n\t \u202e"), max_size=25) | st.text(max_size=25))
def test_whatever_a_stranger_wrote_stays_text(text):
    said = junit.render(undrawn(hostile(text)), hostile_findings(text))
    benign = junit.render(undrawn(hostile("benign")), hostile_findings("benign"))
    assert cases(said)
    assert not re.search("[^\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", said)
    assert [element.tag for element in ET.fromstring(said).iter()] == [e.tag for e in ET.fromstring(benign).iter()]
