"""What a settings file says for one command. Public names: `apply`, `Settings`."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from auditcli.errors import UsageError
from auditcli.settings._file import Document

RUN_CODE: Final = frozenset({"arch", "arch-arg"})
"""Options that no file and no environment may give: a repository must not run code in who audits it."""
ABOUT: Final = frozenset({"help", "config", "no-config"})
"""Options that are no settings."""

Commands = Mapping[str, Any]
"""The commands of the command line by their names, each with its `params`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one file says for one command, by the names of the command's parameters."""

    file: Path
    values: Mapping[str, Any]
    """As they would be typed: words, lists of words, True or False."""
    keys: Mapping[str, str]
    """As they are written in the file."""


def apply(document: Document, command: str, commands: Commands) -> Settings:
    """What a file says for a command, once all its keys are found to be options.

    A key at the top is for each command that reads this option from the environment, one in the table of a command
    for that command alone, where it wins.

    Raises:
        UsageError: A key is no option, or runs code; or a value of this command has the wrong type.
    """
    _require_known(document, commands)
    top = {key: value for key, value in document.values.items() if not _is_table(key, value, commands)}
    own = document.values.get(command, {})
    options = settable(commands[command])
    values: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for prefix, given in (("", top), (f"{command}.", own if isinstance(own, dict) else {})):
        seen: dict[str, str] = {}
        for key, value in given.items():
            option = options.get(key)
            if option is None or not (prefix or option.envvar):
                continue
            written = f"{document.prefix}{prefix}{key}"
            if seen.setdefault(option.name, key) != key:
                raise UsageError(
                    f"{document.file}: {seen[option.name]} and {key} are the same setting", hint=f"remove {written}"
                )
            values[option.name] = _typed(option, value, document.file, written)
            keys[option.name] = written
    return Settings(document.file, values, keys)


def settable(command: Any) -> dict[str, Any]:
    """The options of a command that are settings, by each of their long names."""
    return {
        name.removeprefix("--"): option
        for option in command.params
        if option.param_type_name == "option" and not option.hidden
        for name in option.opts
        if name.startswith("--") and name.removeprefix("--") not in RUN_CODE | ABOUT
    }


# ---- keys -----------------------------------------------------------------------------------------------------------


def _is_table(key: str, value: Any, commands: Commands) -> bool:
    return key in commands and isinstance(value, dict)


def _require_known(document: Document, commands: Commands) -> None:
    tables = {name: options for name, command in commands.items() if (options := settable(command))}
    shared = {key for options in tables.values() for key, option in options.items() if option.envvar}
    for key, value in document.values.items():
        written = f"{document.prefix}{key}"
        homes = [f"[{document.prefix}{name}]" for name, options in tables.items() if key in options]
        if _is_table(key, value, tables):
            for inner in value:
                if inner not in tables[key]:
                    raise _unknown(document, f"{written}.{inner}", inner, tables[key], f"privaudit {key} --help")
        elif key in tables:
            raise UsageError(f"{document.file}: {written} is a command, and no setting", hint=f"[{written}]")
        elif key not in shared and homes:
            raise UsageError(
                f"{document.file}: {written} is no setting of all commands", hint=f"put it below {' or '.join(homes)}"
            )
        elif key not in shared:
            raise _unknown(document, written, key, [*shared, *tables], "privaudit config --no-config")


def _unknown(document: Document, written: str, key: str, known: Iterable[str], help: str) -> UsageError:
    where = f"{document.file}: {written}"
    if key in RUN_CODE:
        return UsageError(
            f"{where} runs code, and no file may have code run by who audits", hint=f"give --{key} on the command line"
        )
    nearest = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
    guess = f"; the nearest is {nearest[0]}" if nearest else ""
    return UsageError(f"{where} is no setting{guess}", hint=f"{help} (names them)")


# ---- values ---------------------------------------------------------------------------------------------------------


def _typed(option: Any, value: Any, file: Path, written: str) -> Any:
    """What would be typed for a value; whether it is a good one is for the option to say."""
    if option.is_flag:
        if isinstance(value, bool):
            return value
        raise _wrong(value, "true or false", "true", file, written)
    if option.multiple:
        many = value if isinstance(value, list) else [value]
        if all(_is_word(one) for one in many):
            return [_word(option, one, file) for one in many]
        raise _wrong(value, "a list of texts", f'["{option.metavar or "..."}"]', file, written)
    if isinstance(value, list) and "," in (option.metavar or "") and all(_is_word(one) for one in value):
        return ",".join(str(one) for one in value)
    if _is_word(value):
        return _word(option, value, file)
    raise _wrong(value, "one text or number", f'"{option.metavar or "..."}"', file, written)


def _is_word(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _word(option: Any, value: Any, file: Path) -> str:
    """Text of a path is relative to the file, as in every settings file."""
    if isinstance(value, str) and (option.type_descriptor.is_path or "PATH" in (option.metavar or "").split("|")):
        return os.fspath(file.parent / Path(value).expanduser())
    return str(value)


def _wrong(value: Any, expected: str, example: str, file: Path, written: str) -> UsageError:
    shown = json.dumps(value, default=str)
    return UsageError(
        f"{file}: {written} is {shown}, where {expected} was expected",
        hint=f"{written.rpartition('.')[2]} = {example}",
    )


def as_words(option: Any, value: Any) -> Sequence[str]:
    """The words that give an option a value on the command line; none where it is off or empty."""
    if option.is_flag:
        return [option.opts[0]] if value else []
    many = value if option.multiple else [value]
    return [word for one in many or () for word in (option.opts[0], str(getattr(one, "value", one)))]
