"""Files of a model: their hash, their size, whether they stay in the folder, and names fit to print."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from auditcli.errors import LoadError

MAX_JSON_BYTES = 100_000_000
"""Longest JSON text that is parsed: the limit the safetensors format puts on its own header."""


def printable(name: str | Path) -> str:
    """A file, tensor or operator name without control characters, cut to 80: it is the author's text, not ours."""
    text = name.name or str(name) if isinstance(name, Path) else name
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= 80 else f"{text[:77]}..."


def digest(files: Iterable[Path], root: Path) -> str:
    """Sha256 in hex of one file, or of the lines `hash  name` of several, sorted by name relative to `root`."""
    hashes = {file.relative_to(root).as_posix(): _file_sha256(file) for file in files}
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{value}  {name}\n" for name, value in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def inside(root: Path, name: str) -> Path:
    """The file `name` of the folder `root`.

    Raises:
        LoadError: the name or a symbolic link leads out of the folder, or there is no such file.
    """
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise LoadError(
            f"{printable(name)} leads out of the folder {printable(root)}; only files inside it are read",
            hint="copy the file into the folder, or download the model again with --local-dir",
        )
    if not path.is_file():
        raise LoadError(
            f"{printable(name)} is missing from {printable(root)}", hint="download the model again, all files of it"
        )
    return path


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        LoadError: too long, not UTF-8, not JSON, nested too deeply, or no object.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise LoadError(f"{printable(path)} is {path.stat().st_size} bytes of JSON; at most {MAX_JSON_BYTES} are read")
    return parse_json(path.read_bytes(), printable(path))


def parse_json(text: bytes | str, where: str) -> dict[str, Any]:
    """The JSON object in a text; a key that stands twice in one object is refused.

    Raises:
        LoadError: naming `where` and what is wrong.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{where} is not valid JSON: {str(error)[:120]}", hint="write the file again") from error
    if not isinstance(value, dict):
        raise LoadError(f"{where} holds a JSON {type(value).__name__}, an object was expected")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {printable(twice)!r} stands twice")
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _file_sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
