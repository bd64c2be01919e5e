"""Tests at the level of the whole model: do members score above controls, and does that hold among several tests?

Public names: `recovery`, `separation`, `exceedances`, `holm`, `least_p_value`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, rankdata

from auditcli.errors import AttackError, SampleError
from auditcli.types import Test

EXACT_PAIRS = 10_000
"""Up to this many (member, control) pairs the null distribution of U is counted, not approximated."""
SMALL = 20
"""Where either sample is no larger than this, the normal approximation is not trusted: it fails in its tail."""
DRAWS = 19_999
"""Random permutations where the null distribution is neither counted nor normal."""


def recovery(members: Sequence[float], controls: Sequence[float], *, seed: int = 0) -> Test:
    """The reconstruction test: do members score above controls, all a little or a few a lot?

    `separation` hardly sees a leak of few members: 5 of 50 found beyond doubt move its p-value to 0.12. `exceedances`
    sees little else. The smaller p-value of the two counts, doubled (Bonferroni), which holds under any dependence.

    Args:
        members: m scores, any unit, higher = nearer to a reconstruction.
        controls: k scores of the same kind.
        seed: Of the permutations, where they are drawn.

    Returns:
        The test with the smaller p-value, with the p-value doubled.

    Raises:
        SampleError: a sample is empty.
        AttackError: a score is NaN.
    """
    best = min(separation(members, controls, seed=seed), exceedances(members, controls), key=lambda test: test.p_value)
    return Test(f"{best.name}, the better of two tests", best.statistic, min(1.0, 2 * best.p_value))


def exceedances(members: Sequence[float], controls: Sequence[float]) -> Test:
    """One-sided test of how many members score above every control.

    If nothing leaked, each choice of s of the m + k scores is equally likely to be the s highest, and all of them are
    members with probability (m choose s) / (m + k choose s). Ties with the best control do not count.

    Args:
        members: m scores, any unit, higher = nearer to a reconstruction.
        controls: k scores of the same kind.

    Returns:
        Statistic s = number of members above the highest control.

    Raises:
        SampleError: a sample is empty.
        AttackError: a score is NaN.

    Reference:
        Wilks 1942, doi:10.1214/aoms/1177731537.
    """
    x, y = checked_scores(members, controls)
    above = int((x > y.max()).sum())
    return Test("members above every control", float(above), _ratio(comb(len(x), above), comb(len(x) + len(y), above)))


def separation(members: Sequence[float], controls: Sequence[float], *, seed: int = 0) -> Test:
    """One-sided Mann-Whitney test that members score above controls.

    Counted exactly where there are no ties and the samples are small, else by the normal approximation; by random
    permutations of the labels where one sample alone is small, and with ties, which the approximation misjudges
    badly where most scores are equal.

    Args:
        members: m scores, any unit, higher = more likely a member.
        controls: k scores of the same kind.
        seed: Of the permutations, where they are drawn.

    Returns:
        Statistic U = number of (member, control) pairs in which the member wins, ties counting one half.

    Raises:
        SampleError: a sample is empty.
        AttackError: a score is NaN.

    Reference:
        Mann and Whitney 1947, doi:10.1214/aoms/1177730491; `scipy.stats.mannwhitneyu`.
    """
    x, y = checked_scores(members, controls)
    tied = len(np.unique(np.concatenate([x, y]))) < len(x) + len(y)
    exact = len(x) * len(y) <= EXACT_PAIRS
    if tied or (min(len(x), len(y)) <= SMALL and not exact):
        return _permutation_test(x, y, seed)
    result = mannwhitneyu(x, y, alternative="greater", method="exact" if exact else "asymptotic")
    # The approximation may underflow to 0, which no finite sample can justify.
    p_value = max(float(result.pvalue), least_p_value(len(x), len(y)))
    return Test(_name("exact" if exact else "normal approximation"), float(result.statistic), p_value)


def _permutation_test(x: NDArray[np.float64], y: NDArray[np.float64], seed: int) -> Test:
    rng = np.random.default_rng(seed)
    m, ranks = len(x), rankdata(np.concatenate([x, y]))
    observed = ranks[:m].sum()
    draws = np.array([rng.choice(ranks, m, replace=False, shuffle=False).sum() for _ in range(DRAWS)])
    p_value = (1 + int((draws >= observed).sum())) / (DRAWS + 1)
    return Test(_name(f"{DRAWS:,} permutations"), float(observed - m * (m + 1) / 2), p_value)


def _name(method: str) -> str:
    return f"Mann-Whitney U, members > controls, {method}"


def checked_scores(
    members: Sequence[float], controls: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as float64 arrays.

    Raises:
        SampleError: a sample is empty.
        AttackError: a score is NaN.
    """
    x, y = np.asarray(members, dtype=np.float64), np.asarray(controls, dtype=np.float64)
    if len(x) == 0 or len(y) == 0:
        raise SampleError(
            f"comparing members with controls needs both, got {len(x)} members and {len(y)} controls",
            hint="give both --members and --controls",
        )
    if np.isnan(x).any() or np.isnan(y).any():
        raise AttackError("a score is NaN, expected a number for every member and control")
    return x, y


def least_p_value(members: int, controls: int) -> float:
    """The smallest p-value that this many members and controls can reach: all members above all controls.

    Args:
        members: m >= 1.
        controls: k >= 1.

    Returns:
        1 / (m + k choose m), in (0, 1).
    """
    return _ratio(1, comb(members + controls, members))


def _ratio(numerator: int, denominator: int) -> float:
    """Their quotient, not below the smallest normal float: with hundreds of images it underflows to 0."""
    return max(numerator / denominator, float(np.finfo(np.float64).tiny))


def holm(p_values: Sequence[float], alpha: float) -> tuple[bool, ...]:
    """Which hypotheses fall, so that any false rejection at all happens with probability at most alpha.

    Args:
        p_values: One a test, in [0, 1], under any dependence.
        alpha: Family-wise error rate.

    Returns:
        One a test, in the order given.

    Reference:
        Holm 1979, Scandinavian Journal of Statistics 6(2), 65-70.
    """
    rejected = [False] * len(p_values)
    for step, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[i] > alpha / (len(p_values) - step):
            break
        rejected[i] = True
    return tuple(rejected)
