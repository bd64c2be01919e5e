"""Settings in the terminal. Public names: `show_settings`, `show_config`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from auditcli.terminal._console import plain, show_table


def show_settings(console: Console, file: str, keys: Sequence[str]) -> None:
    """Print which settings file is used, and for what."""
    console.print(Text.assemble(("settings: ", "bold"), f"{plain(file)} ({plain(', '.join(keys))})"), soft_wrap=True)


def show_config(console: Console, command: str, file: str, rows: Iterable[tuple[str, str, str]]) -> None:
    """Print the settings of a command: name, value, and where it comes from; those that are no default stand out."""
    where = plain(file) or "none, in this folder or above it"
    console.print(Text.assemble(("command: ", "bold"), command), soft_wrap=True)
    console.print(Text.assemble(("settings file: ", "bold"), where), soft_wrap=True)
    console.print()
    show_table(console, ("setting", "value", "from"), map(_row, rows), prose=("value", "from"))


def _row(row: tuple[str, str, str]) -> tuple[str, Text, Text]:
    name, value, origin = row
    style = "dim" if origin == "default" else ""
    return name, Text(plain(value), style), Text(plain(origin), style)
