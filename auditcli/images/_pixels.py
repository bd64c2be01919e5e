"""What is asked of pixels wherever they come from, and what is made of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from auditcli.errors import SampleError

MAX_PIXEL_BYTES = 8 * 2**30
"""Of a whole sample, as float32."""

Pixels = NDArray[np.uint8]


def require_fit(path: Path, c: int, h: int, w: int, shape: tuple[int, int, int], role: str) -> None:
    if (c, h, w) == shape:
        return
    colour = {1: "grey", 3: "RGB"}
    found, wanted = (
        f"{width}x{height} {colour.get(channels, f'with {channels} channels')}"
        for channels, height, width in ((c, h, w), shape)
    )
    space = {1: " -colorspace Gray", 3: " -type TrueColor -alpha off"}.get(shape[0], "")
    raise SampleError(
        f"{role}: {plain(path)} is {found}, and the model takes {wanted} (width x height)",
        hint=f"prepare the images as for training, e.g. magick mogrify -resize '{shape[2]}x{shape[1]}!'{space}; "
        f"or --input-shape {c},{h},{w} if the model takes these",
    )


def require_room(n: int, shape: tuple[int, int, int], role: str) -> None:
    needed = 4 * n * shape[0] * shape[1] * shape[2]
    if needed > MAX_PIXEL_BYTES:
        most = MAX_PIXEL_BYTES * n // needed
        raise SampleError(
            f"{role}: {n} images need {needed / 2**30:.1f} GiB, and at most {MAX_PIXEL_BYTES / 2**30:.0f} GiB are read",
            hint=f"give at most {most} of them, drawn at random",
        )


def hashes(pixels: Pixels) -> tuple[str, ...]:
    return tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in pixels)


def floats(pixels: Pixels) -> torch.Tensor:
    """(n, c, h, w) float32 in [0, 1] of uint8 (n, h, w, c)."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float().div_(255)


def cause(error: BaseException) -> str:
    """The first line of what a library says: numpy goes on to recommend pickles."""
    return plain(next(iter(str(error).splitlines()), "") or type(error).__name__)


def plain(name: object) -> str:
    """A name without control characters, cut to 200: it came with the images."""
    text = "".join(character if character.isprintable() else "?" for character in str(name))
    return text if len(text) <= 200 else f"{text[:98]}...{text[-99:]}"
