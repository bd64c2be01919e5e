"""Files of a model: their hash, their size, whether they stay in the folder, and names fit to print."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from auditcli.errors import LoadError

MAX_JSON_BYTES = 10_000_000
"""Longest JSON text that is parsed: some 80,000 tensors in a header, and 300 MB as Python objects at the worst."""
MAX_ENTRIES = 10_000
"""Files of a folder that are looked through."""
_SHARED_BLOBS = ".huggingface-shared-blobs"
"""Marks the folder as one of huggingface_hub's."""
_AGAIN = "download the model again, all files of it"


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
    try:
        real = path.resolve()
    except (ValueError, RuntimeError) as error:  # A name with a null byte, links in a circle.
        raise LoadError(f"{printable(name)} is no file name that can be followed", hint=_AGAIN) from error
    if not any(real.is_relative_to(home) for home in _homes(root)):
        raise LoadError(
            f"{printable(name)} leads out of the folder {printable(root)}; only files inside it are read",
            hint="copy the file into the folder, or download the model again with --local-dir",
        )
    if not path.is_file():
        raise LoadError(f"{printable(name)} is missing from {printable(root)}", hint=_AGAIN)
    return path


def names(folder: Path) -> list[str]:
    """The names in a folder, sorted.

    Raises:
        LoadError: so many that this cannot be a model's folder.
    """
    with os.scandir(folder) as entries:
        found = sorted(entry.name for entry in islice(entries, MAX_ENTRIES + 1))
    if len(found) > MAX_ENTRIES:
        raise LoadError(
            f"{printable(folder)} holds more than {MAX_ENTRIES} files; the folder of a model was expected",
            hint="give the model file, or a folder that holds the model alone",
        )
    return found


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        LoadError: no ordinary file, too long, not UTF-8, not JSON, nested too deeply, or no object.
    """
    size = path.stat().st_size if path.is_file() else 0
    if not size:  # Files that the system makes up as they are read, and may never end, have no size.
        raise LoadError(f"{printable(path)} is empty, or no ordinary file; JSON was expected", hint=_AGAIN)
    if size > MAX_JSON_BYTES:
        raise LoadError(
            f"{printable(path)} is {size} bytes of JSON; at most {MAX_JSON_BYTES} are read",
            hint="write the file again, with what describes the model alone",
        )
    with path.open("rb") as stream:
        return parse_json(stream.read(MAX_JSON_BYTES), printable(path))


def parse_json(text: bytes | str, where: str) -> dict[str, Any]:
    """The JSON object in a text; a key that stands twice in one object is refused.

    Raises:
        LoadError: naming `where` and what is wrong.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{where} is not valid JSON: {printable(str(error))}", hint="write the file again") from error
    if not isinstance(value, dict):
        raise LoadError(f"{where} holds a JSON {type(value).__name__}, an object was expected")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {printable(key)!r} stands twice")
        found[key] = value
    return found


def _homes(root: Path) -> Iterator[Path]:
    """The folder itself, and the blobs that the files of a Hugging Face cache's snapshot are links to.

    Those of the same repository, and behind them those that huggingface_hub 2 shares between repositories.
    """
    whole = root.resolve()
    yield whole
    repository = whole.parent.parent
    if whole.parent.name == "snapshots" and re.fullmatch("models--.+", repository.name):
        yield repository / "blobs"
        shared = repository.parent / "blobs"
        if (shared / _SHARED_BLOBS).is_file():
            yield shared


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _file_sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
