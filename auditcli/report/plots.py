"""The plots of the HTML report, as inline SVG that follows the page's colours. Public names: `Plot`, `plots`.

The drawings hold no string of the report: names stand in the legend, which the template writes and escapes. Equal
reports give equal bytes.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from auditcli.report import number
from auditcli.report.schema import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#010203"
"""Stands for the colour of the text: the page says which it is, by day and by night."""
SERIES = ("#010211", "#010212", "#010213", "#010214", "#010215", "#010216")
"""Stand for the colours of the series; the page sets `--series-1` and so on."""
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
MOST_POINTS = 400
BINS = 32


@dataclass(frozen=True, slots=True)
class Key:
    """A line of a legend."""

    name: str
    series: int
    """Which colour and dashes, from 1."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing and what it says, for those who cannot see it too."""

    title: str
    svg: Markup
    description: str
    caption: str
    legend: tuple[Key, ...]


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

    def draw(axes: "Axes") -> None:
        axes.set_xlim(low, 1)
        if controls:
            axes.stairs(_shares(controls, edges), edges, fill=True, color=SERIES[1], alpha=0.35)
            axes.stairs(_shares(controls, edges), edges, color=SERIES[1], linestyle=DASHES[1], linewidth=1.2)
        axes.stairs(_shares(members, edges), edges, color=SERIES[0], linewidth=1.8)
        axes.set_xlabel("best SSIM over all attacks")
        axes.set_ylabel("share of images, %")
        axes.set_ylim(bottom=0)

    described = f"Members: {_spread(members)}. " + (f"Controls: {_spread(controls)}." if controls else "No controls.")
    caption = (
        "A leak moves the members to the right of the controls. Where the two lie on each other, nothing was found."
    )
    legend = (Key(f"members ({len(members)})", 1), *((Key(f"controls ({len(controls)})", 2),) if controls else ()))
    return Plot("Similarity of members and controls", _svg(draw, "ssim"), described, caption, legend)


def _roc(report: Report) -> Plot | None:
    signals = [signal for signal in report.membership if len(signal.roc) > 1][: len(SERIES)]
    if not signals:
        return None
    floor = 10 ** -len(str(max(signal.n_controls for signal in signals)))

    def draw(axes: "Axes") -> None:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(floor, 1)
        axes.set_ylim(floor, 1.1)
        axes.plot([floor, 1], [floor, 1], color=INK, linewidth=0.8, linestyle=":")
        for index, signal in enumerate(signals):
            points = _thinned([(max(point.fpr, floor), max(point.tpr, floor)) for point in signal.roc])
            axes.plot(*zip(*points, strict=True), **_line(index))
        axes.set_xlabel("false-positive rate")
        axes.set_ylabel("true-positive rate")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda rate, _: number.percent(rate))

    described = "; ".join(f"{signal.signal}: AUC {number.interval(signal.auc)}" for signal in signals) + "."
    caption = "The further a curve lies above the dotted line of guessing, and the further to the left, the worse."
    legend = tuple(Key(signal.signal, index) for index, signal in enumerate(signals, start=1))
    return Plot("Telling members from controls", _svg(draw, "roc"), described, caption, legend)


def _objectives(report: Report) -> Plot | None:
    attacks = [attack for attack in report.attacks if len(attack.trace) > 1][: len(SERIES)]
    if not attacks:
        return None
    relative = all(point.objective > 0 for attack in attacks for point in attack.trace)

    def draw(axes: "Axes") -> None:
        for index, attack in enumerate(attacks):
            start = attack.trace[0].objective if relative else 1.0
            points = _thinned([(point.step, point.objective / start) for point in attack.trace])
            axes.plot(*zip(*points, strict=True), **_line(index))
        axes.set_xlabel("step")
        axes.set_ylabel("objective, relative to its start" if relative else "objective")
        if relative:
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(lambda share, _: number.percent(share))

    described = "; ".join(
        f"{attack.name}: from {attack.trace[0].objective:.3g} to {attack.trace[-1].objective:.3g} "
        f"in {number.count(attack.trace[-1].step)} steps"
        for attack in attacks
    )
    caption = "A line that still falls at its end had more to find: a larger budget may recover more."
    legend = tuple(Key(attack.name, index) for index, attack in enumerate(attacks, start=1))
    return Plot("Objective over time", _svg(draw, "objective"), f"{described}.", caption, legend)


def _line(index: int) -> dict[str, Any]:
    return {"color": SERIES[index], "linestyle": DASHES[index % len(DASHES)], "linewidth": 1.8}


def _shares(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    """Percentages of `values` between neighbouring edges; the last bin holds its right edge."""
    inside = [sum(low <= value < high for value in values) for low, high in pairwise(edges)]
    inside[-1] += sum(value >= edges[-1] for value in values)
    return [100 * number / len(values) for number in inside]


def _spread(values: Sequence[float]) -> str:
    return f"median {number.score(median(values))}, highest {number.score(max(values))}"


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most about `MOST_POINTS` of them, first and last included: the page stays small."""
    step = -(-len(points) // MOST_POINTS)
    return [*points[:-1:step], points[-1]]


def _svg(draw: Callable[["Axes"], None], name: str) -> Markup:
    """One drawing as an SVG element without scripts, styles, dates or outside names."""
    import matplotlib as mpl  # slow to import, and only HTML needs it
    from matplotlib.figure import Figure

    quiet: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 11,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "axes.unicode_minus": False,
    }
    with mpl.rc_context():
        mpl.rcdefaults()  # not those of the reader's matplotlibrc
        mpl.rcParams.update(quiet)
        figure = Figure(figsize=(4.6, 3.1), layout="constrained")
        draw(figure.add_subplot())
        text = StringIO()
        figure.savefig(
            text, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return _inline(text.getvalue(), name)


def _inline(document: str, name: str) -> Markup:
    """The `<svg>` element of matplotlib's document, its colours the page's and its ids its own."""
    element = document[document.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", element, flags=re.DOTALL)
    element = element.replace(INK, "currentColor")
    for index, colour in enumerate(SERIES, start=1):
        element = element.replace(colour, f"var(--series-{index})")
    used = set(re.findall(r'(?:url\(|href=")#([\w.-]+)', element))

    def own(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ""

    element = re.sub(r' id="([^"]*)"', own, element)
    element = re.sub(r'(url\(|href=")#', rf"\1#{name}-", element)
    return Markup(element)  # noqa: S704  matplotlib escapes its text, and none of it is the report's
