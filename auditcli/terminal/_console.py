"""Consoles, and what is printed on all of them: text, errors, lists, tables.

Public names: `stdout`, `stderr`, `write`, `plain`, `show_error`, `show_list`, `show_candidates`, `show_traceback`,
`table_of`.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text


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


def show_list(console: Console, title: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    console.print()
    console.print(Text(title, "bold"))
    for line in lines:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(" -", Text(plain(line)))
        console.print(grid)


def show_candidates(console: Console, candidates: Sequence[Mapping[str, str]]) -> None:
    """Print the answers to an open question as options, one a line."""
    for candidate in candidates:
        options = " ".join(f"--assume {key}={value}" for key, value in candidate.items())
        console.print(Text.assemble(("answer: ", "bold"), plain(options)), soft_wrap=True)


def show_traceback(console: Console, error: BaseException) -> None:
    """Print where code of the user failed; its text is a stranger's too."""
    for line in "".join(traceback.format_exception(error)).splitlines():
        console.print(Text(f"{' ' * (len(line) - len(line.lstrip()))}{plain(line)}", "dim"), soft_wrap=True)


def table_of(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
