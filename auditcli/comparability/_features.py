"""What an image is like, apart from what it shows: groups of numbers that differ between collections, not by chance.

Public names: `Group`, `describe`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.stats import norm, rankdata

CROP = 64
"""Traces of processing are sought in this many pixels a side, from a corner of JPEG's grid near the middle."""
BANDS = 6
"""Of the spectrum, from coarse to fine."""
STEPS = (2, 3, 4, 5, 6, 8, 10, 12, 16)
"""Quantisation steps that JPEG may have used, in grey levels."""
THUMBNAIL = 7
"""Pixels a side of the coarse picture."""

Pixels = NDArray[np.uint8]
Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Group:
    """Numbers that tell of one thing."""

    name: str
    """In words, for the report."""
    values: Table
    """(n, f), each column of mean 0 and variance 1, or 0 throughout."""


def describe(images: Pixels, labels: NDArray[np.int64] | None) -> tuple[Group, ...]:
    """The groups of features of images, never which of them is a member.

    Numbers are replaced by their normal scores (ranks mapped to a normal distribution), so that no outlier decides, and
    their squares are added, so that a wider spread is seen as well as a higher level. Histograms, thumbnails and
    classes have many columns and stay as they are.

    Args:
        images: (n, h, w, c) uint8.
        labels: (n,) classes, where known of all.

    Returns:
        Groups, each with n rows. One that does not apply (colour of grey images) is absent.
    """
    plain = tuple((name, _rows(feature, images)) for name, feature in _SCALAR if name != "colour" or _coloured(images))
    groups = [Group(name, _with_squares(values)) for name, values in plain]
    groups.append(Group("grey levels", _standard(_rows(_histogram, images))))
    groups.append(Group("layout", _standard(_rows(_thumbnail, images))))
    if labels is not None:
        groups.append(Group("class mix", _standard((labels[:, None] == np.unique(labels)).astype(np.float64))))
    return tuple(groups)


def _coloured(images: Pixels) -> bool:
    return bool(images.shape[-1] == 3)


def _rows(feature: Callable[[Pixels], Table], images: Pixels) -> Table:
    return np.stack([feature(image) for image in images])


def _with_squares(values: Table) -> Table:
    scores = norm.ppf(rankdata(values, axis=0) / (len(values) + 1))
    return _standard(np.hstack([scores, scores**2]))


def _standard(values: Table) -> Table:
    centred = values - values.mean(axis=0)
    scale = centred.std(axis=0)
    return np.where(scale > 1e-9, centred / np.maximum(scale, 1e-9), 0.0)


def _grey(image: Pixels) -> Table:
    weights = np.array([0.299, 0.587, 0.114]) if image.shape[-1] == 3 else np.full(image.shape[-1], 1 / image.shape[-1])
    return np.asarray(image @ weights, dtype=np.float64)


def _crop(image: Pixels) -> Pixels:
    """A part of at most 64 x 64 pixels that begins at a corner of JPEG's 8 x 8 grid."""
    y, x = (max(0, (side - CROP) // 2 // 8 * 8) for side in image.shape[:2])
    return image[y : y + CROP, x : x + CROP]


def _brightness(image: Pixels) -> Table:
    return np.array([image.mean(), *np.percentile(_grey(_crop(image)), (10, 50, 90))])


def _contrast(image: Pixels) -> Table:
    return np.array([image.std(), float(np.ptp(image)), image.min(), image.max()])


def _colour(image: Pixels) -> Table:
    part = _crop(image).astype(np.float64)
    means, spreads = part.mean(axis=(0, 1)), part.std(axis=(0, 1))
    saturation = np.ptp(part, axis=-1)
    return np.array([*(means - means.mean()), *spreads, saturation.mean(), saturation.std(), (saturation == 0).mean()])


def _sharpness(image: Pixels) -> Table:
    """Gradients, second differences, and each band's share of the spectrum."""
    grey = _grey(_crop(image))
    window = np.outer(np.hanning(grey.shape[0] + 2)[1:-1], np.hanning(grey.shape[1] + 2)[1:-1])
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.rfftfreq(grey.shape[1])[None, :])
    band = np.minimum((radius / 0.5 * BANDS).astype(int), BANDS - 1)
    energy = np.bincount(band.ravel(), power.ravel(), minlength=BANDS) + 1e-3
    edges = [np.abs(np.diff(grey, n, axis)).mean() if grey.shape[axis] > n else 0.0 for n in (1, 2) for axis in (0, 1)]
    return np.array([*np.log(energy / energy.sum()), *edges])


def _jpeg(image: Pixels) -> Table:
    """Coefficients of 8 x 8 blocks on JPEG's grid against those of blocks beside it: small, or at multiples of a step.

    All zero for images without a whole block.
    """
    grey = _grey(_crop(image))
    here, beside = _coefficients(grey), _coefficients(grey[4:, 4:])
    if here is None or beside is None:
        return np.zeros(3 + len(STEPS) + 2)
    fine = np.add.outer(np.arange(8), np.arange(8)) >= 7
    small = [(np.abs(part[:, fine]) < 1).mean() for part in (here, beside)]
    size = [np.log(np.abs(part[:, fine]).mean() + 0.1) for part in (here, beside)]
    coarse = np.add.outer(np.arange(8), np.arange(8)) < 7
    coarse[0, 0] = False
    strong = here[:, coarse]
    strong = strong[np.abs(strong) > 1]
    comb = [np.cos(2 * np.pi * strong / step).mean() if strong.size else 0.0 for step in STEPS]
    return np.array([small[0], small[0] - small[1], size[0] - size[1], *comb, *_seams(grey)])


def _coefficients(grey: Table) -> Table | None:
    rows, columns = (side // 8 for side in grey.shape)
    if rows == 0 or columns == 0:
        return None
    blocks = grey[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 8, 8)
    return np.asarray(dctn(blocks, axes=(1, 2), norm="ortho"))


def _seams(grey: Table) -> list[float]:
    """How much steeper the picture is between two blocks than within one, down and across."""
    found = []
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)
        seam = np.arange(len(steps)) % 8 == 7
        found.append(np.log((steps[seam].mean() + 0.5) / (steps[~seam].mean() + 0.5)) if seam.any() else 0.0)
    return found


def _borders(image: Pixels) -> Table:
    grey = _grey(image)
    sides = (grey[0], grey[-1], grey[:, 0], grey[:, -1])
    inside = grey[1:-1, 1:-1].mean() if min(grey.shape) > 2 else grey.mean()
    plain = np.mean([(side == grey[0, 0]).mean() for side in sides])
    return np.array([*(side.mean() - inside for side in sides), *(side.std() for side in sides), plain])


def _levels(image: Pixels) -> Table:
    """How many levels occur, and how often the first, the last, odd ones and the commonest."""
    count = np.bincount(_crop(image).ravel(), minlength=256) / _crop(image).size
    return np.array([(count > 0).sum(), count[0], count[255], count[1::2].sum(), count.max(), count[1:4].sum()])


def _histogram(image: Pixels) -> Table:
    part = _crop(image)
    return np.asarray(np.sqrt(np.bincount(part.ravel(), minlength=256) / part.size), dtype=np.float64)


def _thumbnail(image: Pixels) -> Table:
    """(49 c,) means of parts of the image, whatever its size."""
    h, w = image.shape[:2]
    rows, columns = (np.linspace(0, side, min(side, THUMBNAIL) + 1).astype(int)[:-1] for side in (h, w))
    sums = np.add.reduceat(np.add.reduceat(image, rows, axis=0, dtype=np.float64), columns, axis=1)
    areas = np.outer(np.diff([*rows, h]), np.diff([*columns, w]))[..., None]
    return np.asarray((sums / areas).ravel(), dtype=np.float64)


_SCALAR: tuple[tuple[str, Callable[[Pixels], Table]], ...] = (
    ("brightness", _brightness),
    ("contrast", _contrast),
    ("colour", _colour),
    ("sharpness", _sharpness),
    ("JPEG traces", _jpeg),
    ("borders", _borders),
    ("number of levels", _levels),
)
"""By what the report calls them."""
