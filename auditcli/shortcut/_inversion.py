"""Images that a target puts into a class, found by descent on their pixels. Public names: `Inverted`, `inverted`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from auditcli.errors import AttackError
from auditcli.generator import losses
from auditcli.generator.reading import read

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import Target

STEPS = 80
FEWEST_STEPS = 20
"""With fewer the images are still near their grey start, and say nothing."""
VARIATION = 80.0
"""Weight of the total variation beside one cross-entropy; see docs/shortcut.md for how it was chosen."""
_RATE = 0.05
_GREY, _ROUGH, _SMOOTH = 0.5, 0.1, 0.2
_COARSE = 7
_VALUES = 2**21
"""Pixels that go through the target at once."""


@dataclass(frozen=True, slots=True)
class Inverted:
    """What a target takes for examples of its classes."""

    images: Tensor
    """(k, n, c, h, w) in [0, 1]: n of each class."""
    classes: tuple[int, ...]
    """The class of each of the k rows."""
    confidence: tuple[float, ...]
    """Mean probability that the target gives each of these classes, in [0, 1]."""
    steps: int


def inverted(
    target: Target,
    classes: Sequence[int],
    rng: torch.Generator,
    *,
    per_class: int,
    steps: int = STEPS,
    variation: float = VARIATION,
    deadline: float = float("inf"),
) -> Inverted:
    """Descend from smooth grey noise on the cross-entropy of each image and its total variation, by Adam.

    Args:
        target: Any classifier.
        classes: What to invert.
        rng: Of the starts.
        per_class: Images of each class.
        steps: Of the descent.
        variation: Weight of the total variation beside one cross-entropy.
        deadline: On `time.monotonic`; the descent ends there with the steps it has.

    Raises:
        AttackError: The deadline left fewer than `FEWEST_STEPS`, or the target's outputs are not finite.
    """
    shape = target.profile.input_shape
    labels = torch.tensor(classes).repeat_interleave(per_class)
    device = target.device
    labels = labels.to(device)
    images = _start(len(labels), shape, rng).to(device).requires_grad_()
    optimizer = torch.optim.Adam([images], lr=_RATE)
    done = 0
    while done < steps and (time.monotonic() < deadline or done == 0):
        optimizer.zero_grad()
        for part, wanted in zip(batches(images), batches(labels, like=images), strict=True):
            log_q = read(target, part).log_probabilities
            loss = losses.cross_entropy(log_q, wanted) + variation * losses.variation(part)
            loss.sum().backward()
        optimizer.step()
        with torch.no_grad():
            images.clamp_(0, 1)
        done += 1
    if done < min(steps, FEWEST_STEPS):
        raise AttackError(f"the budget ended after {done} of {steps} steps of inversion")
    with torch.no_grad():
        found = images.detach()
        sure = scores(target, found).softmax(dim=1)[torch.arange(len(labels)), labels]
    if not bool(sure.isfinite().all()):
        raise AttackError("the target's outputs on inverted images are not finite")
    return Inverted(
        images=found.unflatten(0, (len(classes), per_class)),
        classes=tuple(classes),
        confidence=tuple(sure.view(len(classes), per_class).mean(dim=1).tolist()),
        steps=done,
    )


def scores(target: Target, images: Tensor) -> Tensor:
    """Log-probabilities (n, classes) of images (n, c, h, w), without a gradient, some images at a time."""
    with torch.no_grad():
        return torch.cat([read(target, part).log_probabilities for part in batches(images)])


def batches(tensor: Tensor, like: Tensor | None = None) -> Iterator[Tensor]:
    """Parts of a tensor along its first dimension that fit through a target at once; those of `like` where given."""
    sized = tensor if like is None else like
    size = max(1, _VALUES // max(1, sized[0].numel()))
    yield from tensor.split(size)


def _start(n: int, shape: tuple[int, int, int], rng: torch.Generator) -> Tensor:
    channels, height, width = shape
    coarse = torch.randn(n, channels, min(_COARSE, height), min(_COARSE, width), generator=rng)
    smooth = functional.interpolate(coarse, size=(height, width), mode="bicubic")
    return (_GREY + _ROUGH * torch.randn(n, *shape, generator=rng) + _SMOOTH * smooth).clamp(0, 1)
