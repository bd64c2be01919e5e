"""How two audits of the same images differ: each estimate with an interval and, where there is one, a test.

Public names: `Difference`, `shares`, `means`, `areas`, `rates`, `holm_adjusted`.

Images are what is drawn at random: the same members and the same controls stand on both sides. Each function takes the
old side first, and a positive difference means more leaked on the new side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap, norm, rankdata, ttest_ind

from auditcli.scoring.membership import CONFIDENCE, auc_interval
from auditcli.types import Interval

Floats = NDArray[np.float64]
Pair = tuple[Sequence[float], Sequence[float]]
"""Of the members and of the controls."""

RESAMPLES = 4_999
SEED = 0
"""Of the resampling: the same two reports always compare alike."""
_NOTHING = 1e-12
"""Differences and variances below this are rounding."""
_STRIDE = 256
"""Resamples at a time, so that thousands of images fit into memory."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure on both sides, and how far they are apart."""

    old: float
    new: float
    interval: Interval
    """Of new - old, at 95% confidence."""
    test: str = ""
    """Name of the test; empty where none is made."""
    p_value: float | None = None
    """Two-sided."""


def shares(old: Sequence[bool], new: Sequence[bool]) -> Difference:
    """Shares of the members that were recovered.

    Args:
        old: n >= 1 members, whether each was recovered.
        new: The same members.

    Returns:
        Exact McNemar test, and an interval that keeps a width where no member changed sides.

    Reference:
        McNemar 1947, doi:10.1007/BF02295996; Newcombe 1998, Statistics in Medicine 17, 2635-2650, method 10.
    """
    x, y = np.asarray(old, dtype=bool), np.asarray(new, dtype=bool)
    n, lost, gained = len(x), int((x & ~y).sum()), int((~x & y).sum())
    changed = lost + gained
    p_value = float(binomtest(gained, changed).pvalue) if changed else 1.0
    interval = _square_and_add(_wilson(int(x.sum()), n), _wilson(int(y.sum()), n), _phi(x, y))
    return Difference(float(x.mean()), float(y.mean()), interval, "exact McNemar test", p_value)


def means(old: Pair, new: Pair) -> Difference:
    """Means of a figure that every image has, e.g. its best SSIM: of the members, above that of the controls.

    What moves members and controls alike, such as smoother guesses, is no leak and cancels out.

    Args:
        old: m >= 2 members and k >= 2 controls; without any control the members' mean alone is compared.
        new: The same images.

    Returns:
        A bootstrap interval (BCa), and Welch's test of the members' shift against that of the controls; no test
        without controls, for nothing says then what the shift would have been by chance.

    Reference:
        Efron 1987, doi:10.1080/01621459.1987.10478410; Welch 1947, doi:10.1093/biomet/34.1-2.28.
    """
    before, after = _arrays(old), _arrays(new)
    moved = tuple(y - x for x, y in zip(before, after, strict=True) if len(x))
    first, second = (float(_above(x, y if len(y) else 0.0)) for x, y in (before, after))
    value = second - first
    if all(np.ptp(part) < _NOTHING for part in moved):
        return Difference(first, second, Interval(value, value, value))
    rng = np.random.default_rng(SEED)
    drawn = bootstrap(moved, _above, n_resamples=RESAMPLES, batch=_STRIDE, confidence_level=CONFIDENCE, rng=rng)
    low, high = (float(bound) for bound in drawn.confidence_interval)
    interval = Interval(value, low, high)
    if len(moved) == 1:
        return Difference(first, second, interval)
    p_value = float(ttest_ind(*moved, equal_var=False).pvalue)
    return Difference(first, second, interval, "Welch's test", p_value)


def _above(members: Any, controls: Any = 0.0, axis: int = -1) -> Any:
    """Means of the members, above those of the controls where there are any."""
    return members.mean(axis=axis) - np.mean(controls, axis=axis if np.ndim(controls) else None)


def areas(old: Pair, new: Pair) -> Difference:
    """Areas under the ROC of one signal.

    The interval joins the two single ones, which keep a width where members and controls separate fully, with the
    correlation that DeLong's covariance gives.

    Args:
        old: m >= 2 scores of members and k >= 2 of controls, higher = more likely a member.
        new: Of the same images.

    Returns:
        DeLong's test for paired areas.

    Raises:
        AttackError: a score is NaN.

    Reference:
        DeLong et al. 1988, doi:10.2307/2531595, by ranks as Sun and Xu 2014, doi:10.1109/LSP.2014.2337313;
        Zou and Donner 2008, doi:10.1002/sim.3095, for the interval.
    """
    before, after = (auc_interval(*side, confidence=CONFIDENCE) for side in (old, new))
    covariance = _covariance(old, new)
    spread = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    scale = sqrt(covariance[0, 0] * covariance[1, 1])
    correlation = float(np.clip(covariance[0, 1] / scale, -1, 1)) if scale > 0 else 0.0
    moved = abs(after.value - before.value)
    p_value = 1.0 if moved < _NOTHING else float(2 * norm.sf(moved / sqrt(max(spread, _NOTHING))))
    interval = _square_and_add(before, after, correlation)
    return Difference(before.value, after.value, interval, "DeLong's test for paired areas", p_value)


def rates(old: Pair, new: Pair, rate: float) -> Difference | None:
    """Shares of members found at a false-positive rate.

    The threshold is one of the highest controls, which a bootstrap follows poorly, so the interval stands without a
    test.

    Args:
        old: m scores of members and k of controls, higher = more likely a member.
        new: Of the same images.
        rate: False-positive rate, in (0, 1).

    Returns:
        A percentile interval over images drawn again, the same on both sides, and at least as wide as the members
        alone make it: a bootstrap has no width where a side finds none or all. None where k < 1 / rate - 1 controls
        cannot resolve the rate.

    Reference:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13; Newcombe 1998, as for `shares`.
    """
    before, after = _arrays(old), _arrays(new)
    m, k = len(before[0]), len(before[1])
    allowed = int(rate * (k + 1) * (1 + 1e-9)) - 1
    if allowed < 0:
        return None

    def found(side: tuple[Floats, Floats], i: Any = slice(None), j: Any = slice(None)) -> NDArray[np.bool_]:
        threshold = np.partition(side[1][j], k - 1 - allowed, axis=-1)[..., k - 1 - allowed, None]
        return np.asarray(side[0][i] > threshold)

    rng, moved = np.random.default_rng(SEED), []
    for start in range(0, RESAMPLES, _STRIDE):
        count = min(_STRIDE, RESAMPLES - start)
        i, j = rng.integers(m, size=(count, m)), rng.integers(k, size=(count, k))
        moved.append(found(after, i, j).mean(axis=-1) - found(before, i, j).mean(axis=-1))
    low, high = np.quantile(np.concatenate(moved), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    seen = shares(found(before).tolist(), found(after).tolist())
    inner = seen.interval
    interval = Interval(inner.value, min(inner.low, float(low)), max(inner.high, float(high)))
    return Difference(seen.old, seen.new, interval)


def holm_adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values that hold for the whole family: one is at most alpha where Holm's procedure rejects at alpha.

    Args:
        p_values: One a test, in [0, 1], under any dependence.

    Returns:
        In the order given, in [0, 1].

    Reference:
        Holm 1979, Scandinavian Journal of Statistics 6(2), 65-70.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for step, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[i]))
        adjusted[i] = highest
    return tuple(adjusted)


def _arrays(side: Pair) -> tuple[Floats, Floats]:
    return np.asarray(side[0], dtype=np.float64), np.asarray(side[1], dtype=np.float64)


def _covariance(old: Pair, new: Pair) -> Floats:
    """DeLong's covariance (2, 2) of the two areas, from the placements of each image in the other sample."""
    placed = [_placements(*_arrays(side)) for side in (old, new)]
    parts = zip(*placed, strict=True)
    return np.asarray(sum(np.cov(np.stack(both)) / len(both[0]) for both in parts), dtype=np.float64)


def _placements(members: Floats, controls: Floats) -> tuple[Floats, Floats]:
    """Share of controls below each member, and of members above each control; ties count one half."""
    m, k = len(members), len(controls)
    ranks = rankdata(np.concatenate([members, controls]))
    return (ranks[:m] - rankdata(members)) / k, 1 - (ranks[m:] - rankdata(controls)) / m


def _square_and_add(old: Interval, new: Interval, correlation: float) -> Interval:
    """Interval of new - old from the intervals of both, as wide as their sides towards it and correlation allow."""

    def reach(down: float, up: float) -> float:
        return sqrt(max(0.0, down**2 + up**2 - 2 * correlation * down * up))

    moved = new.value - old.value
    low = moved - reach(new.value - new.low, old.high - old.value)
    high = moved + reach(new.high - new.value, old.value - old.low)
    return Interval(moved, max(-1.0, low), min(1.0, high))


def _wilson(found: int, n: int) -> Interval:
    bounds = binomtest(found, n).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(found / n, float(bounds.low), float(bounds.high))


def _phi(x: NDArray[np.bool_], y: NDArray[np.bool_]) -> float:
    """Correlation of two yes-no figures, a positive one with Newcombe's correction; 0 where a side never changes."""
    n, a, b = len(x), int((x & y).sum()), int((x & ~y).sum())
    c = int((~x & y).sum())
    d = n - a - b - c
    scale = sqrt((a + b) * (c + d) * (a + c) * (b + d))
    product = a * d - b * c
    return (max(product - n / 2, 0.0) if product > 0 else product) / scale if scale else 0.0
