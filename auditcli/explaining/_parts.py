"""The parts of an explanation, each done or with the reason why not: `places`, `classes`, `distances`, `Given`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from auditcli import generator, novelty, shortcut
from auditcli.errors import AttackError
from auditcli.explaining._drawing import picture, signed, strength, strip
from auditcli.explanation import schema
from auditcli.report import schema as report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from auditcli.types import Interval, Sample, Target

CLASSES = 20
"""Classes that are shown, drawn at random where the model has more."""
PLACES = 3
"""Places that are changed in the auditor's images, at most."""
STEPS = 300
FEWEST_STEPS = 30
"""Of the generator: its first images are grey."""
SHOWN = 6
GENERATED = 20
"""Images of each class by which the generator is judged."""
PLAIN_STEPS = 60
LEAST_REFERENCE = 20
"""With fewer reference images, half of them held back say little."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the parts work with."""

    target: Target
    labels: tuple[int, ...]
    """The classes that are shown."""
    images: Sample | None
    reference: Sample | None
    rng: torch.Generator

    def name(self, label: int) -> str:
        """The class as the file names it, else its number."""
        names = self.target.profile.labels
        return names[label] if label < len(names) else f"class {label}"


def places(given: Given, until: Callable[[float], float]) -> tuple[schema.ShortcutPart, shortcut.Diagnosis | None]:
    """Does the model lean on one place? `until` turns a share of this part's time into a deadline."""
    began = time.monotonic()
    try:
        found = shortcut.diagnose(given.target, given.labels, given.rng, seconds=(until(0.6), until(0.9)))
    except AttackError as error:
        return _no_places("failed", error.message, time.monotonic() - began), None
    named = [_place(one.place) for one in found.shortcuts]
    distinct = tuple(dict.fromkeys(one.place for one in found.shortcuts))[:PLACES]
    changed = shortcut.interventions(given.target, given.images, distinct, given.rng) if given.images and named else []
    part = schema.ShortcutPart(
        status="done",
        reason="",
        seconds=time.monotonic() - began,
        found=bool(found.shortcuts),
        score=found.score,
        threshold=shortcut.THRESHOLD,
        side=found.sway.side,
        backgrounds=found.sway.backgrounds,
        shortcuts=tuple(_shortcut(given, one) for one in found.shortcuts),
        nearest=_shortcut(given, found.nearest),
        classes=tuple(_evidence(given, found, index) for index in range(len(given.labels))),
        interventions=tuple(_intervention(one) for one in changed),
        labelled=bool(given.images is not None and given.images.labels is not None),
    )
    return part, found


def classes(given: Given, deadline: float) -> tuple[schema.GalleryPart, Tensor | None]:
    """What the model takes for its classes, by a generator; and all that it made, (n, c, h, w)."""
    began, steps = time.monotonic(), 0
    network = None
    if began < deadline:
        for batch in generator.invert(given.target, STEPS, given.rng):
            network, steps = batch.network, steps + 1
            if time.monotonic() >= deadline:
                break
    if network is None or steps < FEWEST_STEPS:
        reason = f"the budget ended after {steps} of the {FEWEST_STEPS} steps it takes at least"
        return _no_classes("failed", reason, steps, time.monotonic() - began), None
    wanted = torch.tensor(given.labels).repeat_interleave(GENERATED)
    conditions = generator.Conditions.of(wanted, given.target.profile.classes, given.rng)
    made = generator.sample(network, conditions, given.rng)
    sure = shortcut.scores(given.target, made).exp()[torch.arange(len(wanted)), wanted.to(made.device)]
    rows = made.unflatten(0, (len(given.labels), GENERATED))
    part = schema.GalleryPart(
        status="done",
        reason="",
        seconds=time.monotonic() - began,
        steps=steps,
        planned=STEPS,
        agreement=generator.agreement(given.target, made, wanted),
        classes=tuple(
            schema.GalleryClass(
                label=label,
                name=given.name(label),
                confidence=float(probability.mean()),
                images=strip(row[probability.argsort(descending=True)[:SHOWN]]),
                n=min(SHOWN, GENERATED),
            )
            for label, row, probability in zip(given.labels, rows, sure.view(len(rows), -1), strict=True)
        ),
    )
    return part, made


def distances(
    given: Given, inverted: Tensor | None, made: Tensor | None, until: Callable[[float], float]
) -> schema.NoveltyPart:
    """How far the auditor's images are from what the model knows."""
    if given.images is None:
        return _no_distances("skipped", "--images gives the images to score", 0.0)
    began = time.monotonic()
    try:
        known, held, trash = _kinds(given, inverted, made, until(0.3))
        detector = novelty.train(given.target, known, trash, given.rng, deadline=until(0.95))
    except AttackError as error:
        return _no_distances("failed", error.message, time.monotonic() - began)
    images = given.images.images.to(given.target.device)
    found, ordinary = detector(images), detector(held).sort().values
    doubts = 1 - shortcut.scores(given.target, images).exp().amax(dim=1)
    above = len(ordinary) - torch.searchsorted(ordinary, found)
    order = found.argsort(descending=True).tolist()
    return schema.NoveltyPart(
        status="done",
        reason="",
        seconds=time.monotonic() - began,
        steps=detector.steps,
        known_by="reference" if given.reference is not None else "generated",
        n_known=len(known),
        n_held_back=len(held),
        images=tuple(
            schema.NoveltyImage(
                id=given.images.hashes[index][:12],
                score=float(found[index]),
                doubt=float(doubts[index]),
                p_value=(1 + int(above[index])) / (1 + len(held)) if len(held) else None,
            )
            for index in order
        ),
    )


def _kinds(
    given: Given, inverted: Tensor | None, made: Tensor | None, deadline: float
) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
    """Images of the kind to train on, those held back, and the kinds of garbage."""
    shape = given.target.profile.input_shape
    noise = novelty.garbage(shape, given.rng).to(given.target.device)
    plain = shortcut.inverted(
        given.target, given.labels, given.rng, per_class=SHOWN, steps=PLAIN_STEPS, variation=0.0, deadline=deadline
    ).images.flatten(0, 1)
    drawn = [images for images in (inverted, made) if images is not None]
    if given.reference is not None:
        if len(given.reference) < LEAST_REFERENCE:
            raise AttackError(f"{len(given.reference)} reference images are few: give {LEAST_REFERENCE} or more")
        images = given.reference.images[torch.randperm(len(given.reference), generator=given.rng)].to(
            given.target.device
        )
        half = len(images) // 2
        return images[:half], images[half:], [noise, plain, *drawn]
    if not drawn:
        raise AttackError("there are no generated images to compare with, and no --reference")
    known = torch.cat(drawn)
    return known, known[:0], [noise, plain]


def _evidence(given: Given, found: shortcut.Diagnosis, index: int) -> schema.Evidence:
    side, stride = found.sway.side, found.sway.stride
    rows, columns = found.dependence.shape[1:]
    corner = (side - stride) / 2
    return schema.Evidence(
        label=given.labels[index],
        name=given.name(given.labels[index]),
        confidence=found.inverted.confidence[index],
        image=picture(found.inverted.images[index, 0]),
        evidence=signed(found.maps[index]),
        dependence=strength(found.dependence[index]),
        dependence_frame=(corner, corner, float(columns * stride), float(rows * stride)),
    )


def _shortcut(given: Given, one: shortcut.Shortcut) -> schema.Shortcut:
    return schema.Shortcut(
        label=one.label,
        name=given.name(one.label),
        place=_place(one.place),
        score=one.score,
        share=one.share,
        turned=one.turned,
        turned_elsewhere=one.turned_elsewhere,
    )


def _intervention(one: shortcut.Intervention) -> schema.Intervention:
    return schema.Intervention(
        what=one.what,
        place=None if one.place is None else _place(one.place),
        right=_interval(one.right),
        elsewhere=None if one.elsewhere is None else _interval(one.elsewhere),
        followed=None if one.followed is None else _interval(one.followed),
        followed_elsewhere=None if one.followed_elsewhere is None else _interval(one.followed_elsewhere),
        n=one.n,
    )


def _place(place: shortcut.Place) -> schema.Place:
    return schema.Place(row=place.row, column=place.column, side=place.side)


def _interval(interval: Interval) -> report.Interval:
    return report.Interval(value=interval.value, low=interval.low, high=interval.high)


def _no_places(status: schema.Status, reason: str, seconds: float) -> schema.ShortcutPart:
    return schema.ShortcutPart(
        status=status,
        reason=reason,
        seconds=seconds,
        found=None,
        score=None,
        threshold=shortcut.THRESHOLD,
        side=None,
        backgrounds=0,
        shortcuts=(),
        nearest=None,
        classes=(),
        interventions=(),
        labelled=False,
    )


def _no_classes(status: schema.Status, reason: str, steps: int, seconds: float) -> schema.GalleryPart:
    return schema.GalleryPart(
        status=status, reason=reason, seconds=seconds, steps=steps, planned=STEPS, agreement=None, classes=()
    )


def _no_distances(status: schema.Status, reason: str, seconds: float) -> schema.NoveltyPart:
    return schema.NoveltyPart(
        status=status, reason=reason, seconds=seconds, steps=0, known_by="", n_known=0, n_held_back=0, images=()
    )
