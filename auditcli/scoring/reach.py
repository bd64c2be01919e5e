"""What so many members and controls can show at best: bounds, least p-values, power. Pure arithmetic on counts.

Public names: `least_reachable`, `flagged_together`, `recovered_together`, `best_auc_low`, `best_tpr_low`,
`resolves`, `auc_with_low`, `detectable_auc`, `detects`, `least_number`, `grown_until`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln
from scipy.stats import norm

from auditcli.scoring.calibration import FALSE_DISCOVERY_RATE
from auditcli.scoring.membership import _THRESHOLD_SHARE, CONFIDENCE, _model_variance, controls_to_bound
from auditcli.scoring.significance import DRAWS, EXACT_PAIRS, SMALL, least_p_value

POWER = 0.8
MOST = 10_000_000
"""Images that are not looked beyond."""
_LARGE = 600
"""Where both samples have as many images, the least p-value is the smallest float."""
_SLACK = 1e-9
"""Relative, at bounds that are met exactly."""


def least_reachable(m: int, k: int, *, drawn: bool = False) -> float:
    """The smallest p-value of a test that separates fully.

    Args:
        m: Members, >= 1.
        k: Controls, >= 1.
        drawn: Whether it is `separation` alone, which draws permutations where one sample is small and the other not.

    Returns:
        In (0, 1).
    """
    counted = least_p_value(min(m, _LARGE), min(k, _LARGE)) if min(m, k) > _LARGE else least_p_value(m, k)
    sampled = drawn and m * k > EXACT_PAIRS and min(m, k) <= SMALL
    return max(counted, 1 / (DRAWS + 1)) if sampled else counted


def flagged_together(m: int, k: int, *, rate: float = FALSE_DISCOVERY_RATE) -> int | None:
    """How many members must score above every control for Benjamini-Hochberg to flag them.

    Args:
        m: Members, >= 1.
        k: Controls, >= 1.
        rate: False-discovery rate.

    Returns:
        The smallest s <= m with `1 / (k + 1) <= rate s / m`, or None.
    """
    together = ceil(m / (rate * (k + 1)) * (1 - _SLACK))
    return together if together <= m else None


def recovered_together(m: int, k: int, level: float) -> int | None:
    """How many members must score above every control for the reconstruction test to be significant.

    Args:
        m: Members, >= 1.
        k: Controls, >= 1.
        level: Of the test; the p-value is that of `recovery`, doubled.

    Returns:
        The smallest s <= m with `2 (m choose s) / (m + k choose s) <= level`, or None.
    """

    def falls(s: int) -> bool:
        # (m choose s) / (m + k choose s) = m! (m + k - s)! / ((m - s)! (m + k)!)
        log_p = gammaln(m + 1) + gammaln(m + k - s + 1) - gammaln(m - s + 1) - gammaln(m + k + 1)
        return bool(np.log(2) + log_p <= np.log(level) + _SLACK)

    return least_number(falls, 1, m)


def best_auc_low(m: int, k: int, *, confidence: float = CONFIDENCE) -> float:
    """Lower bound of `auc_interval` where every member scores above every control.

    Args:
        m: Members, >= 1.
        k: Controls, >= 1.
        confidence: Of the two-sided interval.

    Returns:
        In (0, 1).
    """
    quantile = float(norm.ppf((1 + confidence) / 2))
    return float(brentq(lambda a: (1 - a) ** 2 - quantile**2 * _variance(a, m, k), 0.0, 1 - _SLACK))


def best_tpr_low(m: int, k: int, rate: float) -> float | None:
    """Lower bound of `tpr_at_fpr` where every member scores above every control; None where it is not resolved.

    Args:
        m: Members, >= 1.
        k: Controls, >= 1.
        rate: False-positive rate, in (0, 1).
    """
    if not resolves(k, rate):
        return None
    if k < controls_to_bound(rate):
        return 0.0
    return float(((1 - CONFIDENCE) / 2 * (1 - _THRESHOLD_SHARE)) ** (1 / m))  # Clopper and Pearson, m of m


def resolves(k: int, rate: float) -> bool:
    """Whether `tpr_at_fpr` has a value at this false-positive rate with k controls."""
    return rate * (k + 1) * (1 + _SLACK) >= 1


def auc_with_low(low: float, m: int, k: int, *, confidence: float = CONFIDENCE) -> float | None:
    """The smallest observed AUC whose interval stays at or above `low`, by the model's variance.

    Scores that vary more than the model of Hanley and McNeil says (few members stand out) take more.

    Args:
        low: In (0, 1).
        m: Members, >= 1.
        k: Controls, >= 1.
        confidence: Of the two-sided interval.

    Returns:
        In (low, 1], or None.
    """
    auc = low + float(norm.ppf((1 + confidence) / 2)) * sqrt(_variance(low, m, k))
    return auc if auc <= 1 else None


def detectable_auc(m: int, k: int, level: float) -> float | None:
    """The true AUC that a one-sided Mann-Whitney test finds with a power of 80%.

    Normal approximation: the observed area has the exact variance of the null there, and that of Hanley and McNeil
    at the true area. The tests compare it with simulated normal shifts.

    Args:
        m: Members, >= 1.
        k: Controls, >= 1.
        level: Of the test.

    Returns:
        In (0.5, 1], or None where not even full separation is significant.
    """
    if least_reachable(m, k, drawn=True) > level:
        return None
    if not detects(1 - _SLACK, m, k, level):
        return 1.0
    return float(brentq(lambda a: _surplus(a, m, k, level), 0.5, 1 - _SLACK))


def detects(auc: float, m: int, k: int, level: float) -> bool:
    """Whether an AUC is found with a power of 80%, by the approximation of `detectable_auc`.

    Args:
        auc: True area, in [0.5, 1).
        m: Members, >= 1.
        k: Controls, >= 1.
        level: Of the test.
    """
    return least_reachable(m, k, drawn=True) <= level and _surplus(auc, m, k, level) >= 0


def _surplus(auc: float, m: int, k: int, level: float) -> float:
    """How far the area that 80% of the samples exceed lies above the area that is just significant."""
    critical = 0.5 + float(norm.isf(level)) * sqrt((m + k + 1) / (12 * m * k))
    return auc - float(norm.ppf(POWER)) * sqrt(_variance(auc, m, k)) - critical


def _variance(area: float, m: int, k: int) -> float:
    return min(_model_variance(area, m, k), area * (1 - area) / min(m, k))


def least_number(holds: Callable[[int], bool], start: int, limit: int = MOST) -> int | None:
    """The smallest number from `start` to `limit` at which something holds that goes on to hold; None where none."""
    if start > limit or not holds(limit):
        return None
    low, high = start, start
    while not holds(high):
        low, high = high + 1, min(2 * high + 1, limit)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high


def grown_until(holds: Callable[[int, int], bool], m: int, k: int) -> tuple[int, int] | None:
    """The smallest samples at which something holds, grown in proportion.

    Args:
        holds: Of members and controls; it goes on to hold for more of both.
        m: Members at present, >= 1.
        k: Controls at present, >= 1.

    Returns:
        Members and controls, or None where not even `MOST` images are enough.
    """
    few, many = min(m, k), max(m, k)

    def grown(size: int) -> tuple[int, int]:
        other = ceil(many * size / few)
        return (size, other) if m == few else (other, size)

    size = least_number(lambda size: holds(*grown(size)), few)
    return None if size is None else grown(size)
