"""Where a report goes. Public names: `require_usable`, `read_text`, `write_text`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from auditcli.errors import UsageError

MAX_REPORT_BYTES = 64 * 2**20
"""A `report.json` is never larger, and nothing larger is read to recognise one."""


def require_usable(directory: Path, *, force: bool = False) -> None:
    """Check, before an audit spends its budget, that its report can be written; leaves nothing behind.

    Args:
        directory: Need not exist yet. One that holds anything must hold an earlier report, which is replaced.
        force: Accept a folder with other things in it; only files of the report's own names are replaced.

    Raises:
        UsageError: Not a folder, not writable, or somebody else's.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file, and the report needs a folder", hint="--output FOLDER")
    try:
        existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=existing):
            foreign = directory.exists() and any(directory.iterdir()) and not _holds_report(directory)
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be written: {error.strerror}", hint="--output FOLDER, one that you may write to"
        ) from error
    if foreign and not force:
        raise UsageError(
            f"{directory} holds files and no earlier report, and nothing foreign is written over",
            hint="--output with a new folder, or --force to write beside what is there",
        )


def read_text(path: Path) -> str:
    """The text of a file that is to be rewritten, with the line ends it has.

    Raises:
        UsageError: It cannot be read, or is no UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="give the README.md of the model") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text", hint="give the README.md of the model") from error


def write_text(path: Path, text: str) -> None:
    """Write a file at once: readers see the old text or the new, never half. Pipes and devices are written as they are.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
            draft = Path(scratch) / path.name
            draft.write_text(text, encoding="utf-8", newline="")
            if path.exists():
                draft.chmod(path.stat().st_mode & 0o777)
            draft.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", hint="give a file in a folder you may write to"
        ) from error


def _holds_report(directory: Path) -> bool:
    """Whether it holds a report or an explanation of ours."""
    manifest = _content(directory / "report.json").get("manifest")
    return (isinstance(manifest, dict) and "privaudit" in manifest) or (
        "explanation_version" in _content(directory / "explanation.json")
    )


def _content(path: Path) -> dict[str, Any]:
    """A JSON object in a file; empty where there is none that we could have written."""
    if not path.is_file() or path.stat().st_size > MAX_REPORT_BYTES:
        return {}
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
