"""Safetensors files: `read`, `save_described`, and the reading of tensors that Hugging Face folders share.

The header is checked here before the library sees the file, so that a lying one is an error and not an allocation.
Format: 8 bytes little-endian header length, that many bytes of JSON, then the data that the offsets point into.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

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
}
_CONVERTED = {
    "F64": torch.float64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
}
"""Floats that are read as float32."""
_CHUNK = 2**22
"""Numbers looked at or converted at a time."""
_MAX_DIMENSIONS = 16
_AGAIN = "download or copy it again, and compare its sha256"


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a tensor lies in its file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Header:
    metadata: dict[str, str]
    entries: dict[str, _Entry]


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
    """Tensors by name and the metadata of a checked safetensors file.

    Floats come as float32, others as they are. What needs no conversion stays in the file, mapped into memory: its
    pages are read when they are looked at, and a write to such a tensor does not reach the file.

    Raises:
        LoadError: naming the tensor or the part of the header that is wrong.
    """
    from safetensors import SafetensorError, safe_open

    header = _checked_header(path)
    tensors = {}
    try:
        with safe_open(path, framework="pt") as mapped, path.open("rb") as stream:
            for name in mapped.keys():  # noqa: SIM118
                entry = header.entries[name]
                tensors[name] = _converted(stream, entry) if entry.dtype in _CONVERTED else mapped.get_tensor(name)
    except (SafetensorError, RuntimeError, TypeError, AttributeError, KeyError) as error:
        raise LoadError(f"{printable(path)} cannot be read: {printable(str(error))}", hint=_AGAIN) from error
    refuse_non_finite(path, tensors)
    return tensors, header.metadata


def types(path: Path) -> dict[str, str]:
    """The type of each tensor as the header names it.

    Raises:
        LoadError: a damaged or lying header.
    """
    return {name: entry.dtype for name, entry in _checked_header(path).entries.items()}


def refuse_non_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Check that all floats are finite, with little memory beside theirs.

    Raises:
        LoadError: naming the first tensor that holds NaN or infinity.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        for part in tensor.reshape(-1).split(_CHUNK):
            # The extremes of numbers among which there is a NaN are NaN.
            if len(part) and not torch.stack(torch.aminmax(part)).isfinite().all():
                kind = "NaN" if part.isnan().any() else "infinite"
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


def _converted(stream: IO[bytes], entry: _Entry) -> Tensor:
    """A tensor as float32, converted piece by piece: the file's own bytes never lie in memory as a whole."""
    dtype = _CONVERTED[entry.dtype]
    whole = torch.empty(entry.shape, dtype=torch.float32)
    stream.seek(entry.start)
    for part in whole.view(-1).split(_CHUNK):
        if len(part):
            part.copy_(torch.frombuffer(bytearray(stream.read(len(part) * dtype.itemsize)), dtype=dtype))
    return whole


def _checked_header(path: Path) -> _Header:
    """The header, once it agrees with itself and with the file's size."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 10 or length > size - 8:
            raise _damaged(path, f"its header claims {length} bytes, the file has {size}")
        if length > MAX_JSON_BYTES:
            raise _damaged(path, f"its header has {length} bytes; at most {MAX_JSON_BYTES} are read")
        header = parse_json(stream.read(length), f"the header of {printable(path)}")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(path, "its __metadata__ is no map of strings")
    entries = {name: _entry(path, name, entry, 8 + length) for name, entry in header.items()}
    end = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != end:
            what = "overlaps another" if entry.start < end else f"leaves a hole of {entry.start - end} bytes before it"
            raise _damaged(path, f"tensor {printable(name)} {what}")
        end = entry.stop
    if end != size:
        raise _damaged(path, f"its tensors end at byte {end}, the file at byte {size}")
    return _Header(metadata, entries)


def _entry(path: Path, name: str, entry: object, data: int) -> _Entry:
    """A tensor of the header, once its shape, its type and its bytes fit each other."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, f"tensor {printable(name)} does not have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _ITEM_BITS:
        raise _damaged(path, f"tensor {printable(name)} has the unknown type {printable(str(dtype))}")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _damaged(path, f"tensor {printable(name)} has a shape or offsets that are no counts")
    if len(shape) > _MAX_DIMENSIONS:
        raise _damaged(path, f"tensor {printable(name)} has {len(shape)} dimensions, more than {_MAX_DIMENSIONS}")
    wanted = math.prod(shape) * _ITEM_BITS[dtype]
    if wanted != 8 * (offsets[1] - offsets[0]):
        raise _damaged(path, f"tensor {printable(name)} needs {wanted // 8} bytes and has {offsets[1] - offsets[0]}")
    return _Entry(dtype, tuple(shape), data + offsets[0], data + offsets[1])


def _counts(value: object) -> bool:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 2**63 for number in value)


def _damaged(path: Path, why: str) -> LoadError:
    return LoadError(f"{printable(path)} is damaged: {why}", hint=_AGAIN)
