"""`privaudit card`: the privacy part of a model card."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from auditcli import destination, policy, terminal
from auditcli.errors import UsageError


def card(
    context: typer.Context,
    readme: Annotated[Path, typer.Argument(metavar="README.md", help="The model card.")],
    report: Annotated[
        Path | None, typer.Option("--report", metavar="REPORT.json", help="What `privaudit scan` wrote.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where it is stale.")] = False,
    metadata: Annotated[
        bool | None,
        typer.Option(
            "--metadata/--no-metadata", help="The result in its YAML, or none; unless said, where it has YAML."
        ),
    ] = None,
    gallery: Annotated[
        str | None,
        typer.Option("--gallery", metavar="DIR", help="Show the reconstructions, from this folder beside the card."),
    ] = None,
    include_images: Annotated[
        bool, typer.Option("--include-images", help="With --gallery: show members and controls too.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take out what this command has written.")] = False,
) -> int:
    """Write or refresh the privacy section of a model card."""
    from auditcli.report import read
    from auditcli.report.card import refreshed, removed

    _require_sense(report, gallery, include_images, remove)
    before = destination.read_text(readme)
    home = readme.resolve().parent
    if report is None:
        draft = removed(before, home)
    else:
        draft = refreshed(before, home, read(report), metadata=metadata, gallery=gallery, originals=include_images)
    for note in draft.notes:
        terminal.stderr().print(f"note: {terminal.plain(note)}", soft_wrap=True, markup=False)
    if not draft.stale:
        return policy.PASSED
    if check:
        parts = " and ".join(draft.stale)
        words = [word for word in context.obj if word != "--check"]
        stale = f"{readme} is stale: {report or 'its removal'} asks for another {parts}"
        terminal.show_error(terminal.stderr(), stale, f"privaudit {shlex.join(words)}")
        return policy.BROKEN
    draft.pictures.write()
    destination.write_text(readme, draft.text)
    draft.pictures.clear()
    return policy.PASSED


def _require_sense(report: Path | None, gallery: str | None, include_images: bool, remove: bool) -> None:
    if remove and report is not None:
        raise UsageError("--remove takes out what was written, and needs no --report", hint="privaudit card --help")
    if not remove and report is None:
        raise UsageError("Missing option '--report': what the card is to say", hint="privaudit card --help")
    if include_images and gallery is None:
        raise UsageError("--include-images shows images, and needs --gallery DIR", hint="privaudit card --help")
