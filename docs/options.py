"""Writes the tables of `docs/command-line.md` from the commands themselves: `python docs/options.py`.

Public names: `refreshed`, `PAGE`. `tests/test_docs.py` fails where the page is not what this makes of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from typer.main import get_command

from auditcli.cli import app

PAGE = Path(__file__).with_name("command-line.md")
_BEGIN, _END = "<!-- options:begin -->\n", "<!-- options:end -->\n"


def refreshed(text: str) -> str:
    """The page with the tables between its two markers made again.

    Raises:
        ValueError: a marker is missing, or there twice.
    """
    before, rest = text.split(_BEGIN)
    _, after = rest.split(_END)
    return before + _BEGIN + "\n".join(_lines()) + "\n" + _END + after


def _lines() -> Iterator[str]:
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        yield f"## `{' '.join(['privaudit', name, *(p.metavar for p in arguments)])}`"
        yield f"{command.help}\n"
        yield from (f"- `{p.metavar}`: {p.help}" for p in arguments)
        if options:
            yield "\n| option | value | default | |" if arguments else "| option | value | default | |"
            yield "|---|---|---|---|"
            yield from (_row(p) for p in options)
        yield ""


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    default = "" if option.is_flag or option.default is None else f"`{_plain(option.default)}`"
    return f"| {names} | {_values(option)} | {default} | {option.help} |"


def _values(option: Any) -> str:
    if option.is_flag:
        return ""
    kind = option.type_descriptor.annotation
    choices = list(kind) if isinstance(kind, type) and issubclass(kind, Enum) else get_args(kind)
    if option.metavar:
        return ", ".join(f"`{part}`" for part in option.metavar.split("|"))
    return ", ".join(f"`{_plain(choice)}`" for choice in choices)


def _plain(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
