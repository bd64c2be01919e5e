"""Writes the pages about commands and findings from the code: `python docs/commands.py`.

A page of a command is `docs/commands/NAME.md`. What stands between its two comments is written by hand and kept, all
else is made again; `docs/command-line.md` and `docs/findings.md` are made in the same way. Public names: `pages`,
`commands`, `help_block`.
`tests/test_docs.py` fails where a page is not what this makes of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, get_args
from unittest import mock

from typer.main import get_command
from typer.testing import CliRunner

from auditcli.cli import app
from auditcli.rules import RULES, Rule

DOCS = Path(__file__).parent
COLUMNS = 80
_BEGIN, _END = "<!-- by hand -->\n", "<!-- end -->\n"
_STYLES = re.compile(r"\x1b\[[0-9;]*m")
_KINDS = {
    "leak": ("Leaks", "What was found out about the model. The worst of them gives the verdict its level."),
    "doubt": ("Doubts", "What forbids a conclusion or limits it. Most make a verdict inconclusive."),
    "gap": ("Gaps", "What was not looked at, or was assumed. They stand under *What this does not show*."),
    "breach": ("Breaches", "Demands of a policy file that are not met. No audit raises them by itself."),
}


def commands() -> dict[str, Any]:
    """The commands by name, in the order of `privaudit --help`."""
    found: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    return found


def pages() -> Mapping[Path, str]:
    """Every page that this makes, with its text: what is on disk, and all but its part by hand made again.

    Raises:
        ValueError: a comment that encloses the part by hand is missing, or there twice.
    """
    made = {f"commands/{name}.md": _command(name, command) for name, command in commands().items()}
    made |= {"command-line.md": _overview(), "findings.md": _findings()}
    return {DOCS / name: _joined(DOCS / name, *parts) for name, parts in made.items()}


def help_block(*words: str) -> str:
    """What `privaudit WORDS --help` prints at 80 columns, without colours and the blanks at the ends of lines."""
    with mock.patch.dict(os.environ, {"COLUMNS": str(COLUMNS)}):
        printed = CliRunner().invoke(app, [*words, "--help"], prog_name="privaudit").output
    lines = (line.rstrip() for line in _STYLES.sub("", printed).strip("\n").splitlines())
    return "\n".join(lines).strip("\n") + "\n"


def _joined(page: Path, before: str, after: str) -> str:
    by_hand = "\n"
    if page.exists():
        _, rest = page.read_text(encoding="utf-8").split(_BEGIN)
        by_hand, _ = rest.split(_END)
    return f"{before}\n{_BEGIN}{by_hand}{_END}\n{after}"


# ---- commands -------------------------------------------------------------------------------------------------------


def _overview() -> tuple[str, str]:
    rows = [f"| [`privaudit {name}`](commands/{name}.md) | {command.help} |" for name, command in commands().items()]
    table = ["## Commands", "| command | does |", "|---|---|", *rows]
    return "# The command line\n", "\n".join([*table, "", *_printed()]) + "\n"


def _command(name: str, command: Any) -> tuple[str, str]:
    parameters = [p for p in command.params if not getattr(p, "hidden", False)]
    arguments = [p for p in parameters if p.param_type_name == "argument"]
    options = [p for p in parameters if p.param_type_name == "option"]
    lines: list[str] = []
    if arguments:
        lines += ["## Arguments", *(f"- `{p.metavar}`: {p.help}" for p in arguments), ""]
    if options:
        lines += ["## Options", "| option | does | value | default | environment |", "|---|---|---|---|---|"]
        lines += [*(_row(p) for p in options), ""]
    return f"# `privaudit {name}`\n\n{command.help}\n", "\n".join([*lines, *_printed(name)]) + "\n"


def _printed(*words: str) -> Iterator[str]:
    yield f"## `{' '.join(['privaudit', *words, '--help'])}`"
    yield f"```text\n{help_block(*words)}```"


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    default = "" if option.is_flag or option.default in (None, "") else f"`{_plain(option.default)}`"
    variable = f"`{option.envvar}`" if option.envvar else ""
    meaning = option.help.replace("|", r"\|")
    return f"| {names} | {meaning} | {_values(option)} | {default} | {variable} |"


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


# ---- findings -------------------------------------------------------------------------------------------------------


def _findings() -> tuple[str, str]:
    kinds = {rule.kind: [other for other in RULES.values() if other.kind == rule.kind] for rule in RULES.values()}
    lines = ["| id | finding | kind |", "|---|---|---|"]
    lines += [f"| [{rule.id}](#{rule.id.lower()}) | {rule.title} | {rule.kind} |" for rule in RULES.values()]
    for kind, rules in kinds.items():
        title, meaning = _KINDS[kind]
        lines += ["", f"## {title}", meaning, *(line for rule in rules for line in _section(rule))]
    return "# Findings\n", "\n".join(lines) + "\n"


def _section(rule: Rule) -> Iterator[str]:
    yield f"\n### {rule.id}"
    yield f"**{rule.title}** (`{rule.name}`).\n"
    yield f"{rule.meaning}\n"
    yield f"*What to do.* {rule.action}"


def main() -> None:
    """Write every page that is not what it should be."""
    for page, text in pages().items():
        page.parent.mkdir(exist_ok=True)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
