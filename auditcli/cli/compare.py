"""`privaudit compare`: what moved between two audits, and whether it is more than chance."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from auditcli import destination, policy, terminal


class ComparisonView(StrEnum):
    """Formats a comparison is written in."""

    TEXT = "text"
    HTML = "html"
    MD = "md"
    JSON = "json"


def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD.json", help="The report before.")],
    new: Annotated[Path, typer.Argument(metavar="NEW.json", help="The report after, of the same images.")],
    format: Annotated[
        ComparisonView | None,
        typer.Option("--format", "-f", help="What to make: text, unless --output names another by its suffix."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout.")] = None,
    fail_on_worse: Annotated[
        bool, typer.Option("--fail-on-worse", help="Exit with 1 where NEW is worse, with 3 where that cannot be told.")
    ] = False,
) -> int:
    """Say what moved between two audits, whether it is more than chance, and whether they may be compared at all."""
    from auditcli.comparison import compare as compare_reports
    from auditcli.comparison import render
    from auditcli.report import read

    comparison = compare_reports(read(old), read(new))
    view = format or _by_suffix(output)
    if view is not ComparisonView.TEXT:
        text = render(comparison, view.value)
        terminal.write(text) if output is None else destination.write_text(output, text)
    elif output is None:
        terminal.show_comparison(terminal.stdout(), comparison)
    else:
        destination.write_text(output, terminal.comparison_text(comparison))
    if not fail_on_worse:
        return policy.PASSED
    if comparison.worse:
        return policy.BROKEN
    return policy.PASSED if comparison.established else policy.INCONCLUSIVE


def _by_suffix(output: Path | None) -> ComparisonView:
    suffix = output.suffix.removeprefix(".").lower() if output else ""
    return ComparisonView(suffix) if suffix in set(ComparisonView) else ComparisonView.TEXT
