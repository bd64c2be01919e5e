"""What a person sees: progress and errors on stderr, verdict and tables on stdout.

Public names: `Display` (a `Watcher`), `show_error`, `show_report`, `show_profile`, `show_plugins`,
`show_candidates`, `show_traceback`, `stdout`, `stderr`, `write`, `plain`.

Everything that came out of a file is printed as text, without markup and control characters, so that a model cannot
draw on the auditor's terminal. rich honours NO_COLOR, and every colour has a word beside it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from auditcli import types
    from auditcli.report import schema

STYLES = {
    "none-detected": "bold cyan",
    "low": "bold yellow",
    "moderate": "bold dark_orange",
    "high": "bold red",
    "critical": "bold white on red",
    "inconclusive": "bold magenta",
}
LABELS = 20
"""Class names that are shown without `--verbose`."""
LINE_EVERY_SECONDS = 15.0
"""Of an attack's time, between two lines of progress in a pipe."""


class Plugin(Protocol):
    """What the table of plug-ins shows of an attack or a signal."""

    @property
    def name(self) -> str:
        """As `--attack` takes it."""

    @property
    def summary(self) -> str:
        """One line."""

    @property
    def paper(self) -> str:
        """Where it is from."""

    @property
    def requires(self) -> Iterable[str]:
        """Traits a model must have."""


class Stream(Console):
    """A console whose reader may leave early (`| head`): that ends the printing, not the command."""

    def on_broken_pipe(self) -> None:
        """Go on in silence; rich would exit with 1, which means a broken policy."""
        self.quiet = True
        _silence(self.file)


def stdout() -> Console:
    """The console for data."""
    return Stream(file=sys.stdout, highlight=False)


def stderr() -> Console:
    """The console for talk and progress."""
    return Stream(file=sys.stderr, highlight=False)


def write(text: str) -> None:
    """Write data to stdout as it is."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)


def _silence(stream: IO[str]) -> None:
    """Let the interpreter's last flush succeed, as the Python manual has it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def plain(text: object) -> str:
    """One line of printable characters; anything else becomes a space or a replacement character."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in str(text)).strip()


def show_error(console: Console, message: str, hint: str = "") -> None:
    """Print `error: ...` and, where there is one, `hint:  ...`; one line each, however long."""
    console.print(Text.assemble(("error: ", "bold red"), plain(message)), soft_wrap=True)
    if hint:
        console.print(Text.assemble(("hint:  ", "bold cyan"), plain(hint)), soft_wrap=True)


# ---- progress -------------------------------------------------------------------------------------------------------


class Display:
    """Shows running attacks: a bar for each on a terminal, a line now and then in a pipe, nothing when quiet.

    Used as a context manager around the audit, and handed to it as its watcher.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._tasks: dict[str, TaskID] = {}
        self._printed: dict[str, float] = {}
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[detail]}", markup=False, justify="right"),
            console=console,
            disable=quiet or not console.is_terminal,
        )

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, progress: types.Progress) -> None:
        """Show where the running attack is."""
        if self._quiet:
            return
        if self._console.is_terminal:
            self._draw(progress)
        elif self._is_due(progress):
            self._printed[progress.attack] = progress.seconds
            step = f"step {progress.step}" + (f" of {progress.steps}" if progress.steps else "")
            self._console.print(Text(f"{plain(progress.attack)}: {step}, {_detail(progress)}"), soft_wrap=True)

    def _draw(self, progress: types.Progress) -> None:
        name = progress.attack
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(plain(name), detail="")
        self._bars.update(
            self._tasks[name], total=progress.steps or None, completed=progress.step, detail=_detail(progress)
        )

    def _is_due(self, progress: types.Progress) -> bool:
        last = self._printed.get(progress.attack)
        finished = bool(progress.steps) and progress.step >= progress.steps
        return last is None or finished or progress.seconds - last >= LINE_EVERY_SECONDS


def _detail(progress: types.Progress) -> str:
    return f"best objective {progress.objective:.3g}, {_clock(progress.seconds_left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


# ---- the report -----------------------------------------------------------------------------------------------------


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
    _show_list(console, "Why", [reason.text for reason in report.verdict.reasons])
    console.print()
    console.print(_attack_table(report))
    if verbose:
        _show_details(console, report)
    _show_list(console, "Next", report.verdict.next_steps)
    console.print()
    for file in files:
        console.print(Text.assemble(("report  ", "dim"), plain(file)), soft_wrap=True)


def _attack_table(report: schema.Report) -> Table:
    table = _table("attack", "status", "best SSIM", ">= 0.5", "time")
    for attack in report.attacks:
        found = attack.ssim
        table.add_row(
            Text(plain(attack.name) + (" (control)" if attack.negative_control else "")),
            Text(attack.status + (f": {plain(attack.reason)}" if attack.reason else "")),
            f"{found.top[0]:.3f}" if found and found.top else "-",
            f"{found.members_over_half} of {found.n_members}" if found else "-",
            f"{attack.seconds:.0f} s" if attack.steps else "-",
        )
    for signal in report.membership:
        table.add_row(
            Text(f"membership: {plain(signal.signal)}"),
            Text(
                f"AUC {signal.auc.value:.2f} [{signal.auc.low:.2f}, {signal.auc.high:.2f}]"
                if signal.auc
                else f"{signal.status}: {plain(signal.reason)}"
            ),
            "-",
            "-",
            "-",
        )
    return table


def _show_details(console: Console, report: schema.Report) -> None:
    _show_list(console, "Assumed", [f"{a.what} = {a.value} ({a.why}; {a.flag})" for a in report.model.assumptions])
    _show_list(
        console,
        "Positive controls",
        [
            f"{c.method} found {c.recovered} of {c.of} in {c.fixture}, {'passed' if c.passed else 'FAILED'}: {c.detail}"
            for c in report.controls.positive
        ],
    )
    _show_list(console, "Mitigations", report.verdict.mitigations)


def _show_list(console: Console, title: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    console.print()
    console.print(Text(title, "bold"))
    for line in lines:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(" -", Text(plain(line)))
        console.print(grid)


# ---- models and plug-ins --------------------------------------------------------------------------------------------


def show_profile(console: Console, model: schema.Model, *, verbose: bool = False) -> None:
    """Print what a model is, how that is known, and with `verbose` its layers and tensors."""
    known = {statement.what: statement.why for statement in model.statements if statement.what != "trait"}
    labels = model.labels if verbose else model.labels[:LABELS]
    more = f", and {len(model.labels) - len(labels)} more" if len(labels) < len(model.labels) else ""
    rows = (
        ("model", f"{model.path} ({model.format}, {model.bytes:,} bytes)", ""),
        ("sha256", model.sha256, ""),
        ("family", model.family, known.get("family", "")),
        ("architecture", model.architecture, ""),
        ("parameters", f"{model.parameters:,}", known.get("layers", "")),
        ("input", f"{'x'.join(map(str, model.input_shape))} (channels, height, width)", known.get("input shape", "")),
        ("pixels", f"mean {_numbers(model.mean)}, std {_numbers(model.std)}", known.get("normalisation", "")),
        ("classes", f"{model.classes}", known.get("classes", "")),
        *([("labels", ", ".join(labels) + more, "")] if labels else []),
        *_traits(model),
        ("identified by", model.identified_by, ""),
    )
    grid = Table.grid(padding=(0, 2))
    for name, value, why in rows:
        grid.add_row(Text(name, "bold"), Text.assemble(plain(value), (f": {plain(why)}" if why else "", "dim")))
    console.print(grid)
    _show_list(console, "Evidence", model.evidence)
    _show_list(console, "Assumed", [f"{a.what} = {a.value}: {a.why} (otherwise {a.flag})" for a in model.assumptions])
    if verbose:
        console.print()
        console.print(_layer_table(model))
    if model.tensors:
        console.print()
        console.print(_tensor_table(model))


def _traits(model: schema.Model) -> list[tuple[str, str, str]]:
    """One row a trait, the first of them named."""
    why = {statement.value: statement.why for statement in model.statements if statement.what == "trait"}
    shown = [("", trait, why.get(trait, "")) for trait in model.traits] or [("", "-", "")]
    return [("traits", *shown[0][1:]), *shown[1:]]


def _layer_table(model: schema.Model) -> Table:
    table = _table("layer", "kind", "shape", "parameters")
    for layer in model.layers:
        shape = "x".join(map(str, layer.shape))
        table.add_row(Text(plain(layer.name)), Text(plain(layer.kind)), shape, f"{layer.parameters:,}")
    return table


def _tensor_table(model: schema.Model) -> Table:
    table = _table("tensor", "is", "stored", "shape", "min", "max", "mean", "std")
    for tensor in model.tensors:
        figures = (tensor.low, tensor.high, tensor.mean, tensor.deviation)
        table.add_row(
            *(Text(plain(text)) for text in (tensor.name, tensor.role, tensor.stored)),
            "x".join(map(str, tensor.shape)) or "-",
            *("-" if figure is None else f"{figure:.2g}" for figure in figures),
        )
    return table


def show_candidates(console: Console, candidates: Sequence[Mapping[str, str]]) -> None:
    """Print the answers to an open question as options, one a line."""
    for candidate in candidates:
        options = " ".join(f"--assume {key}={value}" for key, value in candidate.items())
        console.print(Text.assemble(("answer: ", "bold"), plain(options)), soft_wrap=True)


def show_traceback(console: Console, error: BaseException) -> None:
    """Print where code of the user failed; its text is a stranger's too."""
    for line in "".join(traceback.format_exception(error)).splitlines():
        console.print(Text(f"{' ' * (len(line) - len(line.lstrip()))}{plain(line)}", "dim"), soft_wrap=True)


def show_plugins(console: Console, title: str, plugins: Iterable[Plugin]) -> None:
    """Print the table of attacks or signals: what each does, what it needs, where it is from."""
    table = _table(title, "what it does", "needs", "paper")
    for plugin in plugins:
        needs = ", ".join(sorted(map(str, plugin.requires))) or "any model"
        table.add_row(*(Text(plain(text)) for text in (plugin.name, plugin.summary, needs, plugin.paper)))
    console.print(table)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
