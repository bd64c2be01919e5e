"""The release checklist: a box is ticked where the report supports it, and nowhere else."""

import re
from typing import NamedTuple

import pytest
from finding_examples import WAIVER, hostile_findings, ruled, with_breach
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import LEVELS, example, hostile, undrawn
from test_render_markdown import structure

from auditcli.report import checklist, render
from auditcli.report.findings import findings
from auditcli.report.text import clean

BOX = re.compile(r"^- \[(?P<tick>[ x])\] \*\*(?P<claim>.+?)\*\*(?: \*\((?P<state>.+?)\)\*)?(?:: (?P<evidence>.*))?$")
ABSENT = "What was looked for"
PERSONAL = "What only a person can confirm"


class Line(NamedTuple):
    ticked: bool
    state: str | None
    evidence: str | None


def boxes(text, section=None):
    """The boxes by their claims, of one section or of all but the decision."""
    found = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        if title == "Decision" or (section and title != section):
            continue
        for line in body.splitlines():
            if line.startswith("- "):
                match = BOX.match(line)
                assert match, line
                found.setdefault(match["claim"], Line(match["tick"] == "x", match["state"], match["evidence"]))
    assert found
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_every_box_has_a_reason_to_be_open_or_evidence(level):
    for claim, box in boxes(render(example(level), "checklist")).items():
        assert not (box.ticked and box.state), claim
        if box.ticked:
            assert box.evidence, claim


@pytest.mark.parametrize("level", LEVELS)
def test_what_only_a_person_knows_is_never_ticked(level):
    personal = boxes(render(example(level), "checklist"), PERSONAL)
    assert "Nobody is harmed by being known as part of the training set" in personal
    assert ("The members were drawn at random from the training data" in personal) == (level != "inconclusive")
    assert not any(box.ticked for box in personal.values())
    assert personal["activation is relu"].state == "assumed, PA205"


def test_absences_are_ticked_where_controls_back_them():
    absent = boxes(render(example("none-detected"), "checklist"), ABSENT)
    ticks = {claim: box.ticked for claim, box in absent.items()}
    assert ticks == {
        "No training image was recovered on its own": False,
        "What was reconstructed does not resemble the training images as a group": True,
        "Members cannot be told from controls by the signals that ran": True,
        "The weights alone show no small training set kept in them": True,
    }
    assert absent["No training image was recovered on its own"].evidence == "too few controls to flag a single image"
    assert "AUC 0.508" in absent["Members cannot be told from controls by the signals that ran"].evidence


def test_enough_controls_tick_the_single_image():
    report = example("none-detected")
    controls = report.controls.model_copy(update={"controls_to_flag_one": 400})
    made = boxes(render(report.model_copy(update={"controls": controls}), "checklist"))
    assert made["No training image was recovered on its own"].ticked
    assert made["A single leaked image could have been flagged on its own"].ticked


def test_no_absence_without_a_positive_control_that_passed():
    report = example("none-detected")
    failed = tuple(one.model_copy(update={"passed": False}) for one in report.controls.positive)
    for positive in ((), failed):
        controls = report.controls.model_copy(update={"positive": positive})
        made = boxes(render(report.model_copy(update={"controls": controls}), "checklist"), ABSENT)
        assert not any(box.ticked for box in made.values())


@pytest.mark.parametrize("level", ["critical", "inconclusive"])
def test_no_absence_is_ticked_where_there_is_a_leak_or_no_answer(level):
    absent = boxes(render(example(level), "checklist"), ABSENT)
    assert not any(box.ticked for box in absent.values())
    found = {claim: box.state for claim, box in absent.items()}
    expected = "found" if level == "critical" else "not established"
    assert found["No training image was recovered on its own"] == expected


def test_no_absence_is_ticked_where_the_figures_say_otherwise_without_an_id():
    report = example("critical")
    bare = tuple(reason.model_copy(update={"id": ""}) for reason in report.verdict.reasons)
    verdict = report.verdict.model_copy(update={"reasons": bare})
    controls = report.controls.model_copy(update={"controls_to_flag_one": 400})
    old = report.model_copy(update={"verdict": verdict, "controls": controls})
    assert {box.state for box in boxes(render(old, "checklist"), ABSENT).values()} == {"found"}


def test_an_interrupted_audit_ticks_no_absence():
    made = boxes(render(example("none-detected", interrupted=True), "checklist"))
    assert not made["The audit ran to its end"].ticked
    assert not any(
        box.ticked for box in boxes(render(example("none-detected", interrupted=True), "checklist"), ABSENT).values()
    )


def test_the_clock_leaves_its_boxes_open():
    report = example("none-detected")
    timed = report.model_copy(update={"budget": report.budget.model_copy(update={"stopped_by": "seconds"})})
    made = boxes(render(timed, "checklist"))
    assert not made["The audit ran to its end"].ticked
    assert not made["The same command gives the same figures"].ticked


def test_what_did_not_run_is_shown_as_such():
    tried = boxes(render(example("critical"), "checklist"), "What was tried")
    assert tried["The attack deep_inversion ran and was compared"].state == "not tried, PA201"
    assert tried["The attack diffusion_prior ran and was compared"].state == "failed, PA202"
    assert tried["The signal label_only was measured"].state == "failed, PA204"
    assert tried["The attack kkt ran and was compared"].ticked
    unscored = boxes(render(example("inconclusive"), "checklist"), "What was tried")
    assert unscored["The attack kkt ran and was compared"].state == "not established"


def test_members_of_another_kind_are_found():
    report = example("none-detected")
    blind = report.comparability.blind.model_copy(update={"p_value": 1e-6})
    odd = report.model_copy(update={"comparability": report.comparability.model_copy(update={"blind": blind})})
    claim = "Members and controls cannot be told apart without the model"
    assert boxes(render(odd, "checklist"))[claim].state == "found"
    weak = report.comparability.model_copy(update={"has_power": False})
    few = report.model_copy(update={"comparability": weak})
    assert boxes(render(few, "checklist"))[claim].state == "not established"


def test_every_leak_and_doubt_waits_for_a_decision(monkeypatch):
    report = example("critical")
    decide = "Findings to decide on"
    open_ones = boxes(render(report, "checklist"), decide)
    assert {claim[:5] for claim in open_ones} == {one.id for one in findings(report) if one.rule.kind != "gap"}
    assert not any(box.ticked for box in open_ones.values())
    made = boxes(checklist.render(report, ruled(report, with_breach(monkeypatch))), decide)
    first = made["PA001 Training images were individually recovered"]
    assert (first.ticked, first.state) == (False, "waived")
    assert first.evidence.startswith(WAIVER)
    assert made["PA399 A demand is not met"].state == "found"


@pytest.mark.parametrize("level", LEVELS)
def test_names_the_file_its_hash_and_how_to_check_it(level):
    report = example(level)
    text = render(report, "checklist")
    assert f"sha256 {report.model.sha256}; `privaudit verify report.json --model {report.model.path}`" in text
    assert f"`{report.manifest.command}`" in text


@settings(max_examples=25, deadline=None)
@given(st.text(st.sampled_from("\\`*_[]()#~$|!<>&;:-+=.1x \n\ta\"'"), max_size=25).filter(clean))
def test_no_text_changes_the_boxes(text):
    said = checklist.render(undrawn(hostile(text)), hostile_findings(text))
    benign = checklist.render(undrawn(hostile("benign")), hostile_findings("benign"))
    assert [one for one in structure(said) if "code" not in one] == [
        one for one in structure(benign) if "code" not in one
    ]
    assert re.findall(r"^- \[[ x]\]", said, re.MULTILINE) == re.findall(r"^- \[[ x]\]", benign, re.MULTILINE)
