"""`privaudit render`: a report in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditcli import destination, policy, terminal
from auditcli.options import FORMATS, ReportPath, View


def render(
    report: ReportPath,
    format: Annotated[View, typer.Option("--format", "-f", metavar="NAME", help=f"What to make: {FORMATS}.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout.")] = None,
) -> int:
    """Render a report again from its JSON; needs no model and no torch."""
    from auditcli.report import read
    from auditcli.report import render as render_report

    text = render_report(read(report), format.value)
    if output is None:
        terminal.write(text)
    else:
        destination.write_text(output, text)
    return policy.PASSED
