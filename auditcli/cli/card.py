"""`privaudit card`: the privacy section of a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditcli import destination, policy, terminal


def card(
    readme: Annotated[Path, typer.Argument(metavar="README.md", help="The model card.")],
    report: Annotated[Path, typer.Option("--report", metavar="REPORT.json", help="What `privaudit scan` wrote.")],
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where it is stale.")] = False,
) -> int:
    """Write or refresh the privacy section of a model card."""
    from auditcli.report import read
    from auditcli.report.card import refresh

    before = destination.read_text(readme)
    after = refresh(before, read(report))
    if after == before:
        return policy.PASSED
    if check:
        stale = f"the privacy section of {readme} is stale: {report} says something else"
        terminal.show_error(terminal.stderr(), stale, f"privaudit card {readme} --report {report}")
        return policy.BROKEN
    destination.write_text(readme, after)
    return policy.PASSED
