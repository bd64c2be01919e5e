"""What was measured, and what it amounts to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with a confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Test:
    """A one-sided significance test."""

    name: str
    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Similarity:
    """How near one attack's (or all attacks') candidates come to some images, by SSIM.

    `best` lets one candidate match many images, `matched` does not: each candidate goes to at most one image,
    in the assignment of largest total similarity; images left over have similarity -1.
    """

    best: tuple[float, ...]
    """One an image: its highest SSIM over all candidates."""
    best_candidate: tuple[int, ...]
    """Index of that candidate, over (restart, candidate) flattened."""
    matched: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MemberFinding:
    """Whether one training image came back."""

    id: str
    best_ssim: float
    matched_ssim: float
    attack: str
    p_value: float | None
    """Rank among controls; None without controls."""
    q_value: float | None
    """Benjamini-Hochberg over the members."""
    leaked: bool


@dataclass(frozen=True, slots=True)
class Exposure:
    """How far one member stands out among the controls by a membership signal."""

    id: str
    score: float
    """Of the signal, in its own unit; higher = more likely a member."""
    p_value: float
    """Rank among the controls."""
    q_value: float
    """Benjamini-Hochberg over the members."""


@dataclass(frozen=True, slots=True)
class SignalFinding:
    """What a membership signal tells apart."""

    signal: str
    auc: Interval
    tpr_at_fpr: tuple[tuple[float, Interval | None], ...]
    """(false-positive rate, true-positive rate); None where the controls are too few to resolve that rate."""
    test: Test
    roc: tuple[tuple[float, float], ...]
    """(fpr, tpr) corners from (0, 0) to (1, 1)."""
    n_members: int
    n_controls: int
    exposed: tuple[Exposure, ...] = ()
    """The members that stand out most, the most exposed first."""
    named: int = 0
    """Members that stand out one by one, at q of at most 0.05."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the weights alone say: restarts that agree, against the same weights shuffled."""

    attack: str
    agreement: tuple[float, ...]
    """One a candidate of the first restart: its best centred cosine among the candidates of the other restarts."""
    reproduced: int
    """Distinct images that independent restarts agree on beyond `threshold`."""
    threshold: float
    explained: float
    """Share of the first layer's weight norm that the candidates explain, in [0, 1]."""
    shuffled_reproduced: tuple[int, ...]
    """The same count on the same weights with the rows of the first layer permuted, one a shuffle."""
    shuffled_explained: tuple[float, ...]
    test: Test | None
    """None where no shuffle was run."""
    significant: bool
    unclear: bool = False
    """The images explain what only few training images or strong weight decay leave behind, and too few of them are
    reproduced to tell which: no finding, and no absence of one."""
    directions: int = 0
    """Directions of the first layer above the noise of its initial weights: no fewer than the images it can hold."""
    persistent: int | None = None
    """Of the reproduced images, those that a run from another kind of start also finds; None where not measured."""
    shuffled_persistent: int | None = None
    """The same on shuffled weights."""
    verified: int | None = None
    """Of the reproduced images, those the first layer cannot do without, by more than any decoy; see `verification`."""


@dataclass(frozen=True, slots=True)
class PositiveControl:
    """Whether the same procedure, at the same budget, finds the leak of a model that leaks."""

    kind: str
    """`reconstruction` or `membership`."""
    method: str
    """Name of the attack or signal that was checked."""
    fixture: str
    """Name of the shipped model, or what the model is."""
    recovered: int
    of: int
    passed: bool
    detail: str
    matched: bool = False
    """It was run on a copy of this very model, overfitted on controls; `fixture` says so in words."""


class Level(StrEnum):
    """Verdict levels, from none to worst; `inconclusive` is no level of safety but the lack of an answer."""

    NONE_DETECTED = "none-detected"
    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"
    CRITICAL = "critical"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Reason:
    """One sentence behind a verdict."""

    text: str
    level: Level
    """The level this alone would give."""
    id: str = ""
    """Of the finding, a key of `rules.RULES`; empty for a question that was answered with no."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer."""

    level: Level
    reasons: tuple[Reason, ...]
    next_steps: tuple[str, ...]
    """The cheapest things to add where the answer is inconclusive or weak."""
    mitigations: tuple[str, ...]
