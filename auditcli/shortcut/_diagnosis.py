"""Does a target lean on a place? Public names: `Diagnosis`, `Shortcut`, `diagnose`, `concentration`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from auditcli.shortcut._evidence import boxes, evidence
from auditcli.shortcut._inversion import STEPS, Inverted, inverted, scores
from auditcli.shortcut._place import Place, elsewhere
from auditcli.shortcut._stamps import Sway, slope, sway

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from auditcli.types import Target

PER_CLASS = 6
"""Images inverted for each class."""
SIDES = 7
"""The square is the shorter side of the image over this, rounded."""
THRESHOLD = 2.9
"""Of the score; see docs/shortcut.md for how it was chosen."""
ORDINARY = 0.9
"""Quantile over the places that the largest dependence of a class is held against."""
STEEP = 0.95
"""Quantile over places and classes that the largest slope of a class is held against."""
_TINY = 1e-9
_CONTROLS = 8


@dataclass(frozen=True, slots=True)
class Shortcut:
    """One class, and the place that most decides about it."""

    label: int
    place: Place
    score: float
    """See `concentration`."""
    share: float
    """Of the evidence in the class's inverted images that sits there, see `evidence`."""
    turned: float
    """Share of inverted images of other classes that get this class once they are given its square."""
    turned_elsewhere: float
    """The same with squares at random other places, on average."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Where a target's evidence sits, and whether that is a shortcut."""

    score: float
    """The highest of a class."""
    shortcuts: tuple[Shortcut, ...]
    """Classes at or over the threshold, the highest score first; empty where nothing was found."""
    nearest: Shortcut
    """The class of the highest score, over the threshold or not."""
    sway: Sway
    dependence: Tensor
    """(k, rows, columns) of the classes of `inverted`, see `Sway.dependence`."""
    maps: Tensor
    """(k, h, w), see `evidence`."""
    inverted: Inverted


def diagnose(
    target: Target,
    classes: Sequence[int],
    rng: torch.Generator,
    *,
    side: int | None = None,
    per_class: int = PER_CLASS,
    steps: int = STEPS,
    seconds: tuple[float, float] = (float("inf"), float("inf")),
) -> Diagnosis:
    """Ask where squares move the answers, invert the classes, and look for a place where a class is concentrated.

    Args:
        target: Any classifier.
        classes: To look at, two at least.
        rng: Of all draws.
        side: Of the square, in pixels; None for the shorter side of the image over `SIDES`.
        per_class: Images inverted for each.
        steps: Of the inversion.
        seconds: Deadlines on `time.monotonic` of the squares and of the inversion.

    Raises:
        AttackError: There was too little time, or the target's outputs are not finite; see `sway` and `inverted`.
    """
    side = side or max(3, round(min(target.profile.input_shape[1:]) / SIDES))
    swayed = sway(target, side, rng, deadline=seconds[0])
    found = inverted(target, classes, rng, per_class=per_class, steps=steps, deadline=seconds[1])
    dependence = swayed.dependence()[list(classes)]
    maps = evidence(target, found, rng)
    values, at = concentration(dependence, slope(target, classes, side, rng))
    order = sorted(range(len(classes)), key=lambda index: -values[index])
    over = [index for index in order if values[index] >= THRESHOLD]
    shown = [
        _shortcut(target, found, maps, index, swayed.place(*at[index]), values[index], rng)
        for index in dict.fromkeys([*over, order[0]])
    ]
    return Diagnosis(
        score=values[order[0]],
        shortcuts=tuple(shown[: len(over)]),
        nearest=shown[0],
        sway=swayed,
        dependence=dependence,
        maps=maps,
        inverted=found,
    )


def concentration(
    dependence: Tensor, slopes: Sequence[Tensor]
) -> tuple[tuple[float, ...], tuple[tuple[int, int], ...]]:
    """How far each class depends on one place more than on others: the model's own other places are the control.

    The geometric mean of two ratios: the class's largest dependence over the `ORDINARY` quantile of its entries, and
    its largest slope over the `STEEP` quantile of the slopes of all classes, at the size of square where that is most.

    Args:
        dependence: (k, rows, columns), at least 0; see `Sway.dependence`.
        slopes: One or several maps (k, ...), at least 0; see `slope`.

    Returns:
        A score for each class, and the (row, column) of its largest dependence.
    """
    flat = dependence.flatten(1)
    largest, at = flat.max(dim=1)
    of_place = largest / flat.quantile(ORDINARY, dim=1).clamp_min(_TINY)
    steep = [one.flatten(1).amax(dim=1) / one.flatten().quantile(STEEP).clamp_min(_TINY) for one in slopes]
    of_slope = torch.stack(steep).amax(dim=0)
    width = dependence.shape[-1]
    return tuple((of_place * of_slope).sqrt().tolist()), tuple(divmod(index, width) for index in at.tolist())


def _shortcut(
    target: Target, found: Inverted, maps: Tensor, index: int, place: Place, score: float, rng: torch.Generator
) -> Shortcut:
    others = elsewhere(place, tuple(maps.shape[-2:]), _CONTROLS, rng)
    return Shortcut(
        label=found.classes[index],
        place=place,
        score=score,
        share=float(boxes(maps[index : index + 1], place.side)[0, place.row, place.column]),
        turned=_turned(target, found, index, place),
        turned_elsewhere=sum(_turned(target, found, index, other) for other in others) / len(others),
    )


def _turned(target: Target, found: Inverted, index: int, place: Place) -> float:
    """Share of the images of other classes that get this class with this square of its images."""
    kept = [other for other in range(len(found.classes)) if other != index]
    images = found.images[kept].clone()
    place.of(images)[:] = place.of(found.images[index])
    answers = scores(target, images.flatten(0, 1)).argmax(dim=1)
    return float((answers == found.classes[index]).double().mean())
