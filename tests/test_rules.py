"""The catalogue of findings, and what a report makes of it."""

import re

import pytest
from report_examples import LEVELS, example

from auditcli.report.findings import findings
from auditcli.rules import RULES, Id

KINDS = {"PA0": "leak", "PA1": "doubt", "PA2": "gap", "PA3": "breach"}


def test_every_id_has_one_rule_under_its_own_name():
    assert set(RULES) == {id.value for id in Id}
    assert all(rule.id.value == id for id, rule in RULES.items())
    assert len({rule.name for rule in RULES.values()}) == len(RULES)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id.value)
def test_a_rule_says_what_it_means_and_what_to_do(rule):
    assert KINDS[rule.id[:3]] == rule.kind
    assert re.fullmatch(r"([A-Z][a-z]+)+", rule.name)
    assert not rule.title.endswith(".")
    assert rule.meaning.endswith(".")
    assert rule.action.endswith(".")


@pytest.mark.parametrize("level", LEVELS)
def test_the_worst_finding_has_the_level_of_the_verdict(level):
    report = example(level)
    found = [finding for finding in findings(report) if finding.rule.kind != "gap"]
    if level != "none-detected":
        assert found[0].level == level
    assert [finding.text for finding in found] == [r.text for r in report.verdict.reasons if r.id]


def test_what_did_not_run_and_what_was_assumed_are_gaps():
    report = example("critical")
    gaps = {(finding.id, finding.subject) for finding in findings(report) if finding.rule.kind == "gap"}
    skipped = {attack.name for attack in report.attacks if attack.status == "skipped"}
    assert {(Id.ATTACK_NOT_RUN, name) for name in skipped} <= gaps
    assert {(Id.ASSUMED, assumption.what) for assumption in report.model.assumptions} <= gaps
    assert skipped


def test_a_fingerprint_is_that_of_the_finding_and_not_of_its_figures():
    one, other = findings(example("high")), findings(example("moderate"))
    same = {finding.fingerprint for finding in one} & {finding.fingerprint for finding in other}
    assert same
    assert len({finding.fingerprint for finding in one}) == len({(f.id, f.subject) for f in one})
