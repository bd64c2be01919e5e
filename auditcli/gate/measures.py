"""The figures of a report that a policy can set a threshold for. Public names: `Figure`, `Measure`, `MEASURES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from auditcli.report import number, summary
from auditcli.report.schema import Interval, Membership, Report

Unit = Literal["count", "score", "share"]
Bound = Literal["upper", "estimate"]

_WRITTEN: Mapping[Unit, Callable[[float], str]] = MappingProxyType(
    {"count": lambda value: f"{value:,.0f}", "score": lambda value: f"{value:.4g}", "share": number.percent}
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One value of a report."""

    value: float | None
    """None where it could not be resolved."""
    upper: float | None = None
    """Upper end of its 95% interval; None where it has none."""
    of: str = ""
    """The signal it is of; empty where it is of the audit."""

    def at(self, bound: Bound) -> float:
        """What is held against a threshold: the upper end where there is one and it is asked for."""
        value = 0.0 if self.value is None else self.value
        return value if self.upper is None or bound == "estimate" else self.upper


@dataclass(frozen=True, slots=True)
class Measure:
    """A named figure, of which a report can hold several, or none."""

    unit: Unit
    needs: str
    """What an audit must be given for it to be measured."""
    figures: Callable[[Report], tuple[Figure, ...]]

    def written(self, value: float) -> str:
        """The value as the reports write it."""
        return _WRITTEN[self.unit](value)


def _recovered(report: Report) -> tuple[Figure, ...]:
    tested = report.controls.reconstruction_test is not None
    return (Figure(len(summary.leaked(report))),) if tested else ()


def _best_ssim(report: Report) -> tuple[Figure, ...]:
    similar = report.controls.members_ssim
    return (Figure(max(similar)),) if similar else ()


def _members_over_half(report: Report) -> tuple[Figure, ...]:
    similar = report.controls.members_ssim
    return (Figure(sum(ssim >= 0.5 for ssim in similar)),) if similar else ()


def _reproduced(report: Report) -> tuple[Figure, ...]:
    return (Figure(report.evidence.reproduced),) if report.evidence else ()


def _membership_auc(report: Report) -> tuple[Figure, ...]:
    return tuple(_figure(signal.auc, signal) for signal in _scored(report))


def _tpr(rate: Literal["at_0_1_percent", "at_1_percent", "at_10_percent"]) -> Callable[[Report], tuple[Figure, ...]]:
    def figures(report: Report) -> tuple[Figure, ...]:
        return tuple(
            _figure(getattr(signal.tpr_at_fpr, rate) if signal.tpr_at_fpr else None, signal)
            for signal in _scored(report)
        )

    return figures


def _named(report: Report) -> tuple[Figure, ...]:
    return tuple(Figure(signal.named, of=signal.signal) for signal in _scored(report))


def _accuracy_gap(report: Report) -> tuple[Figure, ...]:
    kind = report.comparability
    if kind is None or kind.accuracy_members is None or kind.accuracy_controls is None:
        return ()
    return (Figure(kind.accuracy_members - kind.accuracy_controls),)


def _scored(report: Report) -> Iterator[Membership]:
    return (signal for signal in report.membership if signal.status == "scored")


def _figure(estimate: Interval | None, signal: Membership) -> Figure:
    if estimate is None:
        return Figure(None, of=signal.signal)
    return Figure(estimate.value, estimate.high, signal.signal)


_BOTH = "members and controls"
_ALL_SIGNALS = f"{_BOTH}, and a signal that applies"
_MORE = f"{_BOTH}, a signal that applies, and enough controls to resolve the rate for every signal that ran"

MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "recovered": Measure("count", f"{_BOTH}, and an attack that applies", _recovered),
        "best_ssim": Measure("score", "members, and an attack that applies", _best_ssim),
        "members_over_half": Measure("count", "members, and an attack that applies", _members_over_half),
        "reproduced": Measure("count", "an attack that restarts, and nothing found with images", _reproduced),
        "membership_auc": Measure("score", _ALL_SIGNALS, _membership_auc),
        "tpr_at_0_1_percent": Measure("share", _MORE, _tpr("at_0_1_percent")),
        "tpr_at_1_percent": Measure("share", _MORE, _tpr("at_1_percent")),
        "tpr_at_10_percent": Measure("share", _MORE, _tpr("at_10_percent")),
        "named": Measure("count", _ALL_SIGNALS, _named),
        "accuracy_gap": Measure("share", f"labelled {_BOTH}", _accuracy_gap),
    }
)
"""In the order of `Thresholds`, and by its keys."""
