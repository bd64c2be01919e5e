"""The JSON of a comparison: what moved between two audits, and what stands in its way. `Comparison` is its root.

It holds figures of two reports and no pixels; all is frozen and rejects unknown keys.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from pydantic import Field

from auditcli.report.schema import Interval, LevelName, Part

COMPARISON_VERSION: Final = "1.0"

Effort = Literal["old", "new", ""]
Outcome = Literal["less", "more", "mixed", "no-difference", "not-comparable"]
Measure = Literal["recovered", "similarity", "auc", "rate"]
LevelMove = Literal["better", "worse", "same", "unordered"]
About = Literal["everything", "reconstruction", "membership"]


class Side(Part):
    """One of the two audits."""

    model: str = Field(description="File or folder name.")
    sha256: str
    level: LevelName
    headline: str
    interrupted: bool
    seconds: float = Field(description="Ceiling for the whole audit.")
    seconds_used: float
    profile: str
    device: str
    seed: int
    privaudit: str
    finished: datetime


class Obstacle(Part):
    """A difference between the audits that is none between the models."""

    what: str
    severity: Literal["forbids", "weakens"] = Field(description="`forbids`: no figure of the two may be compared.")
    old: str
    new: str
    why: str = Field(description="What follows from it.")
    about: About
    effort: Effort = Field(description="The side that tried more, where that is what differs.")


class Change(Part):
    """One figure that both audits hold, or should hold."""

    measure: Measure
    subject: str = Field(description="The signal it is of; empty for reconstruction.")
    name: str
    reason: str = Field(description="Why it was not compared, or compared without a test; else empty.")
    old: float | None
    new: float | None
    difference: Interval | None = Field(description="New - old, over the same images; not corrected for the others.")
    test: str
    p_value: float | None = Field(description="Two-sided.")
    adjusted_p: float | None = Field(description="Corrected for all tests of the comparison, by Holm.")
    moved: Literal["less", "more", ""] = Field(description="Empty where the difference is no more than chance.")


class Crossings(Part):
    """How many members were recovered by both audits, by one, by none."""

    both: int
    only_old: int
    only_new: int
    neither: int


class Pair(Part):
    """One member on both sides, with the id and the digits that redaction left in the reports."""

    id: str
    old_ssim: float
    new_ssim: float
    old_recovered: bool
    new_recovered: bool


class Comparison(Part):
    """Two audits side by side."""

    comparison_version: Literal["1.0"] = COMPARISON_VERSION
    outcome: Outcome
    sentence: str = Field(description="The outcome in words.")
    caveats: tuple[str, ...] = Field(description="What limits the sentence.")
    level: LevelMove = Field(description="Of the new verdict against the old; `unordered` where one is inconclusive.")
    worse: bool = Field(description="A figure is worse beyond chance, or the level is.")
    established: bool = Field(description="Whether the new audit could have shown that it is worse.")
    same_model: bool = Field(description="Both audits are of one file: what differs is the audit.")
    old: Side
    new: Side
    obstacles: tuple[Obstacle, ...]
    alpha: float = Field(description="Family-wise error of the tests.")
    changes: tuple[Change, ...]
    n_members: int
    n_controls: int
    crossings: Crossings | None = Field(description="Null where no attack was compared with members.")
    pairs: tuple[Pair, ...]
    controls_shift: float | None = Field(description="By how much the mean best SSIM of the controls moved.")

    def to_json(self) -> str:
        """Fields in the order of the schema, UTF-8, one line break at the end."""
        return self.model_dump_json(indent=2) + "\n"
