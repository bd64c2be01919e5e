"""What the statistics promise, by simulation: false alarms of a verdict, coverage, flags, and power as planned."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from auditcli.scoring import reach, significance
from auditcli.scoring.calibration import member_findings
from auditcli.scoring.findings import Findings
from auditcli.scoring.matching import Pooled
from auditcli.scoring.membership import auc_interval, signal_finding, tpr_at_fpr
from auditcli.scoring.plan import plan
from auditcli.scoring.significance import recovery, separation
from auditcli.scoring.verdict import judge
from auditcli.types import Level, PositiveControl

PASSED = tuple(PositiveControl(kind, "kkt", "leaky", 5, 5, True, "") for kind in ("reconstruction", "membership"))
M, K = 20, 60
SIGNALS = 3
AUDITS = 600


def pooled(values):
    return Pooled(tuple(values), tuple(values), ("kkt",) * len(values))


def flags(members, controls):
    return np.array([f.leaked for f in member_findings(["x"] * len(members), pooled(members), pooled(controls))])


def audit(rng, correlation):
    """Findings where nothing leaks: the scores of an image go up and down together over all tests."""
    shared = rng.normal(size=M + K)
    own = rng.normal(size=(SIGNALS + 1, M + K))
    scores = correlation**0.5 * shared + (1 - correlation) ** 0.5 * own
    near, far = scores[0, :M], scores[0, M:]
    return Findings(
        n_members=M,
        n_controls=K,
        applicable=SIGNALS + 1,
        reconstruction=recovery(near, far),
        members=member_findings([str(i) for i in range(M)], pooled(near), pooled(far)),
        best_control=float(far.max()),
        signals=tuple(signal_finding(f"s{i}", row[:M], row[M:]) for i, row in enumerate(scores[1:])),
        positive=PASSED,
    )


@cache
def null_findings(correlation):
    rng = np.random.default_rng(20)
    return [audit(rng, correlation) for _ in range(AUDITS)]


@pytest.mark.parametrize("correlation", [0.0, 0.7])
@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_a_whole_verdict_alarms_at_most_as_often_as_stated(correlation, alpha):
    levels = [judge(replace(findings, alpha=alpha)).level for findings in null_findings(correlation)]
    alarms = sum(level not in (Level.NONE_DETECTED, Level.INCONCLUSIVE) for level in levels)
    # Clopper and Pearson: the lower bound of the rate does not exceed what was stated.
    assert binomtest(alarms, AUDITS).proportion_ci(0.998).low <= alpha
    # And it is a test that can alarm at all: independent tests use most of their level.
    assert correlation or alarms >= alpha * AUDITS / 4


def test_without_correction_there_would_be_too_many_alarms():
    """The simulation above can fail: the smallest p-value of four tests is below 0.05 far more often than in 5%."""
    least = [min(f.reconstruction.p_value, *(s.test.p_value for s in f.signals)) for f in null_findings(0.0)]
    assert binomtest(sum(p <= 0.05 for p in least), AUDITS).proportion_ci(0.998).low > 0.05


# ---- coverage where scores are tied ---------------------------------------------------------------------------------

TIED = {
    "rounded": lambda scores: np.round(scores),
    "two values": lambda scores: (scores > 1.0).astype(float),
    "mostly equal": lambda scores: np.maximum(scores, 1.5),
}
"""How scores come to be equal; those of the other shapes are in test_scoring_membership.py."""


@pytest.mark.parametrize("shape", TIED)
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_auc_interval_covers_under_heavy_ties(shape, shift):
    tie, rng = TIED[shape], np.random.default_rng(21)
    x, y = tie(rng.normal(shift, 1, 300_000)), tie(rng.normal(size=300_000))
    truth = ((x > y) + 0.5 * (x == y)).mean()
    found = [auc_interval(tie(rng.normal(shift, 1, 40)), tie(rng.normal(size=120))) for _ in range(300)]
    for missed in (sum(i.low > truth + 2e-3 for i in found), sum(i.high < truth - 2e-3 for i in found)):
        assert binomtest(missed, 300, 0.035, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize("shape", TIED)
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_the_lower_bound_of_a_rate_holds_under_heavy_ties(shape, shift):
    """With ties no threshold has exactly that rate: the bound must hold for the largest rate that is allowed."""
    tie, rng, rate = TIED[shape], np.random.default_rng(22), 0.1
    y, x = tie(rng.normal(size=300_000)), tie(rng.normal(shift, 1, 300_000))
    # The least score above which no more than that rate of controls lies.
    truth = (x > np.quantile(y, 1 - rate, method="higher")).mean()
    found = [tpr_at_fpr(tie(rng.normal(shift, 1, 60)), tie(rng.normal(size=200)), rate) for _ in range(300)]
    missed = sum(i.low > truth + 3e-3 for i in found)
    assert binomtest(missed, 300, 0.025, alternative="greater").pvalue > 1e-3


# ---- ties and duplicates --------------------------------------------------------------------------------------------


def test_tied_scores_raise_no_more_alarms(monkeypatch):
    monkeypatch.setattr(significance, "DRAWS", 999)  # as valid as many, and faster
    rng, runs = np.random.default_rng(23), 200
    drawn = [(rng.integers(4, size=15) * 1.0, rng.integers(4, size=40) * 1.0) for _ in range(runs)]
    p_values = np.array([recovery(x, y).p_value for x, y in drawn])
    for alpha in (0.1, 0.3):
        assert binomtest(int((p_values <= alpha).sum()), runs, alpha, alternative="greater").pvalue > 1e-3
    # A member that ties with a control does not stand above it.
    assert not any(flags(x, y).any() for x, y in drawn if x.max() <= y.max())


def test_repeated_controls_flag_no_more_members():
    """Twice the same controls are no more than once the same, and q-values must not fall for it by more than a half."""
    rng = np.random.default_rng(24)
    flagged = 0
    for _ in range(400):
        controls = rng.normal(size=100)
        flagged += int(flags(rng.normal(size=10), np.concatenate([controls, controls])).any())
    # 5% were promised for 200 separate controls; repeats make at most twice that of it.
    assert binomtest(flagged, 400, 0.1, alternative="greater").pvalue > 1e-3


# ---- single images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("common", [0.0, 0.8])
def test_flags_are_false_no_more_often_than_stated_where_members_resemble_each_other(common):
    """Members that did not leak move together, as pictures of one class do, and so do the controls."""
    rng, shares = np.random.default_rng(25), []
    for _ in range(400):
        group = rng.normal(size=8) * common**0.5
        members = group[rng.integers(8, size=20)] + rng.normal(size=20) * (1 - common) ** 0.5
        controls = group[rng.integers(8, size=399)] + rng.normal(size=399) * (1 - common) ** 0.5
        members[:5] += 9
        leaked = flags(members, controls)
        assert leaked[:5].all()
        shares.append(leaked[5:].sum() / leaked.sum())
    assert np.mean(shares) <= 0.05 + 3 * np.std(shares) / 20


# ---- power, as planned ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "k", "tests"), [(15, 40, 4), (30, 100, 9), (60, 400, 9), (101, 100, 2)])
def test_a_signal_is_found_as_often_as_planned(m, k, tests):
    made = plan(m, k, tests=tests)
    auc = made.tests[1].detectable_auc
    shift = 2**0.5 * norm.ppf(auc)
    rng, runs = np.random.default_rng(26), 400
    found = sum(
        separation(rng.normal(shift, 1, m), rng.normal(size=k)).p_value <= made.alpha / tests for _ in range(runs)
    )
    # 5% are left to the approximation.
    low, high = binomtest(found, runs).proportion_ci(0.998)
    assert low <= reach.POWER + 0.05
    assert high >= reach.POWER - 0.05


@pytest.mark.parametrize(("m", "k"), [(10, 50), (20, 60), (60, 400)])
def test_members_are_flagged_together_as_planned(m, k):
    together = plan(m, k, tests=4).flagged_together
    rng = np.random.default_rng(27)
    for _ in range(20):
        controls = rng.normal(size=k)
        below = np.full(m, -50.0)
        below[:together] = 50
        assert flags(below, controls).sum() == together
        below[together - 1] = -50
        assert not flags(below, controls).any()


@pytest.mark.parametrize(("m", "k", "tests"), [(20, 60, 4), (60, 400, 9)])
def test_a_leak_of_the_planned_number_gives_a_level(m, k, tests):
    made = plan(m, k, tests=tests)
    rng = np.random.default_rng(28)
    for standing, found in ((made.recovered_together, True), (made.recovered_together - 1, False)):
        members, controls = rng.normal(-9, 1, m), rng.normal(size=k)
        members[:standing] = 9
        assert (recovery(members, controls).p_value <= made.alpha / tests) is found
