"""A ruling of the gate in the terminal. Public name: `show_ruling`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from auditcli.terminal._console import plain, show_list, show_table

if TYPE_CHECKING:
    from auditcli.gate import Ruling
    from auditcli.report.findings import Finding

_STYLES = {"met": "cyan", "waived": "yellow", "open": "magenta", "broken": "bold red"}
_MARKS = {"met": "\N{CHECK MARK}", "open": "?", "broken": "\N{MULTIPLICATION X}"}
_WORDS = {"met": "met", "open": "open", "broken": "not met"}
"""In place of the marks where the terminal cannot show them."""
_OUTCOMES = {"passed": "bold cyan", "broken": "bold white on red", "inconclusive": "bold magenta"}


def show_ruling(console: Console, ruling: Ruling, model: str, *, quiet: bool = False) -> None:
    """Print a line for each demand, what is not met, what is waived and why, and the outcome in the last line.

    Args:
        console: On stdout.
        ruling: What to show.
        model: Name of the model it is about.
        quiet: Print the outcome alone, with the ids that brought it about.
    """
    if quiet:
        console.print(Text(" ".join((ruling.outcome, plain(model), *_ids(ruling)))), soft_wrap=True)
        return
    _show_demands(console, ruling)
    breaches = [demand.breach for demand in ruling.demands if demand.breach and demand.status == "broken"]
    show_list(console, "Not met", [f"{_about(breach)}: {breach.text} {breach.rule.action}" for breach in breaches])
    for title, kind in (("Found", "leak"), ("In doubt", "doubt")):
        standing = [finding for finding in ruling.findings if finding.rule.kind == kind and not finding.waived]
        show_list(console, title, [f"{_about(finding)}: {finding.text}" for finding in standing])
    waived = dict.fromkeys(f"{_about(finding)}: {finding.waived}" for finding in ruling.findings if finding.waived)
    show_list(console, "Waived", list(waived))
    console.print()
    style = _OUTCOMES[ruling.outcome]
    console.print(Text.assemble((f" {ruling.outcome.upper()} ", style), " ", _sentence(ruling, plain(model))))


def _show_demands(console: Console, ruling: Ruling) -> None:
    marks = _MARKS if console.encoding.lower().startswith("utf") else _WORDS
    rows = [
        (
            Text(marks.get(demand.status, demand.status), _STYLES[demand.status]),
            *(demand.name, demand.wanted, demand.measured),
        )
        for demand in ruling.demands
    ]
    show_table(console, ("", "demand", "wanted", "found"), rows, prose=("wanted", "found"))


def _about(finding: Finding) -> str:
    return f"{finding.id} {plain(finding.subject)}".rstrip()


def _ids(ruling: Ruling) -> Iterator[str]:
    """Of what is not met, else of the doubts that stand."""
    broken = [demand.breach.id for demand in ruling.demands if demand.breach and demand.status == "broken"]
    doubts = [finding.id for finding in ruling.findings if finding.rule.kind == "doubt" and not finding.waived]
    yield from dict.fromkeys(broken if ruling.outcome == "broken" else doubts if ruling.outcome != "passed" else ())


def _sentence(ruling: Ruling, model: str) -> str:
    number = len(ruling.demands)
    count = {status: sum(demand.status == status for demand in ruling.demands) for status in _STYLES}
    on = f"as of {ruling.today}"
    match ruling.outcome:
        case "broken":
            return f"{model}: {count['broken']} of {number} demands not met, {on}."
        case "inconclusive":
            return f"{model}: this is not a pass, for the audit came to no answer, {on}."
        case "passed":
            waived = f", {count['waived']} of them by a waiver" if count["waived"] else ""
            return f"{model}: all {number} demands met{waived}, {on}."
