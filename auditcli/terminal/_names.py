"""Ids and the files behind them, in the terminal. Public name: `show_names`."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from auditcli.terminal._console import plain


def show_names(console: Console, names: Mapping[str, str]) -> None:
    """Print an id and its file on each line, with two spaces between them and no line broken."""
    for id, name in names.items():
        console.print(Text.assemble((plain(id), "bold"), "  ", plain(name)), soft_wrap=True)
