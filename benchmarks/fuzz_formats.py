"""Damage that knows the format, so that what is behind the first check is reached as well.

Public names: `edit_safetensors`, `edit_metadata`, `edit_npz`, `edit_png`, `edit_jpeg`. Checksums and lengths are put
right again, sizes stay small: a decompression bomb here holds megabytes and claims more.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace
from math import prod
from random import Random
from typing import Any

from fuzz_edits import INTRUDER, NUMBERS, TEXTS, edit_bytes, edit_json

# ---- safetensors ----------------------------------------------------------------------------------------------------

_BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F4": 4}
_METADATA = "privaudit.arch"


@dataclass(frozen=True, slots=True)
class _Tensor:
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def edit_safetensors(content: bytes, rng: Random) -> bytes:
    """A header that lies, or one that is in order over other names, shapes, types and values."""
    length = int.from_bytes(content[:8], "little")
    if rng.random() < 0.3:
        header = edit_json(content[8 : 8 + length], rng)
        return len(header).to_bytes(8, "little") + header + content[8 + length :]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header.pop("__metadata__", {})
    tensors = {
        name: _Tensor(entry["dtype"], tuple(entry["shape"]), data[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }
    for _ in range(rng.choice((1, 1, 2, 3))):
        tensors = _edited_tensors(tensors, rng)
    return _packed(tensors, metadata)


def edit_metadata(content: bytes, rng: Random) -> bytes:
    """The description inside the file, with all else as it was."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    described = edit_json(header["__metadata__"][_METADATA].encode(), rng, tuple(TEXTS))
    if rng.random() < 0.1:
        described = edit_bytes(described, rng)
    header["__metadata__"][_METADATA] = described.decode(errors="surrogateescape")
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _edited_tensors(tensors: dict[str, _Tensor], rng: Random) -> dict[str, _Tensor]:
    name = rng.choice(sorted(tensors)) if tensors else ""
    held = tensors.get(name, _Tensor("F32", (0,), b""))
    others = {other: tensor for other, tensor in tensors.items() if other != name}
    match rng.randrange(8):
        case 0:
            return {**others, _new_name(name, rng): held}
        case 1:
            return others
        case 2:
            return {**tensors, _new_name(name, rng): held}
        case 3:
            return {**others, name: replace(held, shape=_same_size(held.shape, rng))}
        case 4:
            return {**others, name: _retyped(held, rng)}
        case 5:
            shape = tuple(rng.choice((0, 1, 2, 3, 4, 8, 16)) for _ in range(rng.randrange(6)))
            return {**others, name: _Tensor(held.dtype, shape, bytes(_size(held.dtype, shape)))}
        case 6:
            shape = rng.choice(((0, 2**62), (2**62, 0, 2**62), (1,) * 100, (0,) * 9))
            return {**others, name: _Tensor(held.dtype, shape, bytes(_size(held.dtype, shape)))}
        case _:
            fill = rng.choice((float("nan"), float("inf"), 3e38, -1.0, 0.0, 1e-40))
            count = len(held.data) // 4
            data = struct.pack(f"<{count}f", *[fill] * count) + held.data[4 * count :]
            return {**others, name: replace(held, data=data)}


def _new_name(name: str, rng: Random) -> str:
    parts = name.split(".")
    made = (".".join(parts[::-1]), f"module.{name}", f"{name}.0", name.replace("1", "7"), parts[-1], "running_var")
    return rng.choice((*made, *(text for text in TEXTS if len(text) < 1000)))


def _same_size(shape: tuple[int, ...], rng: Random) -> tuple[int, ...]:
    turned = list(shape)
    rng.shuffle(turned)
    return rng.choice((tuple(turned), (prod(shape),), (1, *shape), (*shape, 1), (1, 1, 1, *shape)))


def _retyped(tensor: _Tensor, rng: Random) -> _Tensor:
    """The same bytes under another type, the last dimension as it must then be."""
    dtype = rng.choice(sorted(_BITS))
    count = len(tensor.data) * 8 // _BITS[dtype]
    rest = prod(tensor.shape[:-1])
    shape = (*tensor.shape[:-1], count // rest) if rest and count % rest == 0 else (count,)
    return _Tensor(dtype, shape, tensor.data[: _size(dtype, shape)])


def _size(dtype: str, shape: tuple[int, ...]) -> int:
    return prod(shape) * _BITS.get(dtype, 32) // 8


def _packed(tensors: dict[str, _Tensor], metadata: dict[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, tensor in tensors.items():
        offsets = [end, end := end + len(tensor.data)]
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(tensor.data for tensor in tensors.values())


# ---- npz ------------------------------------------------------------------------------------------------------------


class _Intruder:
    """Makes a folder when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        import os

        return os.mkdir, ("intruder",)


_DESCRIPTIONS = ("|u1", "<i8", "<f4", ">u2", "|O", "|S9", "<U4", "|V8", "<M8[s]", "u1", "<u16", "|S2000000000", ",,,")
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def edit_npz(content: bytes, rng: Random) -> bytes:
    """Other headers, members and compressions in an archive that is in order."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    index = rng.randrange(len(members))
    name, body = members[index]
    match rng.randrange(7):
        case 0 | 1 | 2:
            members[index] = (name, _edited_npy(body, rng))
        case 3:
            members[index] = (rng.choice((*(text for text in TEXTS if 0 < len(text) < 1000), "labels.npy")), body)
        case 4:
            members.append((rng.choice((name, "../outside.npy", "labels.npy", "images.npy")), edit_bytes(body, rng)))
        case 5:
            members[index] = (name, edit_bytes(body, rng))
        case _:
            members[index] = (name, body + b"\0" * rng.choice((1, 20_000_000)))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice(_COMPRESSIONS)) as archive:
        for member, inside in members:
            # Directly, as `writestr` would warn about a name that stands twice.
            info = zipfile.ZipInfo(member.encode("utf-8", "replace").decode())
            info.compress_type = archive.compression
            archive.NameToInfo.pop(info.filename, None)
            archive.writestr(info, inside)
    return stream.getvalue()


def _edited_npy(body: bytes, rng: Random) -> bytes:
    header = {"descr": "|u1", "fortran_order": False, "shape": (2, 4, 4)}
    sizes = tuple(rng.choice((-1, 0, 1, 2, 4, 2**31, 2**63, 10**30)) for _ in range(rng.randrange(5)))
    header[rng.choice(("descr", "shape", "fortran_order", "more"))] = rng.choice(
        (rng.choice(_DESCRIPTIONS), sizes, sizes, rng.choice(NUMBERS), [("a", "<i4"), ("b", "|O")], None)
    )
    text = repr(header).encode() if rng.random() < 0.9 else INTRUDER.encode()
    data = pickle.dumps([_Intruder()]) if "|O" in str(header) else body[-32:]
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + data


# ---- images ---------------------------------------------------------------------------------------------------------

_PNG = b"\x89PNG\r\n\x1a\n"


def edit_png(content: bytes, rng: Random) -> bytes:
    """Other sizes, modes and chunks, with the checksums that belong to them."""
    chunks = _chunks(content)
    index = rng.randrange(len(chunks))
    kind, body = chunks[index]
    match rng.randrange(6):
        case 0 | 1:
            chunks[0] = (b"IHDR", _edited_header(chunks[0][1], rng))
        case 2:
            chunks[index] = (kind, edit_bytes(body, rng))
        case 3:
            chunks.insert(index, chunks[rng.randrange(len(chunks))])
        case 4:
            bomb = zlib.compress(bytes(rng.choice((1, 30_000_000))))
            extra = (
                (b"zTXt", b"a\0\0" + bomb),
                (b"iCCP", b"a\0\0" + bomb),
                (b"IDAT", bomb),
                (b"iTXt", b"a\0\1\0\0\0" + bomb),
            )
            others = ((b"PLTE", b"\0" * 9), (b"tRNS", b"\0\1"), (b"acTL", b"\0\0\0\xff\0\0\0\1"), (b"eXIf", b"II*\0"))
            chunks.insert(rng.randrange(1, len(chunks)), rng.choice((*extra, *others)))
        case _:
            del chunks[index]
    return _PNG + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(_PNG)
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += length + 12
    return found


def _edited_header(body: bytes, rng: Random) -> bytes:
    fields = list(struct.unpack(">IIBBBBB", body))
    index = rng.randrange(7)
    fields[index] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255, 5000, 100_000, 2**31 - 1, 2**32 - 1))
    return struct.pack(">IIBBBBB", *(min(field, 255) if i > 1 else field for i, field in enumerate(fields)))


def edit_jpeg(content: bytes, rng: Random) -> bytes:
    """Other sizes, components, tables and orders of segments."""
    starts = [at for at in range(len(content) - 1) if content[at] == 0xFF and content[at + 1] not in (0, 0xFF)]
    start = rng.choice(starts)
    stop = next((at for at in starts if at > start), len(content))
    match rng.randrange(4):
        case 0:
            frame = next(at for at in starts if content[at + 1] in (0xC0, 0xC2))
            size = struct.pack(">HH", *(rng.choice((0, 1, 4, 5, 5000, 65535)) for _ in range(2)))
            return content[: frame + 5] + size + content[frame + 9 :]
        case 1:
            return content[:stop] + content[start:stop] * rng.choice((1, 3, 1000)) + content[stop:]
        case 2:
            return content[:start] + edit_bytes(content[start:stop], rng) + content[stop:]
        case _:
            return content[:start] + content[stop:]
