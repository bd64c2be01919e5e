"""Tries hypotheses, from the roots to what differs from the best in one key, until none is better: `search`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import torch

from auditcli.errors import AuditError
from auditcli.families import build
from auditcli.hypotheses._hypothesis import Hypothesis, hypothesis, moved, neighbours
from auditcli.hypotheses._measure import Measured, measure

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families import Options
    from auditcli.types import Checkpoint

_BEAM = 4
"""Hypotheses around which is looked in the first round; then around the best alone."""
_CONVINCING = 0.005
"""Squared Hellinger distance; right networks of small models are at 0.0002 to 0.004 (`benchmarks/bare_trained.py`)."""
_SCREENED = 128
"""Images on which all are tried."""
_FEWEST, _PIXELS = 16, 2**19
"""Images at least, and places in them at most, where few are asked for."""
_FINALISTS = 16
"""Hypotheses that are measured on all images."""
_PLACE = "norm"


@dataclass(frozen=True, slots=True)
class Pictures:
    """Images of the kind the model was trained on."""

    images: Tensor
    """(n, c, h, w) in [0, 1]."""
    labels: Tensor | None
    """(n,) class indices, where known."""

    def few(self, count: int) -> Pictures:
        """So many of them, and fewer where they are large."""
        height, width = self.images.shape[2:]
        return self.first(min(count, max(_FEWEST, _PIXELS // (height * width))))

    def first(self, count: int) -> Pictures:
        """So many of them."""
        return Pictures(self.images[:count], None if self.labels is None else self.labels[:count])


@dataclass(frozen=True, slots=True)
class Tried:
    """A hypothesis and what it made of the images."""

    hypothesis: Hypothesis
    measured: Measured
    distance: float | None
    """Of the recorded statistics from those of the images, in [0, 1]; None without batch norm."""
    accuracy: float | None
    """Share of labelled images it is right on; None without labels."""

    @property
    def convincing(self) -> bool:
        """Whether it finds the recorded statistics so well that nothing far from it can be meant."""
        return self.distance is not None and self.distance < _CONVINCING

    @property
    def order(self) -> tuple[float, float]:
        """Smaller is better: batch norm first, then accuracy."""
        return (round(self.distance or 0.0, 9), -(self.accuracy or 0.0))


@dataclass(frozen=True, slots=True)
class Search:
    """What was tried, the best first, measured on all images where it was among the best on some."""

    tried: tuple[Tried, ...]
    pictures: Pictures
    """Those images: all, or as many as there was time for."""
    count: int
    complete: bool
    """Whether nothing that differs from the best in two keys was left out."""


@dataclass
class _Pool:
    """Hypotheses tried so far, by their answers; None where they do not fit."""

    attempt: Callable[[Mapping[str, str]], Tried | None]
    limit: int
    deadline: float
    held: dict[frozenset[tuple[str, str]], Tried | None]
    complete: bool = True

    def add(self, answers: Iterable[Mapping[str, str]]) -> None:
        """Try them, as far as there is room and time."""
        for each in answers:
            key = frozenset(each.items())
            if key in self.held:
                continue
            if len(self.held) >= self.limit or time.monotonic() > self.deadline:
                self.complete = False
                return
            self.held[key] = self.attempt(each)

    def best(self) -> list[Tried]:
        """The best first."""
        return sorted((one for one in self.held.values() if one is not None), key=lambda one: one.order)


def search(
    checkpoint: Checkpoint,
    options: Options,
    roots: Sequence[Mapping[str, str]],
    pictures: Pictures,
    *,
    limit: int,
    seconds: float,
) -> Search:
    """Measure hypotheses on images, around the best of them again and again until nothing near is better.

    Args:
        checkpoint: The model.
        options: Statements of the user, which all hypotheses share.
        roots: Answers to an open question; one empty answer where there is none.
        pictures: Of the model's input shape.
        limit: Hypotheses at most.
        seconds: Ceiling.
    """
    began, fixed = time.monotonic(), frozenset(key for root in roots for key in root)
    few = pictures.few(_SCREENED)
    pool = _Pool(lambda answers: tried(checkpoint, options, answers, few), limit, began + seconds, {})
    pool.add(roots)
    leading = pool.best()
    # The place of norms changes everything behind it, so each is a start of its own.
    placed = [dict(near) for one in leading for near in neighbours(one.hypothesis, fixed) if _PLACE in near]
    pool.add(placed)
    around: list[Tried] = []
    while pool.complete:
        ahead = _leaders(pool.best(), 1 if around else _BEAM)
        if not ahead or ahead[0] in around:
            break
        around = ahead
        for one in ahead:
            pool.add(neighbours(one.hypothesis, fixed))
            pool.add(moved(one.hypothesis.answers, root, fixed) for root in roots)
        if pool.best()[0] is ahead[0] and not ahead[0].convincing:
            pool.add(_two_away(pool.best()[0].hypothesis, fixed, roots))
    finalists = _finalists(pool.best())
    each = (time.monotonic() - began) / max(1, len(pool.held)) / len(few.images)
    most = pictures.first(max(len(few.images), int(seconds / (each * max(1, len(finalists))))))
    found = [tried(checkpoint, options, one.hypothesis.answers, most) for one in finalists]
    return Search(
        tuple(sorted((one for one in found if one is not None), key=lambda one: one.order)),
        most,
        len(pool.held),
        pool.complete,
    )


def _finalists(best: Sequence[Tried]) -> list[Tried]:
    """The best, and of every key the best with another value, to be compared with."""
    finalists = list(best[:_FINALISTS])
    for key in sorted({key for one in finalists for key in one.hypothesis.keys}):
        value = best[0].hypothesis.value(key)
        if all(one.hypothesis.value(key) == value for one in finalists):
            finalists += [one for one in best[_FINALISTS:] if one.hypothesis.value(key) != value][:1]
    return finalists


def _leaders(best: Sequence[Tried], count: int) -> list[Tried]:
    """The best, and the best of each other place of norms."""
    leaders = list(best[:count])
    if count > 1:
        places = {one.hypothesis.value(_PLACE) for one in leaders}
        for one in best:
            if (place := one.hypothesis.value(_PLACE)) not in places:
                places.add(place)
                leaders.append(one)
    return leaders


def _two_away(
    around: Hypothesis, fixed: frozenset[str], roots: Sequence[Mapping[str, str]]
) -> Iterator[dict[str, str]]:
    """Answers that differ from these in two keys."""
    single = [dict(near) for near in neighbours(around, fixed)]
    single += [moved(around.answers, root, fixed) for root in roots if len(roots) > 1]
    for one, other in combinations(single, 2):
        changed = {key: value for key, value in other.items() if around.answers.get(key) != value}
        if all(one.get(key) == around.answers.get(key) for key in changed):
            yield {**one, **changed}


def tried(checkpoint: Checkpoint, options: Options, answers: Mapping[str, str], pictures: Pictures) -> Tried | None:
    """One hypothesis on the images; None where it does not fit the weights or the images."""
    found = hypothesis(checkpoint, options, answers)
    if found is None or found.profile.input_shape != tuple(pictures.images.shape[1:]):
        return None
    try:
        measured = measure(build(checkpoint, found.profile, found.options), pictures.images)
    except (AuditError, RuntimeError):
        return None
    if not bool(measured.logits.isfinite().all()):
        return None
    everything = torch.ones(1, len(pictures.images), dtype=torch.float64)
    distance = measured.distances(everything).item() if measured.layers else None
    right = None if pictures.labels is None else measured.right(pictures.labels)
    return Tried(found, measured, distance, None if right is None else right.double().mean().item())
