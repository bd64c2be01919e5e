"""Annotations as GitHub's runner reads them, and the page of a step."""

import re
from itertools import pairwise

import pytest
from finding_examples import WAIVER, hostile_findings, ruled, with_breach
from hypothesis import example as sample
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import LEVELS, example, hostile, undrawn
from test_render_markdown import columns, structure

from auditcli.report import github, render, step_summary
from auditcli.report.findings import Finding, findings
from auditcli.report.text import clean

COMMAND = re.compile(r"::(error|warning|notice) title=([^:,\r\n]+)::([^\r\n]*)")
LIMIT = 1024 * 1024


def unescaped(text):
    for code, character in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, character)
    return text


def annotations(text):
    """Level, title and message of every line, as the runner takes them apart."""
    assert text.endswith("\n")
    read = [COMMAND.fullmatch(line) for line in text[:-1].split("\n")]
    assert None not in read
    return [(one[1], unescaped(one[2]), unescaped(one[3])) for one in read]


@pytest.mark.parametrize(
    ("level", "command"),
    [
        ("none-detected", "notice"),
        ("low", "notice"),
        ("moderate", "warning"),
        ("high", "error"),
        ("critical", "error"),
        ("inconclusive", "error"),
    ],
)
def test_the_verdict_is_as_loud_as_it_is_bad(level, command):
    report = example(level)
    read = annotations(render(report, "github"))
    verdict = next(one for one in read if one[1].startswith("privaudit: "))
    assert (verdict[0], verdict[2]) == (command, report.verdict.headline)


@pytest.mark.parametrize("level", LEVELS)
def test_every_finding_is_said_and_the_worst_come_first(level):
    report = example(level)
    read = annotations(render(report, "github"))
    assert {(one.id, one.text) for one in findings(report)} <= {(title[:5], text) for _, title, text in read}
    order = ["error", "warning", "notice"]
    assert all(order.index(one[0]) <= order.index(next_one[0]) for one, next_one in pairwise(read))


def test_an_interrupted_audit_is_an_error():
    first = annotations(render(example("none-detected", interrupted=True), "github"))[0]
    assert first[0] == "error"
    assert first[2].startswith("The audit was interrupted.")


def test_of_each_kind_no_more_than_github_shows():
    many = tuple(Finding("PA205", f"Assumed: {number}.", "none-detected", str(number)) for number in range(40))
    read = annotations(github.render(example("critical"), (*findings(example("critical"))[:2], *many)))
    notices = [one for one in read if one[0] == "notice"]
    assert len(notices) == github.MOST
    assert notices[-1][2].startswith("31 more of this kind")
    assert len([one for one in read if one[0] == "error"]) == 3


def test_waived_is_a_notice_and_a_breach_an_error(monkeypatch):
    report = example("critical")
    read = annotations(github.render(report, ruled(report, with_breach(monkeypatch))))
    waived = [one for one in read if one[1].startswith("PA001")]
    assert waived[0][:2] == ("notice", "PA001 Training images were individually recovered (waived)")
    assert WAIVER in waived[0][2]
    assert {("error", "PA399 A demand is not met"), ("error", "privaudit: Critical")} <= {one[:2] for one in read}
    passed = annotations(github.render(report, ruled(report)))
    assert {one[0] for one in passed} == {"notice"}
    assert "privaudit: Critical (waived)" in {one[1] for one in passed}
    doubtful = example("inconclusive")
    assert annotations(github.render(doubtful, ruled(doubtful, waive="doubt")))[0][:2] == (
        "error",
        "privaudit: Inconclusive",
    )


@settings(max_examples=50, deadline=None)
@given(st.text(st.sampled_from(":,%\r\n \x85\u2028:error::25%3A"), max_size=30) | st.text(max_size=30))
@sample("%3A 100%25 %0A::error::")
def test_a_stranger_gives_no_commands(text):
    read = annotations(github.render(undrawn(hostile(text)), hostile_findings(text)))
    said = {title.split()[0]: text for _, title, text in read}
    assert len(read) == len(said) == 4
    assert said["privaudit:"] == said["PA001"] == said["PA106"] == clean(text)


# ---- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_the_page_has_verdict_findings_gaps_and_command(level):
    report = example(level)
    text = render(report, "summary")
    for said in (report.verdict.headline, report.model.sha256, f"`{report.manifest.command}`"):
        assert said in text
    told = {one.id for one in findings(report)} - {"PA201", "PA202", "PA203", "PA204"}
    assert told == set(re.findall(r"^\| \*\*(PA\d+)\*\*", text, re.MULTILINE))
    assert "- **attack deep\\_inversion**: skipped: needs batch norm" in text.replace("deep_inv", "deep\\_inv")
    assert all(len(set(table)) == 1 for table in columns(text))


def test_the_page_shows_waivers_and_interruption(monkeypatch):
    report = example("critical", interrupted=True)
    text = step_summary.render(report, ruled(report, with_breach(monkeypatch)))
    assert "**The audit was interrupted**" in text
    assert "individually recovered | waived |" in text
    assert f"Waived: {WAIVER}" in text
    assert "| **PA399** A demand is not met | error |" in text


@pytest.mark.parametrize("character", ["x", "<", "|", "é", "\U0001f600"])
def test_the_page_is_never_too_large_for_github(character):
    long = character * 30_000
    report = undrawn(hostile(long))
    many = tuple(Finding("PA205", long, "none-detected", long, long) for _ in range(200))
    crowded = report.model_copy(
        update={
            "attacks": report.attacks * 40,
            "membership": tuple(one.model_copy(update={"status": "failed"}) for one in report.membership) * 40,
            "verdict": report.verdict.model_copy(update={"next_steps": (long,) * 200, "mitigations": (long,) * 200}),
        }
    )
    text = step_summary.render(crowded, many)
    assert len(text.encode()) < LIMIT
    assert "150 more findings stand in `report.json`" in text


@settings(max_examples=25, deadline=None)
@given(st.text(st.sampled_from("\\`*_[]()#~$|!<>&;:-+=.1 \n\ta\"'"), max_size=25).filter(clean))
def test_no_text_changes_the_page(text):
    said = step_summary.render(undrawn(hostile(text)), hostile_findings(text))
    benign = step_summary.render(undrawn(hostile("benign")), hostile_findings("benign"))
    assert structure(said) == structure(benign)
    assert columns(said) == columns(benign)
