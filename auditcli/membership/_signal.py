"""What a membership signal is and is asked, and how those in this folder are found.

Public names: `Signal` (made by `@signal`), `Query`, `all_signals`.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditcli.errors import AttackError
from auditcli.plugins import discover
from auditcli.types import Profile, Trait

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import Shadows, Target

BATCH = 256
"""Most images a network is asked about at once."""
_PIXELS = 2_000_000
"""Most values in one batch, so that the clock is looked at often and memory suffices where images are large."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a signal is asked: which of these images was the target trained on?

    Members and controls stand in one random order, so that no signal can know which is which. A score may rest on the
    other images too, as long as it does not rest on their order: then members and controls stay exchangeable where
    nothing leaks.
    """

    target: Target
    images: Tensor
    """(n, c, h, w) in [0, 1], on the device of the target."""
    labels: Tensor | None = None
    """(n,) int64 class indices on the CPU, where they are known of all images."""
    seed: int = 0
    """Of all random draws."""
    shadows: Shadows | None = None
    """Present for signals that ask for shadow models; none of these images is among those they were trained on."""
    seconds: float = math.inf
    """Ceiling of the time that one pass of `batches` takes."""

    def batches(self, most: int = BATCH) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The images in their order, a few at once, for as long as the time lasts.

        Args:
            most: Images a batch; fewer where they are large.

        Yields:
            Images (b, c, h, w) and their labels (b,) on the device of the images, or None without labels.

        Raises:
            AttackError: the time is up and images are left, for scores of some images are no answer about all.
        """
        size = max(1, min(most, _PIXELS // max(1, self.images[0].numel())))
        deadline = time.monotonic() + self.seconds
        for start in range(0, len(self.images), size):
            if time.monotonic() >= deadline:
                raise AttackError(
                    f"the signal ran out of time ({self.seconds:g} s) after {start} of {len(self.images)} images",
                    hint="a larger --budget, or fewer images",
                )
            labels = None if self.labels is None else self.labels[start : start + size].to(self.images.device)
            yield self.images[start : start + size], labels


Scores = Callable[[Query], "Tensor"]
"""Query of n images -> (n,) scores, higher = more likely a member."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A score that is higher for images a target was trained on."""

    name: str
    summary: str
    paper: str
    requires: frozenset[Trait]
    scores: Scores
    shadows: bool = False
    """It compares the target with shadow models, and is skipped where there are none."""

    def missing(self, profile: Profile) -> frozenset[Trait]:
        """What the signal needs and the model has not."""
        return self.requires - profile.traits


def signal(
    *, paper: str, requires: frozenset[Trait] = frozenset(), shadows: bool = False
) -> Callable[[Scores], Signal]:
    """Make a function from a `Query` to scores a `Signal` of its name and first docstring line."""

    def decorate(scores: Scores) -> Signal:
        return Signal(
            name=scores.__name__,
            summary=(inspect.getdoc(scores) or "").split("\n", 1)[0].rstrip("."),
            paper=paper,
            requires=requires,
            scores=scores,
            shadows=shadows,
        )

    return decorate


def all_signals() -> tuple[Signal, ...]:
    """The signals of this folder, by name, then those of the entry-point group `privaudit.membership`."""
    return tuple(discover("auditcli.membership", Signal, group="privaudit.membership"))
