"""What an audit can establish, in the terminal. Public names: `show_plan`, `show_prospect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from auditcli.terminal._console import grid_of, plain, show_list, show_table

if TYPE_CHECKING:
    from auditcli import types

_LIMITS = 2
"""Limits of an audit that are said before it starts."""


def show_prospect(console: Console, plan: types.Plan) -> None:
    """Print, before an audit, the levels it can give and its worst limits; `show_plan` prints all."""
    images = f"{plan.n_members:,} members, {plan.n_controls:,} controls"
    grid = grid_of(2, gap=1)
    grid.add_row(Text("plan:", "bold"), Text(f"{images}; levels that can be given: {', '.join(plan.levels)}"))
    for sentence in plan.sentences[:_LIMITS]:
        grid.add_row("", Text(plain(sentence), "dim"))
    console.print(grid)


def show_plan(console: Console, plan: types.Plan) -> None:
    """Print what an audit can establish at best, a line a test, then the limits in sentences."""
    known = (
        ("members", f"{plan.n_members:,}"),
        ("controls", f"{plan.n_controls:,}"),
        ("levels", ", ".join(plan.levels)),
        ("flagged", _members(plan.flagged_together) + f"; a single one takes {plan.controls_to_flag_one:,} controls"),
        (
            "recovered",
            _members(plan.recovered_together) + " above every control, for a significant test",
        ),
        ("rates", _rates(plan)),
    )
    grid = grid_of(2)
    for name, value in known[: 3 if plan.without_images else None]:
        grid.add_row(Text(name, "bold"), Text(value))
    console.print(grid)
    if plan.tests:
        console.print()
        headings = ("test", "members", "controls", "least p", "significant", "AUC at 80% power")
        show_table(console, headings, map(_test, plan.tests))
    show_list(console, "Limits", plan.sentences)


def _test(test: types.PlannedTest) -> tuple[str, ...]:
    return (
        test.name,
        f"{test.n_members:,}",
        f"{test.n_controls:,}",
        f"{test.least_p:.1g}",
        "possible" if test.significant else "never",
        "-" if test.detectable_auc is None else f"{test.detectable_auc:.2f}",
    )


def _members(number: int | None) -> str:
    return "no number of members" if number is None else "1 member" if number == 1 else f"{number:,} members together"


def _rates(plan: types.Plan) -> str:
    shown = (
        f"{100 * rate:g}%" + ("" if rate in plan.bounded_rates else " (no lower bound)") for rate in plan.resolved_rates
    )
    return f"true-positive rate at {', '.join(shown) or 'no rate of'} false positives"
