"""What an audit of so many images can establish, before it starts. Public name: `planned`.

Images are counted and not read, and where numbers are given nothing heavy is imported.
"""

from __future__ import annotations

from pathlib import Path

from auditcli.plugins import count
from auditcli.scoring.plan import plan
from auditcli.types import Plan


def planned(members: int | Path, controls: int | Path, *, shadows: int = 0, tests: int | None = None) -> Plan:
    """The plan for members and controls that are counted, or lie somewhere.

    Args:
        members: How many, or a folder or `.npz` as `read_sample` takes it.
        controls: The same.
        shadows: Shadow models; any number of them takes half of the controls.
        tests: In one family; the reconstruction test and every signal there is unless given, which is the most that an
            audit corrects for.

    Returns:
        What can be established at best.

    Raises:
        SampleError: images that cannot be counted.
    """
    m, k = _number(members, "members"), _number(controls, "controls")
    family = tests or 1 + count("membership", group="privaudit.membership")
    return plan(m, k, tests=family, shadows=shadows > 0)


def _number(given: int | Path, role: str) -> int:
    if isinstance(given, int):
        return given
    from auditcli.images import count_images  # brings torch

    return count_images(given, role=role)
