"""The exit code as a function of the report and the level that is not allowed."""

from datetime import date

import pytest
from cli_sample import sample_report

from auditcli import policy
from auditcli.gate import Policy, rule

LEVELS = ["none-detected", "low", "moderate", "high", "critical"]


def exit_code(report, fail_on):
    ruling = rule(report, Policy(fail_on=fail_on), today=date(2026, 1, 2))
    return policy.exit_code(ruling, interrupted=report.interrupted)


@pytest.mark.parametrize("fail_on", ["low", "moderate", "high", "critical"])
@pytest.mark.parametrize("level", LEVELS)
def test_fails_from_its_level_on(level, fail_on):
    expected = 1 if LEVELS.index(level) >= LEVELS.index(fail_on) else 0
    assert exit_code(sample_report(level), fail_on) == expected


@pytest.mark.parametrize("level", LEVELS)
def test_never_fails_at_no_level(level):
    assert exit_code(sample_report(level), "never") == 0


@pytest.mark.parametrize("fail_on", ["low", "high", "never"])
@pytest.mark.parametrize("level", [*LEVELS, "inconclusive"])
def test_an_interrupted_audit_is_no_answer(level, fail_on):
    assert exit_code(sample_report(level, interrupted=True), fail_on) == 130


@pytest.mark.parametrize("level", LEVELS)
def test_an_interrupted_report_passes_at_no_later_day_either(level):
    ruling = rule(sample_report(level, interrupted=True), Policy(fail_on="never"), today=date(2026, 1, 2))
    assert policy.exit_code(ruling) == 3


@pytest.mark.parametrize("fail_on", ["low", "high", "never"])
def test_inconclusive_never_passes(fail_on):
    assert exit_code(sample_report("inconclusive"), fail_on) == 3


def test_codes_are_those_that_are_documented():
    codes = (policy.PASSED, policy.BROKEN, policy.UNUSABLE, policy.INCONCLUSIVE, policy.OUR_BUG, policy.INTERRUPTED)
    assert codes == (0, 1, 2, 3, 70, 130)
