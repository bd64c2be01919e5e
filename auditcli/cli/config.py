"""`privaudit config`: which settings apply, and where each comes from."""

from __future__ import annotations

import json
from copy import copy
from typing import Annotated, Any

import typer

from auditcli import policy, settings, terminal


def config(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND [OPTIONS]", help="As they would be typed; `scan` unless given."),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the settings, as is done without it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> int:
    """Show which settings a command would use, and where each comes from."""
    parsed = _parsed(context.find_root(), words or [])
    used = settings.settings_of(parsed)
    command, file = str(parsed.info_name), str(used.file) if used else None
    rows = [
        (option.opts[0].removeprefix("--"), _value(parsed.params[option.name]), settings.origin_of(parsed, option))
        for option in parsed.command.params
        if not option.is_eager
    ]
    if as_json:
        listed = [{"name": name, "value": value, "origin": o.kind, "where": o.where} for name, value, o in rows]
        terminal.write(json.dumps({"command": command, "file": file, "settings": listed}, indent=2) + "\n")
    else:
        shown = [(name, _shown(value), origin.short) for name, value, origin in rows]
        terminal.show_config(terminal.stdout(), command, file or "", shown)
    return policy.PASSED


def _parsed(root: Any, words: list[str]) -> Any:
    """The context of a command as its run would have it, where nothing need be given that is no setting."""
    group = root.command
    name, command, rest = group.resolve_command(root, group.in_full(words) or ["scan"])
    relaxed = copy(command)
    relaxed.params = [_optional(option) for option in command.params if option.param_type_name == "option"]
    relaxed.allow_extra_args = True
    return relaxed.make_context(name, rest, parent=root)


def _optional(option: Any) -> Any:
    relaxed = copy(option)
    relaxed.required = False
    return relaxed


def _value(value: Any) -> Any:
    """A value as JSON has it, and as it would be typed."""
    if isinstance(value, list | tuple):
        return [_value(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(getattr(value, "value", value))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "-"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else "-" if value in (None, "") else str(value)
