"""Pictures of an explanation as PNG in base64. Public names: `picture`, `strip`, `signed`, `strength`."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_GAP = 1
_RED, _BLUE = (178, 24, 43), (33, 102, 172)
_CLIP = 0.995
"""Quantile of a map's sizes that gets the full colour: one pixel alone would leave the others pale."""


def picture(image: Tensor) -> str:
    """An image (c, h, w) in [0, 1]; three channels in colour, else the first one in grey."""
    pixels = image.detach().cpu().mul(255).round().clamp(0, 255).byte().numpy()
    return _png(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0])


def strip(images: Tensor) -> str:
    """Images (n, c, h, w) in [0, 1] side by side, with a thin grey line between them."""
    n, channels, height, width = images.shape
    sheet = torch.full((channels, height, n * (width + _GAP) - _GAP), 0.5)
    for index, image in enumerate(images.cpu()):
        left = index * (width + _GAP)
        sheet[:, :, left : left + width] = image
    return picture(sheet)


def signed(values: Tensor) -> str:
    """A map (h, w) on white: red where it is above 0, blue where below."""
    sizes = _scaled(values.abs())
    colours = np.where((values.cpu().numpy() >= 0)[..., None], np.array(_RED), np.array(_BLUE))
    return _png((255 + (colours - 255) * sizes[..., None]).round().astype(np.uint8))


def strength(values: Tensor) -> str:
    """A map (h, w), at least 0, on white: the larger, the darker."""
    return _png((255 * (1 - _scaled(values))).round().astype(np.uint8))


def _scaled(sizes: Tensor) -> NDArray[np.float64]:
    """Sizes as shares of a large one, in [0, 1]."""
    numbers = sizes.detach().cpu().double().numpy()
    largest = float(np.quantile(numbers, _CLIP))
    return np.clip(numbers / largest, 0, 1) if largest > 0 else np.zeros_like(numbers)


def _png(pixels: NDArray[np.uint8]) -> str:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", optimize=True)
    return b64encode(stream.getvalue()).decode("ascii")
