"""What becomes of a target's answers when one place of real images is changed.

Public names: `Intervention`, `interventions`, `masked`, `moved`, `swapped`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch
from scipy.stats import binomtest

from auditcli.shortcut._inversion import batches
from auditcli.shortcut._place import Place, elsewhere
from auditcli.types import Interval

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import Sample, Target

Change = Literal["masked", "moved", "swapped"]
CHANGES: Final[tuple[Change, ...]] = ("masked", "moved", "swapped")
CONTROL_PLACES = 8
"""Other places, drawn at random, that are changed in the same way."""
_RIM = 2
"""Width of the frame around a place whose mean fills it when it is masked."""
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Intervention:
    """One change of all images at one place, and what the target then answers."""

    what: Change | Literal["unchanged"]
    place: Place | None
    """None for the unchanged images."""
    right: Interval
    """Share of images with the answer of their label, or without labels the answer they had before."""
    elsewhere: Interval | None
    """The same where the change is made at random other places, all of them pooled; None for the unchanged."""
    followed: Interval | None
    """`swapped` alone: share of images that now get the class their square was taken from."""
    followed_elsewhere: Interval | None
    n: int


def interventions(
    target: Target, sample: Sample, places: tuple[Place, ...], rng: torch.Generator
) -> list[Intervention]:
    """Mask, move and swap each place of the auditor's images, and do the same at random places as a control.

    - `masked`: the square is filled with the mean of the frame around it.
    - `moved`: the square changes places with another one of the same image, drawn at random.
    - `swapped`: the square is taken from an image of another class, drawn at random.

    Args:
        target: Any classifier.
        sample: Images, with labels or without; without, the target's own answers stand for labels.
        places: What to change.
        rng: Of all draws.

    Returns:
        The unchanged images first, then three for each place. Intervals are those of Clopper and Pearson at 95%; images
        changed at several control places are counted once for each, so that interval is of places and images together.
    """
    images = sample.images.to(target.device)
    before = _answers(target, images)
    labels = before if sample.labels is None else sample.labels.to(before.device)
    found = [Intervention("unchanged", None, _share(before == labels), None, None, None, len(images))]
    size = tuple(images.shape[-2:])
    for place in places:
        others, donors = elsewhere(place, size, CONTROL_PLACES, rng), _donors(labels, rng)
        for what in CHANGES:
            here = _answers(target, _changed(images, what, place, donors, rng))
            there = torch.stack([_answers(target, _changed(images, what, other, donors, rng)) for other in others])
            donated, wanted = what == "swapped", labels[donors]
            found.append(
                Intervention(
                    what=what,
                    place=place,
                    right=_share(here == labels),
                    elsewhere=_share((there == labels).flatten()),
                    followed=_share(here == wanted) if donated else None,
                    followed_elsewhere=_share((there == wanted).flatten()) if donated else None,
                    n=len(images),
                )
            )
    return found


def _changed(images: Tensor, what: Change, place: Place, donors: Tensor, rng: torch.Generator) -> Tensor:
    """A copy of the images with one of `CHANGES`."""
    if what == "masked":
        return masked(images, place)
    if what == "moved":
        return moved(images, place, elsewhere(place, tuple(images.shape[-2:]), len(images), rng))
    return swapped(images, place, donors)


def masked(images: Tensor, place: Place) -> Tensor:
    """A copy of images (n, c, h, w) whose square is the mean of the frame around it, a channel at a time."""
    out = images.clone()
    top, left = max(0, place.row - _RIM), max(0, place.column - _RIM)
    wide = images[..., top : place.row + place.side + _RIM, left : place.column + place.side + _RIM]
    inside = place.of(images)
    rim = wide.flatten(2).sum(dim=2) - inside.flatten(2).sum(dim=2)
    count = max(1, wide[0, 0].numel() - inside[0, 0].numel())
    place.of(out)[:] = (rim / count)[..., None, None]
    return out


def moved(images: Tensor, place: Place, to: tuple[Place, ...]) -> Tensor:
    """A copy of images (n, c, h, w) whose square changed places with that of the same image at `to`, one an image."""
    out = images.clone()
    for index, other in enumerate(to):
        place.of(out[index : index + 1])[:] = other.of(images[index : index + 1])
        other.of(out[index : index + 1])[:] = place.of(images[index : index + 1])
    return out


def swapped(images: Tensor, place: Place, donors: Tensor) -> Tensor:
    """A copy of images (n, c, h, w) whose square is that of the image `donors[i]` (n,)."""
    out = images.clone()
    place.of(out)[:] = place.of(images[donors])
    return out


def _donors(labels: Tensor, rng: torch.Generator) -> Tensor:
    """For each image one of another class, drawn at random; itself where all are of one class."""
    chosen = []
    for index, label in enumerate(labels.tolist()):
        others = (labels != label).nonzero().flatten()
        pick = int(torch.randint(max(1, len(others)), (1,), generator=rng))
        chosen.append(int(others[pick]) if len(others) else index)
    return torch.tensor(chosen, device=labels.device)


def _answers(target: Target, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits = torch.cat([target(part) for part in batches(images)])
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)


def _share(hits: Tensor) -> Interval:
    count, n = int(hits.sum()), len(hits)
    bounds = binomtest(count, n).proportion_ci(_CONFIDENCE)
    return Interval(count / n, float(bounds.low), float(bounds.high))
