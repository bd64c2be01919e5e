"""Everything the verdict rests on, in one value.

Public names: `Findings`, `ENOUGH_CONTROLS`.
"""

from __future__ import annotations

from dataclasses import dataclass

from auditcli.types import Evidence, MemberFinding, PositiveControl, SignalFinding, Test, Trait

ENOUGH_CONTROLS = 20
"""Controls on which a model that makes no mistake is worth a question."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What an audit measured; absent parts were not run, or could not be."""

    n_members: int = 0
    n_controls: int = 0
    applicable: int = 0
    """Attacks and signals whose needs the model meets, the negative control not counted."""
    reconstruction: Test | None = None
    """Best SSIM of members against controls, pooled over attacks: `significance.recovery`."""
    members: tuple[MemberFinding, ...] = ()
    best_control: float | None = None
    """The highest SSIM of any control."""
    signals: tuple[SignalFinding, ...] = ()
    evidence: Evidence | None = None
    """Its false-alarm rate is that of the procedure that set `significant`; it is no part of the family of tests."""
    negative: Test | None = None
    """The same test on candidates that never saw the weights."""
    blind: Test | None = None
    """Whether a classifier that never saw the model tells members from controls."""
    tells: tuple[str, ...] = ()
    """What it tells them apart by, in words, where it does."""
    accuracy_members: float | None = None
    """Share of the labelled members that the model is right on, in [0, 1]; None without labels."""
    accuracy_controls: float | None = None
    """The same of the controls."""
    positive: tuple[PositiveControl, ...] = ()
    """Those of the attacks and signals that ran, on shipped leaky models and on an overfitted copy of this one."""
    interrupted: bool = False
    traits: frozenset[Trait] = frozenset()
    """Of the model; advice fits them."""
    alpha: float = 0.01
    """Family-wise error rate of the reconstruction test and the signals together."""

    @property
    def leaked(self) -> tuple[MemberFinding, ...]:
        """Members flagged one by one, the best match first."""
        return tuple(sorted((m for m in self.members if m.leaked), key=lambda m: -m.best_ssim))

    @property
    def flawless(self) -> bool:
        """The model is right on every one of enough labelled controls, as it is on images that it was trained on."""
        return self.accuracy_controls == 1.0 and self.n_controls >= ENOUGH_CONTROLS
