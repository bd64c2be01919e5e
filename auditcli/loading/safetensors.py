"""Safetensors files: `read`, `save_described`, and the reading of tensors that Hugging Face folders share.

The header is checked here before the library sees the file, so that a lying one is an error and not an allocation.
Format: 8 bytes little-endian header length, that many bytes of JSON, then the data that the offsets point into.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from auditcli.errors import LoadError
from auditcli.loading._files import MAX_JSON_BYTES, digest, parse_json, printable
from auditcli.loading.description import METADATA_KEY, Description, describe
from auditcli.types import Checkpoint, Format

if TYPE_CHECKING:
    from torch import Tensor

_ITEM_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0", "I8", "U8", "BOOL"), 8),
    "F4": 4,
}


def read(path: Path) -> Checkpoint:
    """Read one safetensors file and its description.

    Raises:
        LoadError: damaged or lying header, weights that are not finite, or a malformed description.
    """
    tensors, metadata = read_tensors(path)
    if not tensors:
        raise LoadError(f"{printable(path)} holds no tensors", hint="save the model's state dict again")
    sha256 = digest((path,), path.parent)
    description, described_by = describe(path, metadata, sha256)
    return Checkpoint(
        path=path,
        format=Format.SAFETENSORS,
        sha256=sha256,
        bytes=path.stat().st_size,
        tensors=tensors,
        description=description,
        described_by=described_by,
    )


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name (floats as float32, others as they are) and the metadata of a checked safetensors file.

    Raises:
        LoadError: naming the tensor or the part of the header that is wrong.
    """
    from safetensors import SafetensorError, safe_open

    metadata = _checked_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: _as_float32(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, RuntimeError, TypeError, AttributeError, KeyError) as error:
        raise LoadError(f"{printable(path)} cannot be read: {str(error)[:120]}", hint="download it again") from error
    refuse_non_finite(path, tensors)
    return tensors, metadata


def refuse_non_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Check that all floats are finite.

    Raises:
        LoadError: naming the first tensor that holds NaN or infinity.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            kind = "NaN" if tensor.isnan().any() else "infinite"
            raise LoadError(
                f"{printable(path)}: tensor {printable(name)} holds {kind} values; finite weights were expected",
                hint="the training diverged or the file is damaged: take an earlier checkpoint",
            )


def save_described(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write a safetensors file that says what it is.

    Args:
        path: File to write.
        tensors: Weights by name.
        description: Keys of `Description`; lists where it has tuples.

    Raises:
        pydantic.ValidationError: the description is not one.
    """
    from safetensors.torch import save_file

    stated = Description.model_validate(description)
    text = stated.model_dump_json(exclude_none=True, exclude={"sha256"})
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(whole, path, metadata={METADATA_KEY: text})


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor


def _checked_header(path: Path) -> dict[str, str]:
    """Metadata of the file, once the header agrees with itself and with the file's size."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 10 or length > min(size - 8, MAX_JSON_BYTES):
            raise _damaged(path, f"its header claims {length} bytes, the file has {size}")
        header = parse_json(stream.read(length), f"the header of {printable(path)}")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(path, "its __metadata__ is no map of strings")
    spans = sorted((*_span(path, name, entry), name) for name, entry in header.items())
    end = 0
    for start, stop, name in spans:
        if start != end:
            what = "overlaps another" if start < end else f"leaves a hole of {start - end} bytes before it"
            raise _damaged(path, f"tensor {printable(name)} {what}")
        end = stop
    if end != size - 8 - length:
        raise _damaged(path, f"its tensors end at byte {end}, its data at byte {size - 8 - length}")
    return metadata


def _span(path: Path, name: str, entry: object) -> tuple[int, int]:
    """First and last-plus-one byte of a tensor's data, once they fit its shape and type."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, f"tensor {printable(name)} does not have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _ITEM_BITS:
        raise _damaged(path, f"tensor {printable(name)} has the unknown type {printable(str(dtype))}")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _damaged(path, f"tensor {printable(name)} has a shape or offsets that are no counts")
    wanted = math.prod(shape) * _ITEM_BITS[dtype]
    if wanted != 8 * (offsets[1] - offsets[0]):
        raise _damaged(path, f"tensor {printable(name)} needs {wanted // 8} bytes and has {offsets[1] - offsets[0]}")
    return offsets[0], offsets[1]


def _counts(value: object) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _damaged(path: Path, why: str) -> LoadError:
    return LoadError(f"{printable(path)} is damaged: {why}", hint="download or copy it again, and compare its sha256")
