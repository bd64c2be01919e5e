"""The exit code as a function of the report and the policy."""

import pytest
from cli_sample import sample_report

from auditcli import policy

LEVELS = ["none-detected", "low", "moderate", "high", "critical"]


@pytest.mark.parametrize("fail_on", ["low", "moderate", "high", "critical"])
@pytest.mark.parametrize("level", LEVELS)
def test_fails_from_its_level_on(level, fail_on):
    expected = 1 if LEVELS.index(level) >= LEVELS.index(fail_on) else 0
    assert policy.exit_code(sample_report(level), fail_on) == expected


@pytest.mark.parametrize("level", LEVELS)
def test_never_fails_at_no_level(level):
    assert policy.exit_code(sample_report(level), "never") == 0


@pytest.mark.parametrize("fail_on", ["low", "high", "never"])
@pytest.mark.parametrize("level", [*LEVELS, "inconclusive"])
def test_an_interrupted_audit_is_no_answer(level, fail_on):
    assert policy.exit_code(sample_report(level, interrupted=True), fail_on) == 130


@pytest.mark.parametrize("fail_on", ["low", "high", "never"])
def test_inconclusive_never_passes(fail_on):
    assert policy.exit_code(sample_report("inconclusive"), fail_on) == 3


def test_codes_are_those_that_are_documented():
    codes = (policy.PASSED, policy.BROKEN, policy.UNUSABLE, policy.INCONCLUSIVE, policy.OUR_BUG, policy.INTERRUPTED)
    assert codes == (0, 1, 2, 3, 70, 130)
