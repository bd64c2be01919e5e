"""`privaudit render`: a report in another format, with less in it if asked for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli import destination, policy, terminal
from auditcli.errors import UsageError
from auditcli.options import FORMATS, ReportPath, View

if TYPE_CHECKING:
    from auditcli.report.schema import Report


class Less(StrEnum):
    """What may become of the pictures of a report that is there already."""

    BLURRED = "blurred"
    NONE = "none"


def render(
    report: ReportPath,
    format: Annotated[View, typer.Option("--format", "-f", metavar="NAME", help=f"What to make: {FORMATS}.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout.")] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Show no picture at all and no file name.")] = False,
    reconstructions: Annotated[
        Less | None,
        typer.Option("--reconstructions", help="Blur them or leave them out; members and controls are left out too."),
    ] = None,
    hash_names: Annotated[
        bool, typer.Option("--hash-names", help="Ids for file names; random ones, which nobody can look up.")
    ] = False,
) -> int:
    """Render a report again from its JSON, with less in it if asked for; needs no model and no torch."""
    from auditcli.report import read
    from auditcli.report import render as render_report

    if redact and reconstructions is Less.BLURRED:
        raise UsageError("--reconstructions blurred and --redact contradict each other", hint="give one of them")
    if reconstructions is Less.BLURRED and format is not View.HTML:
        raise UsageError(
            f"--format {format.value} holds no pictures, and blurred ones are written nowhere else",
            hint="--format html --reconstructions blurred, or --reconstructions none",
        )
    pictures = Less.NONE if redact else reconstructions
    text = render_report(_reduced(read(report), pictures, hash_names=hash_names or redact), format.value)
    if output is None:
        terminal.write(text)
    else:
        destination.write_text(output, text)
    return policy.PASSED


def _reduced(report: Report, pictures: Less | None, *, hash_names: bool) -> Report:
    """The report with so much less in it than it has."""
    from auditcli.report.redaction import redact

    asked: dict[str, object] = {"names": "hashed"} if hash_names else {}
    if pictures is not None:
        asked |= {"reconstructions": "blurred" if pictures is Less.BLURRED else "left out", "images": False}
    return redact(report, report.redaction.model_copy(update=asked)) if asked else report
