"""The SARIF view against the schema of the standard, and against what GitHub asks for."""

import json
import unicodedata
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from finding_examples import BREACH, WAIVER, hostile_findings, ruled, with_breach
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, FormatChecker
from report_examples import LEVELS, example, hostile, undrawn

from auditcli.report import render, sarif
from auditcli.report.findings import findings
from auditcli.report.text import clean

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "sarif-schema-2.1.0.json").read_text("utf-8"))
VALIDATOR = Draft4Validator(SCHEMA, format_checker=FormatChecker())
GITHUB = {"critical": (9.0, 10.0), "high": (6.99, 8.9), "moderate": (3.99, 6.9), "low": (0.0, 3.9)}
"""Above the first and up to the second: `security-severity` as GitHub reads it."""


def run(text):
    log = json.loads(text)
    VALIDATOR.validate(log)
    return log["runs"][0]


def strings(value):
    match value:
        case dict():
            for key, one in value.items():
                yield from (key, *strings(one))
        case list():
            for one in value:
                yield from strings(one)
        case str():
            yield value


def test_the_schema_is_that_of_the_standard_and_refuses():
    Draft4Validator.check_schema(SCHEMA)
    assert SCHEMA["id"] == sarif.SCHEMA
    assert not VALIDATOR.is_valid({"version": "2.1.0", "runs": [{"tool": {"driver": {}}}]})


@pytest.mark.parametrize("level", LEVELS)
def test_is_valid_and_has_a_result_for_every_finding(level):
    report = example(level)
    made = run(render(report, "sarif"))
    rules = made["tool"]["driver"]["rules"]
    found = findings(report)
    assert [result["ruleId"] for result in made["results"]] == [one.id for one in found]
    assert {rule["id"] for rule in rules} == {one.id for one in found}
    for result, one in zip(made["results"], found, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"] == one.text
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == report.model.path
        assert result["kind"] == "fail"


@pytest.mark.parametrize(
    ("level", "first", "severity"),
    [
        ("critical", "PA001", "error"),
        ("high", "PA002", "error"),
        ("moderate", "PA004", "warning"),
        ("low", "PA002", "note"),
        ("inconclusive", "PA106", "error"),
    ],
)
def test_the_level_is_that_of_the_finding(level, first, severity):
    made = run(render(example(level), "sarif"))
    assert (made["results"][0]["ruleId"], made["results"][0]["level"]) == (first, severity)
    gaps = [result for result in made["results"] if result["ruleId"].startswith("PA2")]
    assert gaps
    assert {result["level"] for result in gaps} == {"note"}


@pytest.mark.parametrize("level", ["critical", "high", "moderate", "low"])
def test_the_score_of_a_leak_is_in_the_band_of_its_level(level):
    report = example(level)
    rules = {rule["id"]: rule["properties"] for rule in run(render(report, "sarif"))["tool"]["driver"]["rules"]}
    for one in findings(report):
        score = rules[one.id].get("security-severity")
        assert (score is not None) == (one.rule.kind == "leak")
        if score is not None:
            above, most = GITHUB[one.level]
            assert above < float(score) <= most


def test_a_doubt_beside_a_finding_is_a_warning():
    report = example("critical")
    doubt = report.verdict.reasons[0].model_copy(update={"id": "PA113", "level": "inconclusive"})
    verdict = report.verdict.model_copy(update={"reasons": (*report.verdict.reasons, doubt)})
    made = run(render(report.model_copy(update={"verdict": verdict}), "sarif"))
    assert {result["level"] for result in made["results"] if result["ruleId"] == "PA113"} == {"warning"}


def test_fingerprints_stay_and_differ():
    now = run(render(example("critical"), "sarif"))["results"]
    later = run(render(example("high"), "sarif"))["results"]
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in now]
    assert len(set(prints)) == len(prints)
    shared = {result["ruleId"]: result["partialFingerprints"] for result in later}
    both = [result for result in now if result["ruleId"] in {"PA004", "PA006"} & set(shared)]
    assert both
    assert all(result["partialFingerprints"] == shared[result["ruleId"]] for result in both)


def test_two_findings_of_one_rule_are_two_alerts():
    twice = (findings(example("critical"))[0],) * 2
    made = run(sarif.render(example("critical"), twice))["results"]
    assert made[0]["partialFingerprints"] != made[1]["partialFingerprints"]


def test_a_waived_finding_is_suppressed_and_a_breach_is_an_error(monkeypatch):
    report = example("critical")
    made = run(sarif.render(report, ruled(report, with_breach(monkeypatch))))
    leaks = [result for result in made["results"] if result["ruleId"].startswith("PA0")]
    assert len(leaks) == 3
    for result in leaks:
        assert result["suppressions"] == [{"kind": "external", "status": "accepted", "justification": WAIVER}]
    others = [result for result in made["results"] if not result["ruleId"].startswith("PA0")]
    assert not any("suppressions" in result for result in others)
    assert (others[-1]["ruleId"], others[-1]["level"]) == (BREACH, "error")


def test_the_file_and_its_hash_are_named():
    report = example("critical")
    first, *images = run(render(report, "sarif"))["artifacts"]
    assert first["hashes"] == {"sha-256": report.model.sha256}
    assert first["roles"] == ["analysisTarget"]
    assert [artifact["location"]["description"]["text"] for artifact in images] == ["members", "controls"]


def test_execution_was_successful_only_where_nothing_failed():
    failed = run(render(example("critical"), "sarif"))["invocations"][0]
    assert failed["executionSuccessful"] is False
    assert "became NaN" in failed["toolExecutionNotifications"][0]["message"]["text"]
    report = example("critical")
    whole = report.model_copy(
        update={
            "attacks": tuple(one for one in report.attacks if one.status != "failed"),
            "membership": tuple(one for one in report.membership if one.status != "failed"),
        }
    )
    assert run(render(whole, "sarif"))["invocations"][0]["executionSuccessful"] is True
    interrupted = run(render(whole.model_copy(update={"interrupted": True}), "sarif"))["invocations"][0]
    assert interrupted["executionSuccessful"] is False


def test_the_category_is_the_model_and_the_run_its_time():
    details = run(render(example("low"), "sarif"))["automationDetails"]["id"]
    assert details == "privaudit/thumbnails-mlp.safetensors/2026-03-02T09:23:17Z"


@settings(max_examples=25, deadline=None)
@given(st.text(st.sampled_from("[]()/:%?#{}\\\"'<>&\x00\x1b\n\r\u202e a.b"), max_size=25) | st.text(max_size=25))
def test_whatever_a_stranger_wrote_is_shown_and_does_nothing(text):
    made = run(sarif.render(undrawn(hostile(text)), hostile_findings(text)))
    for one in strings(made):
        assert not any(
            unicodedata.category(character) in {"Cc", "Cs"} for character in one.replace("\n\n", "").rstrip()
        )
    messages = [result["message"] for result in made["results"]]
    messages += made["invocations"][0].get("toolExecutionNotifications", ())
    assert "](" not in " ".join(strings(messages))
    for artifact in made["artifacts"]:
        uri = artifact["location"]["uri"]
        assert uri.isascii()
        assert unquote(uri) == clean(text)
        assert urlsplit(uri)[:2] == ("", "")
        assert "/" not in uri
