"""Intervals and tests behind the summary: `Share`, `share`, `Correlation`, `spearman`, `Uniformity`, `uniformity`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, kstest, rankdata

DRAWS = 2_000


@dataclass(frozen=True, slots=True)
class Share:
    """Hits out of trials, with the 95% interval of Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404."""

    hits: int
    of: int
    low: float
    high: float

    def __str__(self) -> str:
        """As a table has it."""
        if not self.of:
            return "-"
        return f"{self.hits} of {self.of} ({self.hits / self.of:.0%}, {self.low:.0%} to {self.high:.0%})"


def share(hits: int, of: int) -> Share:
    """Hits out of trials; out of none anything is possible."""
    if not of:
        return Share(0, 0, 0.0, 1.0)
    interval = binomtest(hits, of).proportion_ci(0.95, method="exact")
    return Share(hits, of, float(interval.low), float(interval.high))


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rank correlation with a 95% interval."""

    value: float
    low: float
    high: float
    n: int


def spearman(x: Sequence[float], y: Sequence[float], *, seed: int = 0) -> Correlation | None:
    """Spearman's rank correlation with a percentile interval from resampled pairs.

    Args:
        x: n values.
        y: n values.
        seed: Of the resampling.

    Returns:
        None for fewer than four pairs, or where either side is constant: then there is no order to agree on.
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(a) < 4 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(a), size=(DRAWS, len(a)))
    resampled = _rank_correlations(a[draws], b[draws])
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return Correlation(float(_rank_correlations(a[None], b[None])[0]), float(low), float(high), len(a))


def _rank_correlations(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """One a row of two arrays (r, n); NaN where a row is constant."""
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (rankdata(a, axis=1), rankdata(b, axis=1)))
    with np.errstate(invalid="ignore"):
        return np.asarray((x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1)))


@dataclass(frozen=True, slots=True)
class Uniformity:
    """How p-values of true null hypotheses lie; uniform is exact, too large is cautious, too small is wrong."""

    n: int
    below_5: Share
    """At most 0.05."""
    below_1: Share
    """At most 0.01."""
    ks: float
    """p-value of the two-sided Kolmogorov-Smirnov test against the uniform distribution."""
    ks_small: float
    """The same, one-sided: small where the p-values are too small."""


def uniformity(p_values: Sequence[float]) -> Uniformity | None:
    """How p-values compare with uniform ones; None of none."""
    p, n = np.asarray(p_values, dtype=float), len(p_values)
    if not n:
        return None
    return Uniformity(
        n,
        share(int((p <= 0.05).sum()), n),
        share(int((p <= 0.01).sum()), n),
        float(kstest(p, "uniform").pvalue),
        float(kstest(p, "uniform", alternative="greater").pvalue),
    )
