"""What exit code a report earns. Public names: `exit_code`, `FailOn`, and the codes by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from auditcli.gate import Ruling

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

_OUTCOMES: Final[Mapping[str, int]] = MappingProxyType(
    {"passed": PASSED, "broken": BROKEN, "inconclusive": INCONCLUSIVE}
)


def exit_code(ruling: Ruling, *, interrupted: bool = False) -> int:
    """The exit code for a ruling.

    Args:
        ruling: From `gate.rule`, which never lets an interrupted or inconclusive audit pass: it is no answer.
        interrupted: The user ended the audit a moment ago, and knows why there is no answer.

    Returns:
        `PASSED`, `BROKEN`, `INCONCLUSIVE`, or `INTERRUPTED` where it was.
    """
    return INTERRUPTED if interrupted else _OUTCOMES[ruling.outcome]
