"""What exit code a report earns. Public names: `exit_code`, `FailOn`, and the codes by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from auditcli.report.schema import Report

PASSED: Final = 0
"""Audited, and the policy holds."""
BROKEN: Final = 1
"""Audited, and the policy is broken."""
UNUSABLE: Final = 2
"""Usage, or an input that is unreadable, refused or unsupported."""
INCONCLUSIVE: Final = 3
"""Nothing could be established."""
OUR_BUG: Final = 70
"""An exception that nobody raised on purpose."""
INTERRUPTED: Final = 130
"""Interrupted by the user; what was known by then is in the report."""

FailOn = Literal["low", "moderate", "high", "critical", "never"]

_ORDER: Final = ("none-detected", "low", "moderate", "high", "critical")


def exit_code(report: Report, fail_on: FailOn) -> int:
    """The exit code for a report under the policy "fail at this level or worse".

    An interrupted or inconclusive audit never passes, not even with `never`: it is no answer.

    Args:
        report: A finished or interrupted audit.
        fail_on: The mildest level that breaks the policy; with `never` no level does.

    Returns:
        `PASSED`, `BROKEN`, `INCONCLUSIVE` or `INTERRUPTED`.
    """
    if report.interrupted:
        return INTERRUPTED
    if report.verdict.level == "inconclusive":
        return INCONCLUSIVE
    if fail_on != "never" and _ORDER.index(report.verdict.level) >= _ORDER.index(fail_on):
        return BROKEN
    return PASSED
