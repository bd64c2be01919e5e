"""What a membership signal tells apart: AUC, true-positive rates at fixed false-positive rates, ROC.

Public names: `signal_finding`, `auc_interval`, `tpr_at_fpr`, `roc_corners`, `controls_to_bound`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import beta, binomtest, norm, rankdata

from auditcli.scoring.calibration import exposures, is_flagged
from auditcli.scoring.significance import checked_scores, separation
from auditcli.types import Interval, SignalFinding

RATES = (0.001, 0.01, 0.1)
CONFIDENCE = 0.95
EXPOSED = 20
"""Most exposed members that are named."""
_THRESHOLD_SHARE = 0.8
"""Share of the error that goes to the threshold, the rest to the members.

At low rates controls are what is scarce: at 1% the first lower bound above 0 takes 390 controls this way and 436 at
equal shares, while the members' bound barely moves.
"""


def signal_finding(
    signal: str,
    members: Sequence[float],
    controls: Sequence[float],
    *,
    ids: Sequence[str] = (),
    rates: Sequence[float] = RATES,
    seed: int = 0,
) -> SignalFinding:
    """How well one signal tells members from controls.

    Args:
        signal: Its name.
        members: m scores, higher = more likely a member.
        controls: k scores.
        ids: m names of the members, in their order; their numbers where they have none.
        rates: False-positive rates, each in (0, 1).
        seed: Of the permutation test, where there are ties.

    Returns:
        Intervals at 95% confidence.

    Raises:
        SampleError: a sample is empty.
        AttackError: a score is NaN.
    """
    exposed = exposures(ids or [str(number) for number in range(len(members))], members, controls)
    return SignalFinding(
        signal=signal,
        auc=auc_interval(members, controls),
        tpr_at_fpr=tuple((rate, tpr_at_fpr(members, controls, rate)) for rate in rates),
        test=separation(members, controls, seed=seed),
        roc=roc_corners(members, controls),
        n_members=len(members),
        n_controls=len(controls),
        exposed=exposed[:EXPOSED],
        named=sum(is_flagged(exposure.q_value) for exposure in exposed),
    )


def auc_interval(members: Sequence[float], controls: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Area under the ROC with a score interval: all areas that the observed one does not contradict.

    The variance is taken at the area asked about and not at the one observed, so the interval keeps a width where
    members and controls separate fully, and DeLong's or a bootstrap's has none. Where the scores vary more than the
    model of Hanley and McNeil says (a few members stand out, the others do not), it is scaled up to DeLong's
    estimate, and held below the largest that any distribution has, `a (1 - a) / min(m, k)`.

    Args:
        members: m scores, higher = more likely a member.
        controls: k scores.
        confidence: Of the two-sided interval.

    Returns:
        Area and bounds in [0, 1].

    Raises:
        SampleError: a sample is empty.
        AttackError: a score is NaN.

    Reference:
        Newcombe 2006, doi:10.1002/sim.2324, method 5; DeLong et al. 1988, doi:10.2307/2531595;
        Birnbaum and Klose 1957, Annals of Mathematical Statistics 28(4), 933-945, for the bound. The scaling is ours;
        the tests simulate its coverage.
    """
    x, y = checked_scores(members, controls)
    m, k = len(x), len(y)
    area, observed = _delong(x, y)
    scale = max(1.0, observed / _model_variance(area, m, k)) if 0 < area < 1 else 1.0
    quantile = float(norm.ppf((1 + confidence) / 2))

    def excess(a: float) -> float:
        variance = min(scale * _model_variance(a, m, k), a * (1 - a) / min(m, k))
        return (area - a) ** 2 - quantile**2 * variance

    # Next to an observed 0 or 1, `excess` is negative; at it, it is 0, which would be taken for the other root.
    inner = float(np.clip(area, 1e-9, 1 - 1e-9))
    low = 0.0 if area == 0 else brentq(excess, 0.0, inner)
    high = 1.0 if area == 1 else brentq(excess, inner, 1.0)
    return Interval(area, float(low), float(high))


def _delong(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Area and its variance from the placements of each score in the other sample; 0 for a sample of one."""
    m, k = len(x), len(y)
    ranks = rankdata(np.concatenate([x, y]))
    of_members = (ranks[:m] - rankdata(x)) / k
    of_controls = 1 - (ranks[m:] - rankdata(y)) / m
    variance = sum(float(v.var(ddof=1)) / len(v) for v in (of_members, of_controls) if len(v) > 1)
    return float(of_members.mean()), variance


def _model_variance(area: float, m: int, k: int) -> float:
    """Variance of the empirical area by Hanley and McNeil, in the form symmetric in m and k."""
    pairs = (1 - area) / (2 - area) + area / (1 + area)
    return area * (1 - area) / (m * k) * (1 + ((m + k) / 2 - 1) * pairs)


def tpr_at_fpr(
    members: Sequence[float], controls: Sequence[float], rate: float, *, confidence: float = CONFIDENCE
) -> Interval | None:
    """Share of members found at a false-positive rate, with both samples' uncertainty in the interval.

    The threshold is the control with `j = floor(rate (k + 1)) - 1` controls above it: the false-positive rate there is
    Beta(j + 1, k - j) distributed, with mean at most `rate`. The lower bound moves the threshold up until
    that rate is below `rate` with confidence, and takes the Clopper-Pearson bound of the members above it; the upper
    bound the same the other way. So it holds for any distribution of the scores.

    Args:
        members: m scores, higher = more likely a member.
        controls: k scores.
        rate: False-positive rate, in (0, 1).
        confidence: Of the two-sided interval.

    Returns:
        Rate and bounds in [0, 1]; None where k < 1 / rate - 1 controls cannot resolve the rate.

    Raises:
        SampleError: a sample is empty.
        AttackError: a score is NaN.

    Reference:
        Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404; order statistics of the uniform distribution.
    """
    x, y = checked_scores(members, controls)
    m, k = len(x), len(y)
    allowed = int(rate * (k + 1) * (1 + 1e-9)) - 1
    if allowed < 0:
        return None
    descending = np.sort(y)[::-1]
    error = (1 - confidence) / 2
    member_confidence = 1 - error * (1 - _THRESHOLD_SHARE)
    # Element j: chance that the false-positive rate above the (j + 1)-th largest control is at most `rate`.
    ranks = np.arange(k)
    below = beta.cdf(rate, ranks + 1, k - ranks)
    strict = np.flatnonzero(below >= 1 - error * _THRESHOLD_SHARE)
    loose = np.flatnonzero(below <= error * _THRESHOLD_SHARE)
    low, high = 0.0, 1.0
    if len(strict):
        found = int((x > descending[strict[-1]]).sum())
        low = binomtest(found, m, alternative="greater").proportion_ci(member_confidence).low
    if len(loose):
        found = int((x >= descending[loose[0]]).sum())
        high = binomtest(found, m, alternative="less").proportion_ci(member_confidence).high
    return Interval(float((x > descending[allowed]).mean()), float(low), float(high))


def controls_to_bound(rate: float, *, confidence: float = CONFIDENCE) -> int:
    """How many controls it takes for `tpr_at_fpr` to have a lower bound above 0.

    Args:
        rate: False-positive rate, in (0, 1).
        confidence: Of the two-sided interval.

    Returns:
        The smallest k with `(1 - rate) ** k` at most the error left to the threshold.
    """
    return ceil(log((1 - confidence) / 2 * _THRESHOLD_SHARE) / log(1 - rate))


def roc_corners(members: Sequence[float], controls: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """The points where the ROC turns.

    Args:
        members: m scores, higher = more likely a member.
        controls: k scores.

    Returns:
        (false-positive rate, true-positive rate), from (0, 0) to (1, 1), both rising.

    Raises:
        SampleError: a sample is empty.
        AttackError: a score is NaN.
    """
    x, y = checked_scores(members, controls)
    thresholds = np.unique(np.concatenate([x, y]))[::-1]
    true = len(x) - np.searchsorted(np.sort(x), thresholds, side="left")
    false = len(y) - np.searchsorted(np.sort(y), thresholds, side="left")
    corners: list[tuple[int, int]] = [(0, 0)]
    for point in zip(false.tolist(), true.tolist(), strict=True):
        if len(corners) > 1 and _in_line(corners[-2], corners[-1], point):
            corners.pop()
        corners.append(point)
    return tuple((f / len(y), t / len(x)) for f, t in corners)


def _in_line(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return (b[0] - a[0]) * (c[1] - b[1]) == (b[1] - a[1]) * (c[0] - b[0])
