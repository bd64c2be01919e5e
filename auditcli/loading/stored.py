"""How the numbers of a model lie in its files: `stored_types`."""

from __future__ import annotations

from pathlib import Path

from auditcli.loading import huggingface, safetensors
from auditcli.types import Checkpoint, Format


def stored_types(checkpoint: Checkpoint) -> dict[str, str]:
    """The type of each tensor in the file, by the names of safetensors (`F32`, `BF16`, `I64`, ...).

    Empty for ONNX, whose graphs are read as floats of 32 bits.
    """
    found: dict[str, str] = {}
    for file in _files(checkpoint):
        found |= safetensors.types(file)
    return found


def _files(checkpoint: Checkpoint) -> tuple[Path, ...]:
    match checkpoint.format:
        case Format.SAFETENSORS:
            return (checkpoint.path,)
        case Format.HUGGINGFACE:
            return tuple(file for file in huggingface.members(checkpoint.path) if file.suffix == ".safetensors")
        case _:
            return ()
