"""Axes and lines as numbers on a small sheet, which a template turns into SVG.

Public names: `Axis`, `Tick`, `Line`, `Drawing`, `straight`, `logarithmic`, `drawing`, `thinned`.
A drawing holds no string of a report: what its lines are called stands in a legend, which the template escapes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import floor, log10

WIDTH, HEIGHT = 360, 240
"""Of the sheet, in its own unit; the page scales it to the width there is, near one pixel each."""
LEFT, RIGHT, TOP, BOTTOM = 54, 18, 10, 42
"""Margins for the numbers and names of the axes."""
MOST_POINTS = 300
TICKS = 5
"""Steps of an axis at most, but for one."""
FAR = 1e200
"""Numbers beyond are drawn at the end: differences stay finite, whatever a report holds."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a drawing: which numbers it spans and how they are written."""

    name: str
    low: float
    high: float
    values: tuple[float, ...]
    """Where numbers stand."""
    written: Callable[[float], str]
    scale: Callable[[float], float] = float
    """`log10` on a logarithmic axis."""

    def share(self, value: float) -> float:
        """How far along the axis a value lies, in [0, 1]; one outside of it lies at its end."""
        start, end = self.scale(self.low), self.scale(self.high)
        return (self.scale(min(max(value, self.low), self.high)) - start) / (end - start)


@dataclass(frozen=True, slots=True)
class Tick:
    """A number beside an axis."""

    at: float
    """In units of the sheet."""
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points of the sheet."""

    path: str
    """As the attribute `d` of an SVG path."""
    look: str
    """Its class in the style sheet."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """All that stands on one sheet."""

    across: str
    up: str
    """The names of the axes."""
    across_ticks: tuple[Tick, ...]
    up_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def straight(name: str, low: float, high: float, written: Callable[[float], str]) -> Axis:
    """An axis with equal steps of one, two or five of a power of ten; `high` may be equal to `low`."""
    low, high = max(low, -FAR), min(high, FAR)
    if not high - low > 1e-12 * max(abs(low), abs(high), 1 / FAR):
        high = low + (abs(low) or 1.0)
    rough = (high - low) / TICKS
    power = 10.0 ** floor(log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = -floor(-low / step + 1e-9), floor(high / step + 1e-9)
    return Axis(name, low, high, tuple(index * step for index in range(first, last + 1)), written)


def logarithmic(name: str, decades: int) -> Axis:
    """An axis of shares from 10 to the power of minus `decades` up to 1, with a number for each power."""
    values = tuple(10.0**-power for power in range(decades, -1, -1))
    return Axis(name, values[0], 1.0, values, lambda share: f"{100 * share:g}%", log10)


def drawing(across: Axis, up: Axis, lines: Sequence[tuple[str, Sequence[Point]]]) -> Drawing:
    """The drawing of lines, each with its look, through points in the units of the axes."""
    return Drawing(
        across=across.name,
        up=up.name,
        across_ticks=tuple(Tick(_x(across, value), across.written(value)) for value in across.values),
        up_ticks=tuple(Tick(_y(up, value), up.written(value)) for value in up.values),
        lines=tuple(Line(_path(across, up, points), look) for look, points in lines),
    )


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most about `MOST_POINTS` of them, first and last included: the page stays small."""
    step = -(-len(points) // MOST_POINTS)
    return [*points[:-1:step], points[-1]]


def _path(across: Axis, up: Axis, points: Sequence[Point]) -> str:
    places = (f"{_x(across, x):g} {_y(up, y):g}" for x, y in points)
    return "M" + "L".join(place for place, _ in groupby(places))


def _x(axis: Axis, value: float) -> float:
    return round(LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT), 1)


def _y(axis: Axis, value: float) -> float:
    return round(HEIGHT - BOTTOM - axis.share(value) * (HEIGHT - TOP - BOTTOM), 1)
