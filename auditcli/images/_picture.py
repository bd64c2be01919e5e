"""One image file: `read_picture`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from auditcli.errors import SampleError
from auditcli.images._pixels import Pixels, cause, plain, require_fit

SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""Image files that are read, and the Pillow plug-ins that may open them (some others start programs)."""
CHANNELS = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "LAB": 3, "HSV": 3}
MAX_FILE_BYTES = 256 * 2**20
"""Of one image file."""


def read_picture(file: Path, shape: tuple[int, int, int], role: str) -> Pixels:
    """The pixels (h, w, c) of one file; its header must fit before it is decoded."""
    c, h, w = shape
    if file.stat().st_size > MAX_FILE_BYTES:
        raise SampleError(
            f"{role}: {plain(file)} has {file.stat().st_size} bytes, more than the {MAX_FILE_BYTES} that are read",
            hint=f"the model takes images of {w}x{h}; prepare the file at that size",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=sorted(set(SUFFIXES.values()))) as image:
                require_fit(file, _channels(image, c), image.height, image.width, shape, role)
                return _decoded(image, c)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise SampleError(
            f"{role}: {plain(file)} is refused as a decompression bomb: {cause(error)}",
            hint=f"the model takes images of {w}x{h}; prepare the file at that size",
        ) from error
    except UnidentifiedImageError as error:
        raise SampleError(
            f"{role}: {plain(file)} is not an image that can be read", hint="remove the file, or convert it to PNG"
        ) from error
    except SampleError:
        raise
    except Exception as error:  # A decoder raises whatever its parts do.
        raise SampleError(
            f"{role}: {plain(file)} cannot be decoded: {cause(error)}", hint="remove the file, or convert it to PNG"
        ) from error


def _channels(image: Image.Image, wanted: int) -> int:
    """Channels of an image as stored; a palette counts as colour unless all its colours are grey and grey is wanted."""
    if image.mode == "P" and "transparency" not in image.info:
        return 1 if wanted == 1 and _is_grey(image.getpalette() or []) else 3
    if image.mode in ("P", "PA"):
        return 4
    if image.mode not in CHANNELS:
        raise ValueError(f"its pixels are of mode {image.mode}, and 8-bit grey or RGB was expected")
    return CHANNELS[image.mode]


def _is_grey(palette: Sequence[int]) -> bool:
    return all(r == g == b for r, g, b in zip(palette[::3], palette[1::3], palette[2::3], strict=True))


def _decoded(image: Image.Image, channels: int) -> Pixels:
    """Pixels (h, w, c) uint8; only conversions that keep every value (bits, palettes) are made."""
    if image.mode in ("1", "P"):
        image = image.convert("L" if channels == 1 else "RGB")
    if image.mode not in ("L", "RGB"):
        raise ValueError(f"its pixels are of mode {image.mode}, and 8-bit grey or RGB was expected")
    return np.asarray(image, dtype=np.uint8).reshape(image.height, image.width, channels)
