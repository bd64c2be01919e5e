"""What an image processor of the transformers library does to an image, from its JSON: `statistics`, `sides`, `flips`.

The processor takes 8-bit images: it resizes, crops, rescales from 0..255, and normalises, each where it says so.
Source: `BaseImageProcessor` of transformers 5 and its subclasses that differ (EfficientNet, MobileViT).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditcli.errors import LoadError

MAX_SIDE = 4096
"""Largest height or width taken from a file."""


def statistics(processor: Mapping[str, Any], where: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation of the model's input, in pixels of [0, 1]; None where the processor leaves them open.

    Args:
        processor: The JSON of the processor.
        where: Name of its file, for messages.

    Raises:
        LoadError: values that are no numbers, or deviations of 0 or less.
    """
    stated = {key: value for key, value in processor.items() if value is not None}
    never = _is(stated, "MobileViT")  # Its class does not normalise, whatever its JSON says.
    normalises = not never and stated.get("do_normalize", "image_mean" in stated)
    twice = bool(_is(stated, "EfficientNet") and stated.get("include_top", True))
    needed = {"image_mean": normalises, "image_std": normalises or twice}
    says_whether = never or "do_normalize" in stated or "image_mean" in stated
    if not says_whether or any(key not in stated for key, used in needed.items() if used):
        return None  # The defaults of the processor's class apply, and classes differ.
    rescales = stated.get("do_rescale", True)
    mean = _numbers(stated["image_mean"] if normalises else 0.0)
    std = _numbers(stated["image_std"] if normalises or twice else 1.0)
    factor = _numbers(stated.get("rescale_factor", 1 / 255) if rescales else 1.0)
    if not (mean and std and factor) or len(factor) > 1 or min(*std, *factor) <= 0:
        raise LoadError(
            f"{where}: image_mean, image_std and rescale_factor must be numbers, deviations above 0",
            hint="--mean and --std win over the file",
        )
    unit, offset = 255 * factor[0], float(bool(rescales and stated.get("rescale_offset")))
    means = tuple((value + offset) / unit for value in mean)
    stds = tuple((value * value if normalises and twice else value) / unit for value in std)
    return (means[::-1], stds[::-1]) if flips(processor) else (means, stds)


def sides(processor: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of what the processor returns, or None where that depends on the image."""
    crop, resize = processor.get("crop_size"), processor.get("size")
    if crop is not None and processor.get("do_center_crop", True):
        return square_or_sides(crop)
    return square_or_sides(resize) if processor.get("do_resize", True) else None


def flips(processor: Mapping[str, Any]) -> bool:
    """Whether the model reads blue, green, red."""
    return bool(processor.get("do_flip_channel_order", _is(processor, "MobileViT")))


def square_or_sides(size: object) -> tuple[int, int] | None:
    """Height and width in any of the forms that configurations write; the shortest edge is that of a square image."""
    match size:
        case int(side) | [int(side)] | {"shortest_edge": int(side)}:
            found = side, side
        case [int(height), int(width)] | {"height": int(height), "width": int(width)}:
            found = height, width
        case _:
            return None
    return found if all(0 < side <= MAX_SIDE and not isinstance(side, bool) for side in found) else None


def _is(processor: Mapping[str, Any], name: str) -> bool:
    """Whether the processor is of the class of that name, or of the feature extractor it is the heir of."""
    return str(processor.get("image_processor_type", processor.get("feature_extractor_type", ""))).startswith(name)


def _numbers(value: object) -> tuple[float, ...] | None:
    """One finite number, or one a channel."""
    values: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e6 for one in values):
        return None
    return tuple(float(one) for one in values)
