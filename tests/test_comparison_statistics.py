"""Paired differences: against slow and obvious ways, published values, and what they promise under the null."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, ttest_ind

from auditcli.comparison import _paired as paired
from auditcli.scoring.significance import holm

SCORES = st.lists(st.floats(-5, 5).map(lambda x: round(x, 1)), min_size=2, max_size=12)


@pytest.fixture
def quick(monkeypatch):
    """Fewer resamples: simulations take seconds."""
    monkeypatch.setattr(paired, "RESAMPLES", 499)


def binormal(rng, aucs, rho, m, k):
    """Scores of members and controls on two sides whose true areas are `aucs`."""
    means = [np.sqrt(2) * norm.ppf(auc) for auc in aucs]
    members, controls = (rng.multivariate_normal(mu, [[1, rho], [rho, 1]], n) for mu, n in ((means, m), ([0, 0], k)))
    return (members[:, 0], controls[:, 0]), (members[:, 1], controls[:, 1])


def within(rate, expected, n):
    """Whether a simulated rate agrees with `expected`, by four standard errors."""
    return abs(rate - expected) <= 4 * np.sqrt(expected * (1 - expected) / n)


# ---- shares ---------------------------------------------------------------------------------------------------------


def crossing(both, only_old, only_new, neither):
    old = [True] * (both + only_old) + [False] * (only_new + neither)
    return old, [True] * both + [False] * only_old + [True] * only_new + [False] * neither


def test_shares_as_published():
    # Airway hyper-responsiveness before and after a transplant: Bentur et al. 2009, as in Fagerland et al. 2013,
    # doi:10.1186/1471-2288-13-91 (exact conditional McNemar) and 2014, doi:10.1002/sim.6148 (Newcombe).
    found = paired.shares(*crossing(1, 1, 7, 12))
    assert found.interval.value == pytest.approx(6 / 21)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.026, 0.507), abs=5e-4)
    assert found.p_value == pytest.approx(0.0703, abs=1e-4)


def test_shares_keep_a_width_where_nothing_moves():
    for found in (paired.shares(*crossing(60, 0, 0, 0)), paired.shares(*crossing(0, 0, 0, 60))):
        assert found.p_value == 1
        assert found.interval.low < -0.04 < 0.04 < found.interval.high


def test_shares_of_a_clear_change():
    found = paired.shares(*crossing(3, 48, 0, 9))
    assert found.p_value == pytest.approx(2 * 0.5**48)
    assert -0.9 < found.interval.low < found.interval.high < -0.6


@pytest.mark.parametrize(("p_old", "p_new", "together"), [(0.1, 0.1, 0.05), (0.5, 0.5, 0.4), (0.85, 0.1, 0.09)])
def test_shares_cover(p_old, p_new, together):
    rng, n, draws = np.random.default_rng(0), 60, 400
    cells = [together, p_old - together, p_new - together, 1 - p_old - p_new + together]
    found = [paired.shares(*crossing(*counts)) for counts in rng.multinomial(n, cells, size=draws)]
    assert np.mean([d.interval.low <= p_new - p_old <= d.interval.high for d in found]) >= 0.925
    if p_old == p_new:
        assert np.mean([d.p_value <= 0.05 for d in found]) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / draws)


# ---- areas ----------------------------------------------------------------------------------------------------------


def delong_as_written(old, new):
    """Covariance of the areas from the double sums of DeLong et al. 1988."""

    def wins(x, y):
        return 1.0 if x > y else 0.5 if x == y else 0.0

    m, k = len(old[0]), len(old[1])
    of_members = np.array([[np.mean([wins(x, y) for y in side[1]]) for x in side[0]] for side in (old, new)])
    of_controls = np.array([[np.mean([wins(x, y) for x in side[0]]) for y in side[1]] for side in (old, new)])
    return np.cov(of_members) / m + np.cov(of_controls) / k


@given(SCORES, SCORES, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_delong_by_ranks_is_delong_as_written(members, controls, random):
    new = tuple([round(x + random.gauss(0, 1), 1) for x in side] for side in (members, controls))
    found = paired._covariance((members, controls), new)
    assert found == pytest.approx(delong_as_written((members, controls), new), abs=1e-12)


def test_delong_agrees_with_a_bootstrap():
    rng = np.random.default_rng(3)
    old, new = binormal(rng, (0.85, 0.7), 0.5, 80, 120)
    differences = []
    for _ in range(600):
        i, j = rng.integers(80, size=80), rng.integers(120, size=120)
        areas = [(x[i][:, None] > y[j][None]).mean() for x, y in (old, new)]
        differences.append(areas[1] - areas[0])
    covariance = paired._covariance(old, new)
    assert np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) == pytest.approx(
        np.std(differences), rel=0.12
    )


@pytest.mark.parametrize(("auc", "rho", "size"), [(0.5, 0.0, (60, 200)), (0.8, 0.6, (60, 200)), (0.95, 0.9, (30, 60))])
def test_areas_hold_their_level(auc, rho, size):
    rng, draws = np.random.default_rng(1), 300
    found = [paired.areas(*binormal(rng, (auc, auc), rho, *size)) for _ in range(draws)]
    rejected = np.mean([d.p_value <= 0.05 for d in found])
    assert rejected <= 0.05 or within(rejected, 0.05, draws)
    assert np.mean([d.interval.low <= 0 <= d.interval.high for d in found]) >= 0.92


def test_areas_cover_a_true_difference():
    rng, draws = np.random.default_rng(2), 300
    found = [paired.areas(*binormal(rng, (0.95, 0.7), 0.6, 60, 200)) for _ in range(draws)]
    assert np.mean([d.interval.low <= -0.25 <= d.interval.high for d in found]) >= 0.92
    assert np.mean([d.p_value <= 0.05 for d in found]) > 0.95


def test_areas_that_are_perfect_keep_a_width():
    side = ([2.0, 3.0, 4.0], [0.0, 1.0])
    found = paired.areas(side, side)
    assert (found.old, found.new, found.p_value) == (1, 1, 1)
    assert found.interval.low < -0.1 < 0.1 < found.interval.high


def test_areas_follow_the_images_and_not_their_order():
    old, new = binormal(np.random.default_rng(4), (0.9, 0.6), 0.8, 30, 40)
    turned = [(x[::-1], y[::-1]) for x, y in (old, new)]
    assert paired.areas(*turned).p_value == pytest.approx(paired.areas(old, new).p_value)
    mixed = paired.areas(old, (new[0][::-1], new[1][::-1]))
    assert mixed.p_value > 2 * paired.areas(old, new).p_value


# ---- means ----------------------------------------------------------------------------------------------------------


def test_what_members_and_controls_share_is_no_difference(quick):
    rng = np.random.default_rng(5)
    old = rng.normal(0.5, 0.1, 60), rng.normal(0.2, 0.1, 100)
    new = tuple(side + 0.2 + rng.normal(0, 0.05, len(side)) for side in old)
    found = paired.means(old, new)
    assert found.p_value > 0.05
    assert found.interval.low < 0 < found.interval.high
    assert found.p_value == pytest.approx(
        ttest_ind(*(b - a for a, b in zip(old, new, strict=True)), equal_var=False).pvalue
    )


def test_means_hold_their_level_and_cover(quick):
    rng, draws, found = np.random.default_rng(6), 120, []
    for _ in range(draws):
        old = rng.beta(2, 3, 40), rng.beta(2, 6, 100)
        # What moves differs in spread and shape, and not in its mean.
        new = old[0] + 0.1 + rng.laplace(0, 0.1, 40), old[1] + 0.1 + rng.normal(0, 0.02, 100)
        found.append(paired.means(old, new))
    rejected = np.mean([d.p_value <= 0.05 for d in found])
    assert rejected <= 0.05 or within(rejected, 0.05, draws)
    assert np.mean([d.interval.low <= 0 <= d.interval.high for d in found]) >= 0.89


def test_means_without_controls_have_no_test():
    found = paired.means(([0.5, 0.6, 0.9], []), ([0.4, 0.6, 0.6], []))
    assert (found.test, found.p_value) == ("", None)
    assert found.interval.value == pytest.approx(-0.4 / 3)


def test_means_where_all_moves_alike():
    found = paired.means(([0.5, 0.6], [0.1, 0.2]), ([0.5, 0.6], [0.1, 0.2]))
    assert (found.interval.low, found.interval.value, found.interval.high, found.p_value) == (0, 0, 0, None)


# ---- rates ----------------------------------------------------------------------------------------------------------


def test_rates_are_those_of_the_report():
    from auditcli.scoring.membership import tpr_at_fpr

    old, new = binormal(np.random.default_rng(7), (0.9, 0.7), 0.5, 50, 400)
    found = paired.rates(old, new, 0.01)
    assert (found.old, found.new) == tuple(tpr_at_fpr(*side, 0.01).value for side in (old, new))
    assert found.p_value is None


def test_rates_need_controls():
    side = (np.arange(5.0), np.arange(98.0))
    assert paired.rates(side, side, 0.01) is None


def test_rates_cover(quick):
    rng, draws, rate = np.random.default_rng(8), 80, 0.1
    truth = np.diff([norm.sf(norm.isf(rate) - np.sqrt(2) * norm.ppf(auc)) for auc in (0.9, 0.75)])[0]
    found = [paired.rates(*binormal(rng, (0.9, 0.75), 0.5, 60, 300), rate) for _ in range(draws)]
    assert np.mean([d.interval.low <= truth <= d.interval.high for d in found]) >= 0.9


def test_rates_at_the_edge_keep_a_width():
    side = (np.full(60, -1.0), np.arange(200.0))
    found = paired.rates(side, side, 0.01)
    assert found.interval.low < -0.04 < 0.04 < found.interval.high


# ---- many tests -----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_adjusted_p_values_reject_as_holm_does(p_values):
    adjusted = paired.holm_adjusted(p_values)
    assert tuple(p <= 0.05 for p in adjusted) == holm(p_values, 0.05)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))


def test_the_family_holds_its_level(quick):
    """Six signals of the same images, and models that do not differ: any rejection at all is rare."""
    rng, draws, false_alarms = np.random.default_rng(9), 60, 0
    for _ in range(draws):
        image = rng.normal(size=160)
        image[:60] += 1
        p_values = []
        for _ in range(6):
            sides = [image + rng.normal(0, 0.7, 160) for _ in range(2)]
            p_values.append(paired.areas(*((x[:60], x[60:]) for x in sides)).p_value)
        false_alarms += min(paired.holm_adjusted(p_values)) <= 0.05
    assert false_alarms / draws <= 0.05 or within(false_alarms / draws, 0.05, draws)


def test_the_same_reports_always_compare_alike():
    old, new = binormal(np.random.default_rng(10), (0.9, 0.7), 0.5, 30, 120)
    assert paired.rates(old, new, 0.1) == paired.rates(old, new, 0.1)
    assert paired.means(old, new) == paired.means(old, new)
