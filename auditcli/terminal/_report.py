"""A report in the terminal. Public names: `show_report`, `STYLES`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from auditcli.terminal._console import plain, show_list, show_table

if TYPE_CHECKING:
    from auditcli.report import schema

STYLES = {
    "none-detected": "bold cyan",
    "low": "bold yellow",
    "moderate": "bold dark_orange",
    "high": "bold red",
    "critical": "bold white on red",
    "inconclusive": "bold magenta",
}


def show_report(
    console: Console, report: schema.Report, files: Sequence[Path], *, quiet: bool = False, verbose: bool = False
) -> None:
    """Print the verdict, what was tried, and where the report lies.

    Args:
        console: On stdout.
        report: What to show.
        files: The files written, the most readable one first.
        quiet: Print the level and the first file alone, on one line.
        verbose: Also print assumptions, membership signals, positive controls and mitigations.
    """
    level = Text(f" {report.verdict.level.upper()} ", STYLES[report.verdict.level])
    if quiet:
        console.print(Text(f"{report.verdict.level} {files[0] if files else ''}".strip()), soft_wrap=True)
        return
    console.print(Text.assemble(level, " ", plain(report.verdict.headline)))
    show_list(
        console,
        "Why",
        [reason.text for reason in report.verdict.reasons],
        names=[reason.id for reason in report.verdict.reasons],
    )
    console.print()
    _show_attacks(console, report)
    _show_signals(console, report)
    if verbose:
        _show_details(console, report)
    show_list(console, "Next", report.verdict.next_steps)
    console.print()
    for file in files:
        console.print(Text.assemble(("report  ", "dim"), plain(file)), soft_wrap=True)


def _show_attacks(console: Console, report: schema.Report) -> None:
    """A table of the attacks that were started, and a line for each reason why others were not."""
    started = [attack for attack in report.attacks if attack.status != "skipped"]
    headings = ("attack", "status", "best SSIM", ">= 0.5", "time")
    if started:
        show_table(console, headings, map(_attack, started), prose=("status",))
    _show_absent(console, ((a.name, a.status, a.reason) for a in report.attacks if a.status == "skipped"))


def _show_absent(console: Console, absent: Iterable[tuple[str, str, str]]) -> None:
    """A line for each status and reason, with the names of those that have no result for it."""
    reasons: dict[str, list[str]] = {}
    for name, status, reason in absent:
        reasons.setdefault(f"{status}: {plain(reason)}", []).append(plain(name))
    if reasons:
        console.print()
    for why, names in reasons.items():
        console.print(Text(f"{', '.join(names)} {why}"))


def _attack(attack: schema.Attack) -> tuple[str, ...]:
    found = attack.ssim
    return (
        attack.name + (" (control)" if attack.negative_control else ""),
        attack.status + (f": {attack.reason}" if attack.reason else "") + "".join(map(_figure, attack.figures.items())),
        f"{found.top[0]:.2f}" if found and found.top else "-",
        f"{found.members_over_half} of {found.n_members}" if found else "-",
        f"{attack.seconds:.0f} s" if attack.steps else "-",
    )


def _figure(figure: tuple[str, Sequence[float]]) -> str:
    name, values = figure
    return f"; {name} {sum(values) / max(1, len(values)):.2f}"


def _show_signals(console: Console, report: schema.Report) -> None:
    """A table of the signals that gave scores, and a line for each reason why others gave none."""
    scored = [signal for signal in report.membership if signal.auc is not None]
    if scored:
        console.print()
        headings = ("signal", "AUC", "95% interval", "at 1% false alarms", "named")
        show_table(console, headings, map(_signal, scored))
    _show_absent(console, ((s.signal, s.status, s.reason) for s in report.membership if s.auc is None))


def _signal(signal: schema.Membership) -> tuple[str, ...]:
    rate = signal.tpr_at_fpr.at_1_percent if signal.tpr_at_fpr else None
    return (
        signal.signal,
        f"{signal.auc.value:.2f}" if signal.auc else "-",
        f"{signal.auc.low:.2f} to {signal.auc.high:.2f}" if signal.auc else "-",
        f"{rate.value:.0%}" if rate else "-",
        f"{signal.named} of {signal.n_members}",
    )


def _show_details(console: Console, report: schema.Report) -> None:
    show_list(console, "Assumed", [f"{a.what} = {a.value} ({a.why}; {a.flag})" for a in report.model.assumptions])
    show_list(
        console,
        "Positive controls",
        [
            f"{c.method} found {c.recovered} of {c.of} in {c.fixture}, {'passed' if c.passed else 'FAILED'}: {c.detail}"
            for c in report.controls.positive
        ],
    )
    show_list(console, "Mitigations", report.verdict.mitigations)
