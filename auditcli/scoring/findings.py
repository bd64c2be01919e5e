"""Everything the verdict rests on, in one value.

Public name: `Findings`.
"""

from __future__ import annotations

from dataclasses import dataclass

from auditcli.types import Evidence, MemberFinding, PositiveControl, SignalFinding, Test


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
    positive: tuple[PositiveControl, ...] = ()
    """Those of the attacks and signals that ran."""
    interrupted: bool = False
    alpha: float = 0.01
    """Family-wise error rate of the reconstruction test and the signals together."""

    @property
    def leaked(self) -> tuple[MemberFinding, ...]:
        """Members flagged one by one, the best match first."""
        return tuple(sorted((m for m in self.members if m.leaked), key=lambda m: -m.best_ssim))
