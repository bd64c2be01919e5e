"""Axes and lines: numbers stand where they belong, and no figures of a report break them."""

import re
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_examples import example, undrawn

from auditcli.report import schema as s
from auditcli.report.drawing import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MOST_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    drawing,
    logarithmic,
    straight,
    thinned,
)
from auditcli.report.plots import LOOKS, plots

unhurried = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
UNDRAWN = undrawn(example("low"))
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def places(path):
    return [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]


def test_ends_of_the_axes_are_the_corners_of_the_sheet():
    sheet = drawing(straight("x", 0, 10, str), straight("y", -1, 1, str), [("a", [(0, -1), (5, 0), (10, 1)])])
    middle = ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2)
    assert places(sheet.lines[0].path) == [(LEFT, HEIGHT - BOTTOM), middle, (WIDTH - RIGHT, TOP)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.2, 1, [0, 0.5, 1]),
        (1, 1200, [500, 1000]),
        (0, 20.7, [0, 5, 10, 15, 20]),
        (3, 3, [3, 4, 5, 6]),
    ],
)
def test_numbers_stand_at_round_values(low, high, expected):
    assert straight("x", low, high, str).values == pytest.approx(expected)


def test_a_logarithmic_axis_names_each_power():
    axis = logarithmic("x", 3)
    assert [axis.written(value) for value in axis.values] == ["0.1%", "1%", "10%", "100%"]
    assert [axis.share(value) for value in axis.values] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert axis.share(0.0) == 0


@unhurried
@given(st.lists(st.tuples(FINITE, FINITE), min_size=2, max_size=20))
def test_all_stays_on_the_sheet(points):
    across, up = zip(*points, strict=True)
    sheet = drawing(straight("x", min(across), max(across), str), straight("y", min(up), max(up), str), [("a", points)])
    for x, y in places(sheet.lines[0].path):
        assert LEFT <= x <= WIDTH - RIGHT
        assert TOP <= y <= HEIGHT - BOTTOM
    assert len(sheet.across_ticks) <= 12


@unhurried
@given(st.integers(2, 5000))
def test_thinned_keeps_the_ends(count):
    points = [(float(n), 0.0) for n in range(count)]
    kept = thinned(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert len(kept) <= MOST_POINTS + 1
    assert sorted(set(kept)) == kept


def test_histograms_of_few_and_of_many_images_have_the_same_area():
    report = example("critical")
    assert report.controls.n_members != report.controls.n_controls
    lines = {line.look: places(line.path) for line in plots(report)[0].drawing.lines}
    areas = [
        sum((right[0] - left[0]) * (HEIGHT - BOTTOM - left[1]) for left, right in pairwise(lines[look]))
        for look in ("series-1", "series-2")
    ]
    assert areas[0] == pytest.approx(areas[1], rel=0.02)
    best = max(report.controls.members_ssim)
    assert max(x for x, y in lines["series-1"] if y < HEIGHT - BOTTOM) >= LEFT + best * (WIDTH - LEFT - RIGHT) - 0.1


def signals(count):
    signal = example("low").membership[0]
    return tuple(
        signal.model_copy(update={"signal": f"signal {n}", "auc": s.Interval(value=0.5 + n / 50, low=0.5, high=0.9)})
        for n in range(count)
    )


def test_the_best_signals_are_told_apart_and_all_are_named():
    roc = plots(UNDRAWN.model_copy(update={"membership": signals(12)}))[0]
    assert [key.name for key in roc.legend] == [f"signal {n}" for n in range(11, -1, -1)]
    assert [key.look for key in roc.legend[:LOOKS]] == [f"series-{n}" for n in range(1, LOOKS + 1)]
    assert {key.look for key in roc.legend[LOOKS:]} == {"series-other"}
    assert "thin and grey" in roc.caption
    assert len(roc.rows) == 12
    assert roc.drawing.lines[-1].look == "series-1"
    assert "thin and grey" not in plots(UNDRAWN.model_copy(update={"membership": signals(6)}))[0].caption


@unhurried
@given(st.lists(FINITE, min_size=2, max_size=12))
def test_no_objective_breaks_the_plot(objective):
    report = UNDRAWN
    trace = tuple(s.TracePoint(step=step, objective=value) for step, value in enumerate(objective))
    attack = report.attacks[0].model_copy(update={"trace": trace})
    plot = plots(report.model_copy(update={"attacks": (attack,)}))[0]
    assert plot.title == "Objective over time"
    assert "nan" not in plot.drawing.lines[0].path
    assert [row[2] for row in plot.rows][-1] == f"{objective[-1]:.4g}"
