"""What a membership signal is (`Signal`, made by `@signal`), and how those in this folder are found (`all_signals`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditcli.plugins import discover
from auditcli.types import Profile, Target, Trait

if TYPE_CHECKING:
    from torch import Tensor

Scores = Callable[["Target", "Tensor", "Tensor | None"], "Tensor"]
"""(target, images (n, c, h, w), labels (n,) or None) -> (n,) scores."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A score that is higher for images a target was trained on."""

    name: str
    summary: str
    paper: str
    requires: frozenset[Trait]
    scores: Scores

    def missing(self, profile: Profile) -> frozenset[Trait]:
        """What the signal needs and the model has not."""
        return self.requires - profile.traits


def signal(*, paper: str, requires: frozenset[Trait] = frozenset()) -> Callable[[Scores], Signal]:
    """Make a function (target, images, labels) -> scores a `Signal` of its name and first docstring line."""

    def decorate(scores: Scores) -> Signal:
        return Signal(
            name=scores.__name__,
            summary=(inspect.getdoc(scores) or "").split("\n", 1)[0].rstrip("."),
            paper=paper,
            requires=requires,
            scores=scores,
        )

    return decorate


def all_signals() -> tuple[Signal, ...]:
    """The signals of this folder, by name, then those of the entry-point group `privaudit.membership`."""
    return tuple(discover("auditcli.membership", Signal, group="privaudit.membership"))
