"""What an attack may spend, what it yields and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Budget:
    """How much an attack may spend. Steps are the limit, seconds the ceiling."""

    steps: int
    seconds: float
    candidates: int
    """Images guessed in each restart."""
    restarts: int


@dataclass(frozen=True, slots=True)
class Step:
    """What an attack yields: its present guess."""

    candidates: Tensor
    """(r, n, c, h, w) in [0, 1]."""
    objective: Tensor
    """(r,) minimised by the attack; comparable between the steps of one run."""
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    """What else is known of these candidates from the target alone, by a name for people: (r,) each."""


class StopReason(StrEnum):
    """What ended an attack."""

    STEPS = "steps"
    SECONDS = "seconds"
    EXHAUSTED = "exhausted"
    """The attack had nothing more to try."""
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """The best an attack reached within its budget."""

    attack: str
    candidates: Tensor
    """(r, n, c, h, w) in [0, 1]: for each restart, those with the lowest objective seen."""
    objective: tuple[float, ...]
    """(r,) of these candidates."""
    trace: tuple[tuple[int, float], ...]
    """(step, lowest objective of any restart so far) over time."""
    steps: int
    seconds: float
    stopped_by: StopReason
    figures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """(r,) each, of these candidates; see `Step`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running attack is; handed to the caller's callback."""

    attack: str
    step: int
    steps: int
    seconds: float
    seconds_left: float
    objective: float


class Watcher(Protocol):
    """Called now and then with the progress of the running attack."""

    def __call__(self, progress: Progress) -> None:
        """Look, and return soon: the attack waits."""
