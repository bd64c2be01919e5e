"""What the axes of a tensor stand for, followed through reshapes: `Axes`, `image`, `regrouped`, `resized`, `labels`.

An axis is a product of factors, each a label and a size above 1: `n` images, `c` channels or features, `s` places in
the image (pixels, patches, tokens). A flattened image (n, c*h*w) has the axes `((n,), (c, s, s))`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

Axis = tuple[tuple[str, int], ...]
Axes = tuple[Axis, ...]


def axis(label: str, size: int) -> Axis:
    """An axis of one factor; an axis of size 1 has none."""
    return ((label, size),) if size > 1 else ()


def image(shape: Sequence[int]) -> Axes:
    """The axes of (n, c, places...)."""
    return tuple(axis("nc"[index] if index < 2 else "s", size) for index, size in enumerate(shape))


def labels(axes: Sequence[Axis]) -> frozenset[str]:
    """What these axes stand for."""
    return frozenset(label for each in axes for label, _ in each)


def regrouped(axes: Axes, shape: Sequence[int]) -> Axes | None:
    """The axes of the same numbers in another shape; None where a factor is cut in a way that cannot be followed."""
    factors = [factor for each in axes for factor in each]
    if prod(size for _, size in factors) != prod(shape):
        return None
    found: list[Axis] = []
    for wanted in shape:
        taken: list[tuple[str, int]] = []
        while wanted > 1:
            label, size = factors.pop(0)
            share = size if wanted % size == 0 else wanted
            if size % share:
                return None
            if share < size:
                factors.insert(0, (label, size // share))
            taken.append((label, share))
            wanted //= share
        found.append(tuple(taken))
    return tuple(found)


def resized(axes: Axes, shape: Sequence[int]) -> Axes | None:
    """The axes where the number of dimensions stayed and some sizes changed: cropped, padded, joined or pooled."""
    if len(axes) != len(shape):
        return None
    found: list[Axis] = []
    for each, size in zip(axes, shape, strict=True):
        kinds = labels([each])
        if prod(part for _, part in each) == size:
            found.append(each)
        elif len(kinds) == 1:
            found.append(axis(next(iter(kinds)), size))
        elif size == 1:
            found.append(())
        else:
            return None
    return tuple(found)
