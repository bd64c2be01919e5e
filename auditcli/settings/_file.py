"""Where a settings file lies, and what it says. Public names: `locate`, `read`, `Document`."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from auditcli.errors import UsageError

OWN: Final = "privaudit.toml"
SHARED: Final = "pyproject.toml"
MAX_BYTES: Final = 2**20
"""A settings file is never larger; a larger `pyproject.toml` is not read."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a settings file says."""

    file: Path
    """Relative where it lies in the working directory."""
    prefix: str
    """Of its keys in the file: `tool.privaudit.`, or nothing."""
    values: Mapping[str, Any]


def locate() -> Path | None:
    """The settings file that counts here: the nearest, in the working directory or above it.

    In a folder `privaudit.toml` comes before `pyproject.toml`, and a `pyproject.toml` without `[tool.privaudit]` is
    none. The search ends at the root of the repository, at home, or below a folder that all users share.
    """
    for folder in _folders():
        if (folder / OWN).is_file():
            return folder / OWN
        if (folder / SHARED).is_file() and _table(folder / SHARED) is not None:
            return folder / SHARED
    return None


def read(file: Path) -> Document:
    """What a file says: the whole of it, or `[tool.privaudit]` of one named `pyproject.toml`.

    Raises:
        UsageError: It cannot be read, is no TOML, or is a `pyproject.toml` without that table.
    """
    if file.name != SHARED:
        return Document(file, "", _parsed(file))
    table = _table(file)
    if table is None:
        raise UsageError(f"{file} has no table [tool.privaudit]", hint="add one, or name another file with --config")
    return Document(file, "tool.privaudit.", table)


def _folders() -> Iterator[Path]:
    """The working directory, then those above it which belong to the same work."""
    here = Path.cwd()
    yield Path()
    inner = here
    for folder in here.parents:
        if (inner / ".git").exists() or inner == _home() or folder.stat().st_mode & stat.S_ISVTX:
            return
        yield folder
        inner = folder


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _table(file: Path) -> Mapping[str, Any] | None:
    tool = _parsed(file).get("tool")
    table = tool.get("privaudit") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise UsageError(f"{file}: tool.privaudit is no table", hint="[tool.privaudit] on a line of its own")
    return table


def _parsed(file: Path) -> Mapping[str, Any]:
    hint = "correct it, name another with --config, or go without by --no-config"
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UsageError(f"{file} is larger than {MAX_BYTES:,} bytes, and no settings file", hint=hint)
        return tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", hint=hint) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no UTF-8 text", hint=hint) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"{file} is no TOML: {why}", hint=hint) from error
