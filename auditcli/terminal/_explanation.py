"""An explanation in the terminal. Public names: `show_explanation`, `show_step`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from auditcli.terminal._console import plain, show_list, show_table

if TYPE_CHECKING:
    from pathlib import Path

    from auditcli.explanation import Explanation
    from auditcli.explanation.schema import Intervention


def show_step(console: Console, part: str) -> None:
    """Print what is being looked for now."""
    console.print(Text(f"looking: {plain(part)}", "dim"), soft_wrap=True)


def show_explanation(console: Console, explanation: Explanation, files: Sequence[Path], *, quiet: bool = False) -> None:
    """Print what was found about places, classes and images, and that it is no verdict.

    Args:
        console: On stdout.
        explanation: What to show.
        files: That were written.
        quiet: The three sentences alone.
    """
    from auditcli.explanation import wording

    sentences = wording.summary(explanation)
    if quiet:
        for sentence in sentences:
            console.print(Text(plain(sentence)), soft_wrap=True)
        return
    console.print(Text.assemble((plain(explanation.model.path), "bold"), ": ", plain(explanation.model.architecture)))
    show_list(console, "What it looks for", sentences)
    part = explanation.shortcut
    if part.shortcuts:
        console.print()
        headings = ("class", "row", "column", "score", "evidence there", "turned by its square, elsewhere")
        rows = (
            (
                one.name,
                *(f"{number}-{number + one.place.side - 1}" for number in (one.place.row, one.place.column)),
                f"{one.score:.2f}",
                f"{one.share:.0%}",
                f"{one.turned:.0%}, {one.turned_elsewhere:.0%}",
            )
            for one in part.shortcuts
        )
        show_table(console, headings, rows, prose=headings[4:])
    if part.interventions:
        console.print()
        first = "right" if part.labelled else "answer kept"
        changes = ("images", "row, column", first, "elsewhere", "follow the square")
        show_table(console, changes, map(_change, part.interventions), prose=changes[1:])
    console.print()
    console.print(Text(wording.NO_VERDICT, "italic"))
    for file in files:
        console.print(Text(plain(file)), soft_wrap=True)


def _change(one: Intervention) -> Sequence[str]:
    place = f"{one.place.row}, {one.place.column}" if one.place else ""
    shares = (one.right, one.elsewhere, one.followed)
    return (
        one.what,
        place,
        *(f"{share.value:.0%} ({share.low:.0%}-{share.high:.0%})" if share else "" for share in shares),
    )
