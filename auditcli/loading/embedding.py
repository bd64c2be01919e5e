"""A copy of a safetensors file that says what it is: `embed`."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from auditcli.errors import UsageError
from auditcli.loading._files import parse_json, printable
from auditcli.loading.description import METADATA_KEY, Description

_ALIGNMENT = 8
"""The format asks for data that begin at a multiple of this."""


def embed(source: Path, target: Path, description: Description) -> None:
    """Copy a file that `load` has accepted, with a description in its metadata; all numbers stay as they are stored.

    Args:
        source: A safetensors file.
        target: Written whole or not at all.
        description: Replaces one that is there.

    Raises:
        UsageError: the target cannot be written.
    """
    with source.open("rb") as stream:
        header = parse_json(stream.read(int.from_bytes(stream.read(8), "little")), f"the header of {printable(source)}")
        text = description.model_dump_json(exclude_none=True, exclude={"sha256"})
        header["__metadata__"] = {**header.get("__metadata__", {}), METADATA_KEY: text}
        written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        written += b" " * (-len(written) % _ALIGNMENT)
        try:
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
                draft = Path(scratch) / target.name
                with draft.open("wb") as copy:
                    copy.write(len(written).to_bytes(8, "little") + written)
                    shutil.copyfileobj(stream, copy)
                draft.replace(target)
        except OSError as error:
            raise UsageError(
                f"{printable(target)} cannot be written: {error.strerror}", hint="-o FILE in a folder you may write to"
            ) from error
