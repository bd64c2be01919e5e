"""What an initialisation check found. Public names: `Kind`, `Scores`, `Arrival`, `InitialisationCheck`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from auditcli.types import StopReason, Test

NOTHING = 0.9
"""An objective above it says that the images explain next to nothing, and that no other objective means much."""


class Kind(StrEnum):
    """What an attack began from."""

    OWN = "own"
    """Its own random images, as in an audit."""
    HELD_OUT = "held-out"
    """Real images that the model never saw."""
    NEAR = "near"
    """Images that the auditor believes to be training images, with noise."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How near some images come to members and to controls. No attack and no start was chosen by it."""

    nearer: float
    """Share of them that are nearer to some member than to every control, by centred cosine."""
    expected: float
    """That share where members and controls are alike: m / (m + k)."""
    members_over_half: int
    """Members with SSIM of at least 0.5 to one of them."""
    controls_over_half: int
    best_member: float
    """Highest SSIM of a member."""
    best_control: float
    test: Test
    """Do members score above controls? As in an audit."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What an attack came to from one start."""

    start: str
    kind: Kind
    failed: str = ""
    """Why there is no result; then nothing below was measured."""
    objective: float = 1.0
    """Reached; lower is better."""
    first_objective: float = 1.0
    """Where it began."""
    likeness: float = 0.0
    """Median centred cosine of a result with the image it began from."""
    stayed: float = 0.0
    """Share of results with a centred cosine of at least 0.9 to the image they began from."""
    shared: tuple[float | None, ...] = ()
    """Share of results that the attack also came to from each start (centred cosine 0.9); None for itself and for a
    start without a result."""
    before: Scores | None = None
    """Of the images it began from; None without members or controls."""
    after: Scores | None = None
    """Of the results."""
    steps: int = 0
    seconds: float = 0.0
    stopped_by: StopReason | None = None


@dataclass(frozen=True, slots=True)
class InitialisationCheck:
    """The same attack from different starts."""

    attack: str
    paper: str
    seed: int
    candidates: int
    """Images guessed from each start."""
    members: int
    controls: int
    arrivals: tuple[Arrival, ...]
    """The attack's own start first."""
    sentences: tuple[str, ...]
    """What that says about evidence, one sentence a start."""

    @property
    def established(self) -> bool:
        """Whether there is anything to compare: a result from the attack's own start that explains, and another one."""
        done = [arrival for arrival in self.arrivals if not arrival.failed]
        return len(done) > 1 and any(one.kind is Kind.OWN and one.objective <= NOTHING for one in done)
