"""What an audit can establish at best, before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditcli.types.finding import Level


@dataclass(frozen=True, slots=True)
class PlannedTest:
    """What one test of the family can say at best."""

    name: str
    """`reconstruction`, `signal` or `shadow signal`."""
    n_members: int
    n_controls: int
    """Compared with the members: those that train shadow models are not."""
    least_p: float
    """The smallest p-value that these samples can reach."""
    significant: bool
    """It survives Holm's correction as the smallest of all p-values."""
    detectable_auc: float | None
    """True area under the ROC that is found with 80% power; None where not even full separation is significant."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an audit with so many images can establish at best, before it starts."""

    n_members: int
    n_controls: int
    shadow_controls: int
    """Controls left to compare with where the others train shadow models; 0 without shadow models."""
    n_tests: int
    """In one family, corrected together."""
    alpha: float
    """Family-wise error rate."""
    tests: tuple[PlannedTest, ...]
    """Empty without members or controls."""
    controls_to_flag_one: int
    """Controls it takes to flag a single member; 0 without members."""
    flagged_together: int | None
    """Members that must stand out together to be flagged; None where no number of them can be."""
    recovered_together: int | None
    """Members above every control that make the reconstruction test significant; None where no number does."""
    levels: tuple[Level, ...]
    """Those that can be given, the worst first."""
    without_images: bool
    """Only the weights can establish anything: members or controls are missing."""
    best_tpr: float | None
    """Lower bound of the true-positive rate at 1% false positives where all members stand out; None: not resolved."""
    best_auc: float | None
    """Lower bound of the AUC where members and controls separate fully."""
    moderate_auc: float | None
    """The smallest AUC that, if observed, has a lower bound of 0.60 or more; None where none has."""
    resolved_rates: tuple[float, ...]
    """False-positive rates at which a true-positive rate can be stated."""
    bounded_rates: tuple[float, ...]
    """False-positive rates at which it has a lower bound above 0."""
    sentences: tuple[str, ...]
    """The limits in words, the worst first, with the images to add."""
