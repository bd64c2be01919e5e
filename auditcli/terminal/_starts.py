"""An initialisation check in the terminal. Public name: `show_starts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from auditcli.terminal._console import grid_of, plain, show_list, show_table

if TYPE_CHECKING:
    from auditcli.initialisation import Arrival, InitialisationCheck, Scores


def show_starts(console: Console, found: InitialisationCheck) -> None:
    """Print where an attack came to from each start, a line a start, then what that says about evidence."""
    known = (
        ("attack", f"{plain(found.attack)}, {found.candidates:,} candidates from each start, seed {found.seed}"),
        ("scored by", f"{found.members:,} members, {found.controls:,} controls" if found.members else "nothing"),
    )
    grid = grid_of(2)
    for name, value in known:
        grid.add_row(Text(name, "bold"), Text(value))
    console.print(grid)
    console.print()
    scored = any(arrival.after is not None for arrival in found.arrivals)
    headings = ("start", "objective", "stayed", "as from noise", *(("nearer", "found") if scored else ()))
    show_table(console, headings, (_row(arrival, scored=scored) for arrival in found.arrivals))
    if scored:
        note = (
            "nearer: share nearer to a member than to every control, and by chance; found: at SSIM 0.5, with controls"
        )
        console.print(Text(note, "dim"))
    show_list(console, "What that says", found.sentences)


def _row(arrival: Arrival, *, scored: bool) -> tuple[str, ...]:
    if arrival.failed:
        return (arrival.start, "failed", *("-",) * (4 if scored else 2))
    own = arrival.shared[0]
    return (
        arrival.start,
        f"{arrival.objective:.3f}",
        f"{arrival.stayed:.0%}",
        "-" if own is None else f"{own:.0%}",
        *(_scores(arrival.after) if scored else ()),
    )


def _scores(scores: Scores | None) -> tuple[str, str]:
    if scores is None:
        return "-", "-"
    return f"{scores.nearer:.0%} ({scores.expected:.0%})", f"{scores.members_over_half} ({scores.controls_over_half})"
