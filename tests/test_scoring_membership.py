"""Membership: AUC, rates and ROC against slow versions; coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.stats import binomtest, norm

from auditcli.errors import AttackError, SampleError
from auditcli.scoring.membership import auc_interval, controls_to_bound, roc_corners, signal_finding, tpr_at_fpr

scores = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=8)
EVERYTHING = 40


def sampler(name):
    return {
        "null": lambda rng, m: rng.normal(size=m),
        "shifted": lambda rng, m: rng.normal(1, 1, m),
        "far": lambda rng, m: rng.normal(EVERYTHING, 1, m),
        "few leak": lambda rng, m: np.where(rng.random(m) < 0.3, rng.normal(6, 1, m), rng.normal(size=m)),
        "wide": lambda rng, m: rng.normal(1, 4, m),
        "narrow": lambda rng, m: rng.normal(1, 0.2, m),
    }[name]


NAMES = ("null", "shifted", "far", "few leak", "wide", "narrow")


@settings(max_examples=60, deadline=None)
@given(scores, scores)
def test_auc_is_the_share_of_pairs_won(x, y):
    got = auc_interval(x, y)
    wins = sum((a > b) + 0.5 * (a == b) for a in x for b in y)
    assert got.value == pytest.approx(wins / len(x) / len(y))
    assert 0 <= got.low <= got.value <= got.high <= 1
    assert got.high - got.low > 0.01


@settings(max_examples=60, deadline=None)
@given(scores, scores)
def test_auc_turns_over_with_the_scores(x, y):
    got, turned = auc_interval(x, y), auc_interval([-a for a in x], [-b for b in y])
    assert (1 - turned.high, 1 - turned.low) == pytest.approx((got.low, got.high), abs=1e-6)


@pytest.mark.parametrize(("m", "k", "low"), [(5, 5, 0.5), (50, 100, 0.95), (50, 400, 0.95)])
def test_auc_of_one_keeps_a_width(m, k, low):
    got = auc_interval(np.arange(m) + 1000.0, np.arange(k) * 1.0)
    assert got.value == got.high == 1
    assert low < got.low < 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("m", "k"), [(20, 40), (50, 400), (200, 50)])
def test_auc_interval_covers_at_its_level(name, m, k):
    sample = sampler(name)
    truth = norm.cdf(sample(np.random.default_rng(7), 200_000)).mean()
    rng = np.random.default_rng(8)
    intervals = [auc_interval(sample(rng, m), rng.normal(size=k)) for _ in range(200)]
    # Each side on its own, as the verdict reads the lower bound alone. 1% is left to the approximation.
    for missed in (sum(i.low > truth + 1e-9 for i in intervals), sum(i.high < truth - 1e-9 for i in intervals)):
        assert binomtest(missed, 200, 0.035, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("m", "k", "rate"), [(20, 99, 0.01), (60, 400, 0.01), (60, 400, 0.1), (20, 1000, 0.001)])
def test_tpr_interval_covers_at_its_level(name, m, k, rate):
    sample = sampler(name)
    truth = (sample(np.random.default_rng(9), 200_000) > norm.isf(rate)).mean()
    rng = np.random.default_rng(10)
    intervals = [tpr_at_fpr(sample(rng, m), rng.normal(size=k), rate) for _ in range(200)]
    for missed in (sum(i.low > truth for i in intervals), sum(i.high < truth for i in intervals)):
        assert binomtest(missed, 200, 0.025, alternative="greater").pvalue > 1e-3


@settings(max_examples=100, deadline=None)
@given(scores, st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=60), st.sampled_from([0.02, 0.1, 0.5]))
def test_tpr_equals_the_slow_version(x, y, rate):
    got = tpr_at_fpr(x, y, rate)
    allowed = [j for j in range(len(y)) if (j + 1) / (len(y) + 1) <= rate + 1e-12]
    if not allowed:
        assert got is None
        return
    threshold = sorted(y, reverse=True)[allowed[-1]]
    assert got.value == pytest.approx(np.mean([a > threshold for a in x]))
    assert 0 <= got.low <= got.value <= got.high <= 1
    assert np.mean([b > threshold for b in y]) <= rate


@pytest.mark.parametrize(("rate", "k"), [(0.1, 9), (0.01, 99), (0.001, 999)])
def test_too_few_controls_resolve_no_rate(rate, k):
    assert tpr_at_fpr([1.0], np.zeros(k - 1), rate) is None
    assert tpr_at_fpr([1.0], np.zeros(k), rate) is not None


@pytest.mark.parametrize(("rate", "k"), [(0.1, 38), (0.01, 390), (0.001, 3911)])
def test_controls_to_bound_is_just_enough_for_a_lower_bound(rate, k):
    assert controls_to_bound(rate) == k
    members = np.ones(30)
    assert tpr_at_fpr(members, np.zeros(k - 1), rate).low == 0
    assert tpr_at_fpr(members, np.zeros(k), rate).low > 0.8


def test_the_lower_bound_can_make_a_verdict():
    """36% of 100 members stand out, 400 controls: enough for a lower bound above 10% at 1% false alarms."""
    rng = np.random.default_rng(11)
    members = np.concatenate([rng.normal(9, 1, 36), rng.normal(size=64)])
    got = tpr_at_fpr(members, rng.normal(size=400), 0.01)
    assert got.low > 0.1


@settings(max_examples=60, deadline=None)
@given(scores, scores)
def test_roc_has_the_right_corners(x, y):
    corners = roc_corners(x, y)
    assert (corners[0], corners[-1]) == ((0, 0), (1, 1))
    assert list(corners) == sorted(corners)
    every = {(np.mean([b >= t for b in y]), np.mean([a >= t for a in x])) for t in {*x, *y}}
    assert set(corners) - {(0, 0)} <= every
    fpr, tpr = zip(*corners, strict=True)
    assert trapezoid(tpr, fpr) == pytest.approx(auc_interval(x, y).value)
    for point in every:
        assert np.interp(point[0], fpr, tpr) == pytest.approx(point[1]) or point[0] in fpr
    for a, b, c in zip(corners, corners[1:], corners[2:], strict=False):
        assert abs((b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])) > 1e-9


def test_signal_finding_puts_it_together():
    rng = np.random.default_rng(12)
    members, controls = rng.normal(2, 1, 40), rng.normal(size=150)
    got = signal_finding("loss", members, controls)
    assert (got.signal, got.n_members, got.n_controls) == ("loss", 40, 150)
    assert got.auc == auc_interval(members, controls)
    assert [rate for rate, _ in got.tpr_at_fpr] == [0.001, 0.01, 0.1]
    assert [interval is None for _, interval in got.tpr_at_fpr] == [True, False, False]
    assert got.test.p_value < 1e-6
    assert got.roc == roc_corners(members, controls)


def test_infinite_scores_rank_like_any_other():
    assert auc_interval([float("inf"), 1.0], [0.0, float("-inf")]).value == 1


def test_bad_scores_are_refused():
    with pytest.raises(SampleError):
        signal_finding("loss", [], [1.0])
    with pytest.raises(AttackError):
        signal_finding("loss", [float("nan")], [1.0])


def test_the_most_exposed_members_are_named_by_their_ids():
    rng = np.random.default_rng(8)
    members = [*rng.normal(size=27).tolist(), 9.0, 8.0, 7.0]
    finding = signal_finding("loss", members, rng.normal(size=999).tolist(), ids=[f"{n}.png" for n in range(30)])
    assert [exposure.id for exposure in finding.exposed[:3]] == ["27.png", "28.png", "29.png"]
    assert finding.named == 3
    assert len(finding.exposed) == 20
    unnamed = signal_finding("loss", members, rng.normal(size=999).tolist())
    assert unnamed.exposed[0].id == "27"
