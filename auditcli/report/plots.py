"""The plots of the HTML report: what is drawn, what it says, and its figures for those who cannot see it.

Public names: `Plot`, `Key`, `plots`. The template draws them as inline SVG in the colours of the page. A library for
plots would do the same and take longer to import than the whole report takes to render.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from statistics import median, quantiles

from auditcli.report import number
from auditcli.report.drawing import Drawing, Point, drawing, logarithmic, straight, thinned
from auditcli.report.schema import Attack, Membership, Report

LOOKS = 6
"""Lines that can be told apart, `series-1` and so on in the style sheet; a seventh would hide the others."""
OTHER = "series-other"
BINS = 32


@dataclass(frozen=True, slots=True)
class Key:
    """A line of a legend."""

    name: str
    look: str
    """Its class in the style sheet."""
    value: str = ""
    """A figure beside the name."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing, what it says, and a table of the figures it is made of."""

    title: str
    drawing: Drawing
    description: str
    """In a sentence, what is to be seen."""
    caption: str
    """How to read it."""
    legend: tuple[Key, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def plots(report: Report) -> tuple[Plot, ...]:
    """The plots a report has data for: similarities, ROC, objectives."""
    drawn = (_similarities(report), _roc(report), _objectives(report))
    return tuple(plot for plot in drawn if plot is not None)


def _similarities(report: Report) -> Plot | None:
    members, controls = report.controls.members_ssim, report.controls.controls_ssim
    if not members:
        return None
    low = min(0.0, *members, *controls)
    edges = [low + (1 - low) * step / BINS for step in range(BINS + 1)]
    samples = [("controls", "series-2", controls)] if controls else []
    samples.append(("members", "series-1", members))
    stairs = [(look, _stairs(_shares(values, edges), edges)) for _, look, values in samples]
    highest = max(share for _, points in stairs for _, share in points)
    filled = [("filled", points) for look, points in stairs if look == "series-2"]
    return Plot(
        title="Similarity of members and controls",
        drawing=drawing(
            straight("best SSIM over all attacks", low, 1.0, "{:g}".format),
            straight("share of images", 0.0, highest * 1.05, "{:g}%".format),
            [*filled, *stairs],
        ),
        description="; ".join(f"{name}: {_spread(values)}" for name, _, values in reversed(samples))
        + ("." if controls else "; no controls."),
        caption="A leak moves the members to the right of the controls. Where the two lie on each other, nothing was "
        "found.",
        legend=tuple(Key(name, look, f"({number.count(len(values))})") for name, look, values in reversed(samples)),
        columns=("Best SSIM", *(name.capitalize() for name, _, _ in reversed(samples))),
        rows=tuple(
            (name, *(number.score(find(values)) for _, _, values in reversed(samples)))
            for name, find in (
                ("lowest", min),
                ("lower quarter", lambda values: _quarters(values)[0]),
                ("median", median),
                ("upper quarter", lambda values: _quarters(values)[2]),
                ("highest", max),
            )
        ),
    )


def _roc(report: Report) -> Plot | None:
    signals = sorted((signal for signal in report.membership if len(signal.roc) > 1), key=_auc, reverse=True)
    if not signals:
        return None
    decades = len(str(max(signal.n_controls for signal in signals)))
    axes = [logarithmic(f"{name}-positive rate", decades) for name in ("false", "true")]
    lines = [(_look(at), thinned([(p.fpr, p.tpr) for p in signal.roc])) for at, signal in enumerate(signals)]
    guessing = [(axes[0].low, axes[0].low), (1.0, 1.0)]
    others = (
        f" The {LOOKS} with the highest AUC are told apart, the others are thin and grey."
        if len(signals) > LOOKS
        else ""
    )
    return Plot(
        title="Telling members from controls",
        # The best line is drawn last, over the others.
        drawing=drawing(axes[0], axes[1], [("guessing", guessing), *reversed(lines)]),
        description="; ".join(f"{signal.signal}: AUC {number.interval(signal.auc)}" for signal in signals) + ".",
        caption="The further a curve lies above the dotted line of guessing, and the further to the left, the worse. "
        f"The left edge stands for {100 * axes[0].low:g}% false alarms and fewer.{others}",
        legend=tuple(
            Key(signal.signal, _look(at), number.estimate(signal.auc.value if signal.auc else None))
            for at, signal in enumerate(signals)
        ),
        columns=("Signal", "AUC", "at 1% false alarms", "at 10%"),
        rows=tuple((signal.signal, number.interval(signal.auc), *_rates(signal)) for signal in signals),
    )


def _objectives(report: Report) -> Plot | None:
    attacks = [attack for attack in report.attacks if len(attack.trace) > 1]
    if not attacks:
        return None
    relative = all(_ratios(attack) for attack in attacks)
    lines = [
        (_look(at), list(zip([p.step for p in attack.trace], _values(attack, relative), strict=True)))
        for at, attack in enumerate(attacks)
    ]
    across, up = zip(*(point for _, points in lines for point in points), strict=True)
    return Plot(
        title="Objective over time",
        drawing=drawing(
            straight("step", min(across), max(across), "{:,g}".format),
            straight("objective, relative to its start", 0.0, max(up), lambda share: f"{100 * share:g}%")
            if relative
            else straight("objective", min(up), max(up), "{:.3g}".format),
            [(look, thinned(points)) for look, points in lines],
        ),
        description="; ".join(
            f"{attack.name}: from {attack.trace[0].objective:.3g} to {attack.trace[-1].objective:.3g} "
            f"in {number.count(attack.trace[-1].step)} steps"
            for attack in attacks
        )
        + ".",
        caption="A line that still falls at its end had more to find: a larger budget may recover more.",
        legend=tuple(Key(attack.name, _look(at)) for at, attack in enumerate(attacks)),
        columns=("Attack", "Step", "Objective"),
        rows=tuple(
            (attack.name, number.count(point.step), f"{point.objective:.4g}")
            for attack in attacks
            for point in (attack.trace[at * (len(attack.trace) - 1) // 4] for at in range(5))
        ),
    )


def _look(at: int) -> str:
    return f"series-{at + 1}" if at < LOOKS else OTHER


def _auc(signal: Membership) -> float:
    return signal.auc.value if signal.auc else 0.0


def _rates(signal: Membership) -> tuple[str, str]:
    rates = signal.tpr_at_fpr
    if rates is None:
        return "n/a", "n/a"
    return number.rate_interval(rates.at_1_percent), number.rate_interval(rates.at_10_percent)


def _values(attack: Attack, relative: bool) -> list[float]:
    return _ratios(attack) if relative else [point.objective for point in attack.trace]


def _ratios(attack: Attack) -> list[float]:
    """The objective as a share of its start; empty where that says nothing."""
    start = attack.trace[0].objective
    if not all(point.objective > 0 for point in attack.trace):
        return []
    ratios = [point.objective / start for point in attack.trace]
    return ratios if all(map(isfinite, ratios)) else []


def _stairs(heights: Sequence[float], edges: Sequence[float]) -> list[Point]:
    """The outline of bars that stand on the axis."""
    tops = [(edge, height) for pair, height in zip(pairwise(edges), heights, strict=True) for edge in pair]
    return [(edges[0], 0.0), *tops, (edges[-1], 0.0)]


def _shares(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    """Percentages of `values` between neighbouring edges; the last bin holds its right edge."""
    inside = [sum(low <= value < high for value in values) for low, high in pairwise(edges)]
    inside[-1] += sum(value >= edges[-1] for value in values)
    return [100 * number / len(values) for number in inside]


def _spread(values: Sequence[float]) -> str:
    return f"median {number.score(median(values))}, highest {number.score(max(values))}"


def _quarters(values: Sequence[float]) -> list[float]:
    return quantiles(values, method="inclusive") if len(values) > 1 else [*values] * 3
