"""Progress of running attacks. Public name: `Display`."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from auditcli.terminal._console import plain

if TYPE_CHECKING:
    from auditcli import types

LINE_EVERY_SECONDS = 15.0
"""Of an attack's time, between two lines of progress in a pipe."""


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
            disable=quiet or not console.is_interactive,
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
        if self._console.is_interactive:
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
