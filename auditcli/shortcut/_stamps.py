"""What moves a target's answers to neutral images: a square of one brightness, or the pixels of a square.

Public names: `Sway`, `sway`, `slope`, `neutral`, `contrast`, `framed`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from auditcli.errors import AttackError
from auditcli.generator.reading import read
from auditcli.shortcut._inversion import batches, scores
from auditcli.shortcut._place import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from auditcli.types import Target

BACKGROUNDS = 16
FEWEST_BACKGROUNDS = 4
"""With fewer one background's own content is taken for the model's."""
SLOPES = 48
"""Neutral images for a gradient, which costs little."""
LEVELS = 7
"""Brightnesses of the square, evenly from 0 to 1."""
_OBJECT, _RAGGED, _EDGE = 0.55, 0.35, 8.0
_OUTLINE, _GRAIN = 6, 10
_GREY, _TEXTURE = 0.5, 0.25


@dataclass(frozen=True, slots=True)
class Sway:
    """What squares do, averaged over backgrounds."""

    changes: Tensor
    """(levels, classes, rows, columns): by how much a class's centred logit changes."""
    side: int
    stride: int
    backgrounds: int
    """How many were tried."""

    def place(self, row: int, column: int) -> Place:
        """The square of an entry."""
        return Place(row * self.stride, column * self.stride, self.side)

    def dependence(self) -> Tensor:
        """How far a class's logit depends on one square and not on those around it, (classes, rows, columns).

        It is the standard deviation over the levels of the `contrast` of the changes: a mark that tells a class by
        being there, by its brightness or by being absent makes the logit vary, and its neighbours do not share it.
        """
        apart = round(self.side / self.stride)
        return contrast(self.changes, apart).std(dim=0, correction=0)


def sway(target: Target, side: int, rng: torch.Generator, *, deadline: float = float("inf")) -> Sway:
    """Set a square of each brightness at each place of a grid into neutral images, and average what changes.

    Args:
        target: Any classifier.
        side: Of the square; the grid steps by half of it.
        rng: Of the backgrounds.
        deadline: On `time.monotonic`; the average is over the backgrounds done by then.

    Raises:
        AttackError: That left fewer than `FEWEST_BACKGROUNDS`, or the target's outputs are not finite.
    """
    shape = target.profile.input_shape
    images = neutral(shape, BACKGROUNDS, rng).to(target.device)
    stride = max(1, side // 2)
    rows, columns = (range(0, extent - side + 1, stride) for extent in shape[1:])
    levels = torch.linspace(0, 1, LEVELS).tolist()
    total, done = torch.zeros((), device=images.device), 0
    for image in images:
        if time.monotonic() >= deadline:
            break
        stamped = image.repeat(len(levels) * len(rows) * len(columns), 1, 1, 1)
        for index, (level, row, column) in enumerate(product(levels, rows, columns)):
            Place(row, column, side).of(stamped[index]).fill_(level)
        change = _centred(scores(target, stamped)) - _centred(scores(target, image[None]))
        total = total + change.view(len(levels), len(rows), len(columns), -1)
        done += 1
    if done < FEWEST_BACKGROUNDS:
        raise AttackError(f"the budget ended after {done} of the {FEWEST_BACKGROUNDS} backgrounds it takes at least")
    if not bool(total.isfinite().all()):
        raise AttackError("the target's outputs on neutral images are not finite")
    return Sway((total / done).permute(0, 3, 1, 2), side, stride, done)


def slope(target: Target, classes: Sequence[int], side: int, rng: torch.Generator) -> tuple[Tensor, ...]:
    """How much steeper a class's logit is in the pixels of a square than in those right around it.

    Args:
        target: Any classifier.
        classes: k of them.
        side: Of the square; one pixel less and one more are looked at too, for a mark stands out at its own size.
        rng: Of the neutral images.

    Returns:
        For each side s a map (k, h - s + 1, w - s + 1), at least 0: the mean gradient of the centred logit over a
        square and the neutral images, minus that over the frame of one pixel around it, without its sign.
    """
    images = neutral(target.profile.input_shape, SLOPES, rng).to(target.device)
    maps = []
    for label in classes:
        gradients: list[Tensor] = []
        for part in batches(images):
            pixels = part.clone().requires_grad_()
            gradients += torch.autograd.grad(_centred(read(target, pixels).log_probabilities)[:, label].sum(), pixels)
        maps.append(torch.cat(gradients).sum(dim=1).mean(dim=0))
    gradient = torch.stack(maps)
    return tuple(framed(gradient, one, 1).abs() for one in (side - 1, side, side + 1))


def framed(maps: Tensor, side: int, width: int) -> Tensor:
    """The mean of maps (k, h, w) over each square minus that over a frame of so many pixels around it.

    Beyond the image the nearest pixel inside stands for one outside.
    """
    wide = functional.pad(maps[:, None], (width,) * 4, mode="replicate")
    inside, outer = functional.avg_pool2d(maps[:, None], side, stride=1), side + 2 * width
    both = functional.avg_pool2d(wide, outer, stride=1)
    frame = (both * outer**2 - inside * side**2) / (outer**2 - side**2)
    return (inside - frame)[:, 0]


def neutral(shape: tuple[int, int, int], n: int, rng: torch.Generator) -> Tensor:
    """Images (n, c, h, w) in [0, 1] of no class: one ragged blob each, of a smooth random texture, on black."""
    channels, height, width = shape
    down, across = (torch.linspace(-1, 1, extent) for extent in (height, width))
    distance = down[:, None].square() + across.square()
    outline = _OBJECT - distance + _RAGGED * _smooth(n, 1, _OUTLINE, (height, width), rng)
    texture = (_GREY + _TEXTURE * _smooth(n, channels, _GRAIN, (height, width), rng)).clamp(0, 1)
    return texture * (_EDGE * outline).clamp(0, 1)


def contrast(values: Tensor, apart: int) -> Tensor:
    """Each entry of maps (..., rows, columns) minus the mean of the eight around it, so many entries apart.

    What a stroke or an outline carries, its neighbourhood carries too; a patch ends at its border. Beyond the map the
    nearest entry inside stands for one outside.
    """
    rows, columns = values.shape[-2:]
    wide = functional.pad(values.reshape(-1, 1, rows, columns), (apart,) * 4, mode="replicate")
    around = [
        wide[:, 0, down : down + rows, right : right + columns]
        for down, right in product((0, apart, 2 * apart), repeat=2)
        if (down, right) != (apart, apart)
    ]
    return values - torch.stack(around).mean(dim=0).view_as(values)


def _centred(log_q: Tensor) -> Tensor:
    """Logits with mean zero over the classes: what a softmax takes away does not count as a change."""
    return log_q - log_q.mean(dim=1, keepdim=True)


def _smooth(n: int, channels: int, coarse: int, size: tuple[int, int], rng: torch.Generator) -> Tensor:
    return functional.interpolate(torch.randn(n, channels, coarse, coarse, generator=rng), size=size, mode="bicubic")
