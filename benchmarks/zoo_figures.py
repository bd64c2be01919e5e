"""Figures of the summary as SVG, the same bytes for the same numbers: `draw_all`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from zoo_rows import Row
from zoo_summary import likeness, p_values, roc_of_level

_COLOURS = {"leaky": "tab:red", "honest": "tab:green", "null": "tab:grey", "open": "tab:blue"}
_MARKS = {"mlp": "o", "head": "s", "cnn": "^", "vit": "D"}


def draw_all(rows: Sequence[Row], folder: Path) -> dict[str, str]:
    """Draw what the rows suffice for; returns file names by their alternative text."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    if roc_of_level(rows):
        drawn["ROC of the level, leaky victims against all others"] = _roc(rows, folder / "zoo-roc.svg")
    if p_values(rows):
        drawn["p-values of null audits against uniform ones"] = _quantiles(rows, folder / "zoo-p-values.svg")
    if likeness(rows, lambda row: row.ssim)[0]:
        drawn["SSIM against AUC of membership"] = _likeness(rows, folder / "zoo-ssim-auc.svg")
    return drawn


def _roc(rows: Sequence[Row], path: Path) -> str:
    found = roc_of_level(rows)
    if found is None:
        raise ValueError("a ROC needs leaky victims and others")
    with _axes(path, (4.2, 3.8)) as axes:
        axes.plot([0, 1], [0, 1], ":", color="tab:grey")
        axes.plot(*zip(*found.points, strict=True), "o-", color="tab:red")
        axes.set(xlabel="null and honest at or above a level", ylabel="leaky at or above it")
        axes.set_title(f"ROC of the level, AUC {found.auc:.3f}")
    return path.name


def _quantiles(rows: Sequence[Row], path: Path) -> str:
    with _axes(path, (4.8, 4.2)) as axes:
        axes.plot([0, 1], [0, 1], ":", color="tab:grey")
        for name, values in p_values(rows).items():
            expected = (np.arange(len(values)) + 0.5) / len(values)
            axes.plot(expected, np.sort(values), "o-", markersize=3, label=f"{name} ({len(values)})")
        axes.set(xlabel="uniform quantile", ylabel="p-value of a null audit", title="Below the line is too small")
        axes.legend(frameon=False)
    return path.name


def _likeness(rows: Sequence[Row], path: Path) -> str:
    with _axes(path, (6.2, 4.2)) as axes:
        xs, ys, shown = likeness(rows, lambda row: row.ssim)
        for truth, family in sorted({(row.truth, row.family) for row in shown}):
            mine = [index for index, row in enumerate(shown) if (row.truth, row.family) == (truth, family)]
            axes.scatter(
                [xs[index] for index in mine],
                [ys[index] for index in mine],
                color=_COLOURS[truth],
                marker=_MARKS[family],
                label=f"{truth}, {family}",
            )
        axes.set(xlabel="mean best SSIM of members", ylabel="best AUC of a membership signal")
        axes.legend(frameon=False)
    return path.name


@contextmanager
def _axes(path: Path, size: tuple[float, float]) -> Iterator[Axes]:
    with rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        yield figure.add_subplot()
        figure.savefig(path, metadata={"Date": None})
