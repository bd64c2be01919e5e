"""Which format a path holds, by content first and suffix second: `sniff`."""

from __future__ import annotations

from pathlib import Path

from auditcli.errors import LoadError
from auditcli.loading._files import printable
from auditcli.loading._refused import refused_archive, refused_file, refused_folder, refused_unknown
from auditcli.types import Format


def sniff(path: Path) -> Format:
    """The format of a file or folder.

    Raises:
        LoadError: no such file, no ordinary one (a pipe, a device, a file that the system makes up), empty, refused
            (with the way out), or unknown.
    """
    if not path.exists():
        raise LoadError(f"{printable(path)}: no such file or folder", hint="check the path: ls")
    if path.is_dir():
        return _sniff_folder(path)
    if not path.is_file():
        raise LoadError(
            f"{printable(path)} is no ordinary file; a model file or folder was expected",
            hint="a pipe or a device is never opened: write the model to a file first",
        )
    if path.stat().st_size == 0:
        raise LoadError(f"{printable(path)} is empty", hint="download or copy the model again")
    return _sniff_file(path)


def _sniff_file(path: Path) -> Format:
    with path.open("rb") as stream:
        head = stream.read(512)
    if head.startswith(b"PK\x03\x04"):
        raise refused_archive(path)
    # Before pickles: 0x80 0x03, which opens a pickle, is also how a header of 896 bytes begins.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return Format.SAFETENSORS
    if refused := refused_file(path, head):
        raise refused
    suffix = path.suffix.lower()
    if head[8:9] == b"{" or suffix == ".safetensors":
        return Format.SAFETENSORS
    # An ONNX ModelProto opens with its field 1, ir_version: tag 0x08 and a small number.
    if suffix == ".onnx" or (head[:1] == b"\x08" and head[1:2] and head[1] < 32):
        return Format.ONNX
    raise refused_unknown(path)


def _sniff_folder(path: Path) -> Format:
    if (path / "config.json").is_file():
        return Format.HUGGINGFACE
    raise refused_folder(path)
