"""Looks for what a report must not spread, in every byte that an audit wrote or printed."""

import base64
import binascii
import re
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image

BASE64 = re.compile(rb"[A-Za-z0-9+/]{80,}={0,2}")
PNG = b"\x89PNG\r\n\x1a\n"


def contents(folder: Path, *printed: str) -> list[bytes]:
    """Every file and text, what is base64 in them, and the pixels of every PNG in either."""
    blobs = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    blobs += [path.relative_to(folder).as_posix().encode() for path in folder.rglob("*")]
    blobs += [text.encode() for text in printed]
    blobs += [decoded for blob in list(blobs) for decoded in _decoded(blob)]
    return [*blobs, *(pixels for blob in blobs if blob.startswith(PNG) for pixels in _pixels(blob))]


def _decoded(blob: bytes) -> Iterator[bytes]:
    for text in BASE64.findall(blob):
        for shift in range(4):
            piece = text[shift : len(text) - (len(text) - shift) % 4]
            try:
                yield base64.b64decode(piece)
            except binascii.Error:
                continue


def _pixels(png: bytes) -> Iterator[bytes]:
    picture = Image.open(BytesIO(png))
    yield picture.tobytes()
    yield picture.convert("L").tobytes()
    data, at = b"", len(PNG)
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        data += png[at + 8 : at + 8 + length] if png[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + length
    yield zlib.decompress(data)


def needles(folder: Path) -> dict[str, bytes]:
    """What tells an image of this folder: names, bytes, pixels; as they are, in hexadecimal, in base64."""
    found = {f"folder {folder.name}": folder.name.encode()}
    for path in folder.rglob("*.png"):
        pixels = Image.open(path).tobytes()
        found |= {
            f"name {path.stem}": path.stem.encode(),
            f"file {path.stem}": path.read_bytes(),
            f"pixels {path.stem}": pixels,
            f"hex {path.stem}": pixels.hex().encode(),
            f"base64 {path.stem}": base64.b64encode(pixels),
            f"numbers {path.stem}": ", ".join(map(str, pixels)).encode(),
        }
    return found


def leaks(blobs: Iterable[bytes], folders: Iterable[Path]) -> set[str]:
    """Kinds of what was found: `folder`, `name`, `file`, `pixels`, ..."""
    wanted = {what: needle for folder in folders for what, needle in needles(folder).items()}
    return {what.split()[0] for what, needle in wanted.items() if any(needle in blob for blob in blobs)}
