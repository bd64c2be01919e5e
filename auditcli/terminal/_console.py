"""Consoles, and what is printed on all of them: text, errors, lists, tables.

Public names: `stdout`, `stderr`, `write`, `plain`, `show_error`, `show_list`, `show_candidates`, `show_traceback`,
`show_table`, `grid_of`.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from auditcli.errors import UsageError

_UNBOUNDED = 10_000
"""Columns of a window that is wide enough for anything: in it a table tells how narrow it can be."""


class Stream(Console):
    """A console whose reader may leave early (`| head`): that ends the printing, not the command."""

    def on_broken_pipe(self) -> None:
        """Go on in silence; rich would exit with 1, which means a broken policy."""
        self.quiet = True
        _silence(self.file)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; a full disk is no bug of ours."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            self.quiet = True
            raise _unwritable(self.file, error) from error


def stdout() -> Console:
    """The console for data; what its encoding lacks is shown as an escape, as Python does on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return _console(sys.stdout)


def stderr() -> Console:
    """The console for talk and progress."""
    return _console(sys.stderr)


def _console(stream: IO[str] | None) -> Console:
    """A console that moves its cursor on a terminal alone, whatever FORCE_COLOR says of colours.

    A stream that was closed before the start is None, and swallows all.
    """
    if stream is None:
        return Stream(file=io.StringIO(), highlight=False)
    return Stream(file=stream, highlight=False, force_interactive=None if stream.isatty() else False)


def write(text: str) -> None:
    """Write data to stdout as it is: in UTF-8, as in a file, whatever the locale."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        raise _unwritable(sys.stdout, error) from error


def _unwritable(stream: IO[str], error: OSError) -> UsageError:
    _silence(stream)
    return UsageError(f"the output cannot be written: {error.strerror}", hint="send it to another place")


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


def show_list(console: Console, title: str, lines: Sequence[str], *, names: Sequence[str] = ()) -> None:
    """Print sentences below a title, each behind its name where they have names."""
    if not lines:
        return
    console.print()
    console.print(Text(title, "bold"))
    width = max(map(len, names), default=0)
    for line, name in zip(lines, names or [""] * len(lines), strict=True):
        start = [Text(f"{plain(name):{width}}", "bold")] if width else []
        grid = grid_of(2 + len(start), gap=1)
        grid.add_row(" -", *start, Text(plain(line)))
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


def show_table(
    console: Console, headings: Sequence[str], rows: Iterable[Sequence[str | Text]], *, prose: Iterable[str] = ()
) -> None:
    """Print a table, or where the window is too narrow for it a block of lines for each row.

    Args:
        console: Where to.
        headings: Of the columns; the first names a row.
        rows: Their cells, which are printed as text.
        prose: Headings of columns whose words may go onto several lines; a name or a number is never broken.
    """
    broken = set(prose)
    cells = [[cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row] for row in rows]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column, heading in enumerate(headings):
        widest = max([cell_len(heading), *(row[column].cell_len for row in cells)])
        table.add_column(heading, overflow="fold", min_width=None if heading in broken else widest)
    for row in cells:
        table.add_row(*row)
    if Measurement.get(console, console.options.update(max_width=_UNBOUNDED), table).minimum <= console.width:
        console.print(table)
        return
    for name, *values in cells:
        console.print(Text.assemble((f"{headings[0]} ", "bold"), name), overflow="fold")
        grid = grid_of(2)
        for heading, value in zip(headings[1:], values, strict=True):
            grid.add_row(Text(f"  {heading}"), value)
        console.print(grid)


def grid_of(columns: int, *, gap: int = 2) -> Table:
    """A table without headings; all of a value is shown, on several lines where it is long."""
    grid = Table.grid(padding=(0, gap))
    for _ in range(columns):
        grid.add_column(overflow="fold")
    return grid
