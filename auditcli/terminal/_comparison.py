"""Two audits side by side, in the terminal. Public names: `show_comparison`, `comparison_text`."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from auditcli.terminal._console import plain, show_list, show_table
from auditcli.terminal._report import STYLES

if TYPE_CHECKING:
    from auditcli.comparison import Comparison
    from auditcli.comparison.schema import Obstacle
    from auditcli.comparison.wording import Row

_MOVED = {"less": "cyan", "more": "bold red"}
_SHORT = {"recovered": "recovered", "similarity": "best SSIM"}
_DIGITS = 12
"""Of a hash, as many as `privaudit verify` shows."""
_WIDTH = 120
"""Of a file, which has none of its own."""


def show_comparison(console: Console, comparison: Comparison) -> None:
    """Print the outcome, what moved, what stands in the way, and the two audits.

    Args:
        console: On stdout.
        comparison: What to show.
    """
    from auditcli.comparison import wording

    words = wording.OUTCOMES[comparison.outcome]
    style = STYLES[words.colour] if words.colour else "bold reverse"
    console.print(Text.assemble((f" {words.word.upper()} ", style), " ", plain(comparison.sentence)))
    show_list(console, "Mind", comparison.caveats)
    main = wording.main_rows(comparison)
    tables = (
        ("figure", [row for row in main if row.change.measure != "auc"]),
        ("AUC", [row for row in main if row.change.measure == "auc"]),
        ("at 1% FPR, points", wording.rate_rows(comparison)),
    )
    for title, rows in tables:
        if rows:
            console.print()
            _show_changes(console, title, rows)
    show_list(console, "Not compared or not tested", wording.absences(comparison))
    show_list(console, "May they be compared?", [_permission(comparison), *map(_obstacle_line, comparison.obstacles)])
    console.print()
    sides = [
        (row.name, *(_brief(row.name, value) for value in (row.old, row.new))) for row in wording.sides(comparison)
    ]
    show_table(console, ("audit", "before", "after"), sides, prose=("before", "after"))


def comparison_text(comparison: Comparison) -> str:
    """The same as plain text, for a file."""
    file = StringIO()
    show_comparison(Console(file=file, width=_WIDTH, no_color=True, highlight=False), comparison)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _brief(name: str, value: str) -> str:
    """The start of a hash: two whole ones are wider than most windows."""
    return value[:_DIGITS] if name == "sha256" else value


def _permission(comparison: Comparison) -> str:
    if not comparison.obstacles:
        return "Yes: images, definitions, budget, settings and version are the same on both sides."
    return "No." if comparison.obstacles[0].severity == "forbids" else "Yes, with this in mind:"


def _obstacle_line(obstacle: Obstacle) -> str:
    return f"{obstacle.what}: {obstacle.old} before, {obstacle.new} after. {obstacle.why}"


def _show_changes(console: Console, title: str, rows: Sequence[Row]) -> None:
    tested = any(row.p for row in rows)
    headings = (title, "before", "after", "change (95% interval)", *(("p", "moved") if tested else ()))
    show_table(console, headings, [_cells(row, tested) for row in rows], prose=headings[3:4])


def _cells(row: Row, tested: bool) -> Sequence[str | Text]:
    name = row.change.subject or _SHORT.get(row.change.measure, row.name)
    claims = (row.p or "no test", Text(row.moved, _MOVED.get(row.moved, ""))) if tested else ()
    return (name, row.old, row.new, f"{row.difference} ({row.interval})", *claims)
