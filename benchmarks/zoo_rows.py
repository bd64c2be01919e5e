"""One audit as the summary sees it, read off its JSON report: `Row`, `Signal`, `row`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

LEVELS = ("none-detected", "low", "moderate", "high", "critical")
"""From none to worst; `inconclusive` is no level but the lack of an answer."""
INCONCLUSIVE = "inconclusive"
RATES = ("0.1%", "1%", "10%")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Signal:
    """What one membership signal said."""

    name: str
    auc: Estimate
    tpr: Mapping[str, Estimate | None]
    """By false-positive rate, one of `RATES`; None where the controls are too few."""
    p_value: float


@dataclass(frozen=True, slots=True)
class Row:
    """One audit."""

    name: str
    truth: str
    """`leaky`, `honest`, `null` or `open`; `null` for an honest victim audited with strangers as members."""
    family: str
    """`mlp`, `cnn`, `vit` or `head`."""
    data: str
    sample: str
    """`members` or `strangers`."""
    level: str
    signals: tuple[Signal, ...] = ()
    tests: Mapping[str, float] = field(default_factory=dict)
    """p-values of the tests that are no signal's, by name."""
    ssim: float | None = None
    """Mean over members of their best SSIM; None where nothing was reconstructed."""
    ssim_controls: float | None = None
    flagged: int = 0
    """Members named as recovered one by one."""
    n_members: int = 0
    n_controls: int = 0
    shadows: int = 0
    seconds: float = 0.0
    stated: Mapping[str, Any] = field(default_factory=dict)
    """What was measured when the victim was trained."""

    @property
    def rank(self) -> int:
        """The level as a score from 0 to 4; an audit without an answer detected nothing."""
        return 0 if self.level == INCONCLUSIVE else LEVELS.index(self.level)

    @property
    def best_auc(self) -> float | None:
        """Of all signals."""
        return max((signal.auc.value for signal in self.signals), default=None)

    @property
    def ssim_excess(self) -> float | None:
        """How much nearer members are than controls."""
        if self.ssim is None or self.ssim_controls is None:
            return None
        return self.ssim - self.ssim_controls


def row(about: Mapping[str, Any], result: Mapping[str, Any], stated: Mapping[str, Any]) -> Row:
    """Read one audit.

    Args:
        about: The fields `name`, `truth`, `family`, `data`, `sample`, `shadows`.
        result: `{"seconds": ..., "report": ...}` as the worker wrote it.
        stated: Of the victim.
    """
    report = result["report"]
    controls = report["controls"]
    near, far = controls["members_ssim"], controls["controls_ssim"]
    return Row(
        **about,
        level=report["verdict"]["level"],
        signals=tuple(_signal(part) for part in report["membership"] if part["status"] == "scored"),
        tests=_tests(report),
        ssim=fmean(near) if near else None,
        ssim_controls=fmean(far) if far else None,
        flagged=sum(member["leaked"] for member in report["members"]),
        n_members=controls["n_members"],
        n_controls=controls["n_controls"],
        seconds=result["seconds"],
        stated=stated,
    )


def _signal(part: Mapping[str, Any]) -> Signal:
    tpr = {rate: _estimate(part["tpr_at_fpr"][rate]) for rate in RATES}
    return Signal(part["signal"], Estimate(**part["auc"]), tpr, part["test"]["p_value"])


def _estimate(part: Mapping[str, float] | None) -> Estimate | None:
    return None if part is None else Estimate(**part)


def _tests(report: Mapping[str, Any]) -> dict[str, float]:
    """Of the audit, but not of the evidence: any training ties weights together, so none of them is null to it."""
    tests = {
        "reconstruction": report["controls"]["reconstruction_test"],
        "negative control": report["controls"]["negative"],
        "blind classifier": (report.get("comparability") or {}).get("blind"),
    }
    return {name: test["p_value"] for name, test in tests.items() if test is not None}
