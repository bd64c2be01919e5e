"""Significance and calibration against slow versions and simulations."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, false_discovery_control, kstest, mannwhitneyu

from auditcli.errors import AttackError, SampleError
from auditcli.scoring.calibration import controls_needed, exposures, member_findings, rank_p_values
from auditcli.scoring.matching import Pooled
from auditcli.scoring.significance import DRAWS, exceedances, holm, least_p_value, recovery, separation

scores = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=5)


def pooled(values):
    return Pooled(tuple(values), tuple(v / 2 for v in values), ("kkt",) * len(values))


def u_statistic(x, y):
    return sum((a > b) + 0.5 * (a == b) for a in x for b in y)


def enumerated_p(x, y):
    """Share of all ways to call m of the scores members that separate at least as well."""
    both = [*x, *y]
    ways = [
        u_statistic([both[i] for i in chosen], [both[i] for i in range(len(both)) if i not in chosen])
        for chosen in combinations(range(len(both)), len(x))
    ]
    return sum(w >= u_statistic(x, y) for w in ways) / len(ways)


@settings(max_examples=20, deadline=None)
@given(scores, scores)
def test_separation_equals_enumeration(x, y):
    got, expected = separation(x, y), enumerated_p(x, y)
    assert got.statistic == u_statistic(x, y)
    if "exact" in got.name:
        assert got.p_value == pytest.approx(expected)
    else:
        assert got.p_value == pytest.approx(expected, abs=6 * (0.25 / DRAWS) ** 0.5)


def test_separation_chooses_its_method():
    rng = np.random.default_rng(0)
    assert "exact" in separation(rng.normal(size=30), rng.normal(size=300)).name
    assert "normal" in separation(rng.normal(size=30), rng.normal(size=400)).name
    assert "permutations" in separation(rng.normal(size=20), rng.normal(size=600)).name
    assert "permutations" in separation([1, 2, 2], [0, 0]).name


def test_separation_agrees_with_scipy_where_normal():
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.2, 1, 60), rng.normal(size=400)
    expected = mannwhitneyu(x, y, alternative="greater", method="asymptotic")
    got = separation(x, y)
    assert (got.statistic, got.p_value) == (expected.statistic, expected.pvalue)


def test_many_ties_are_not_mistaken_for_a_finding():
    """One odd member of 30 against 400 equal controls: 7% by counting, 0.01% by the normal approximation."""
    got = separation([1.0] + [0.0] * 29, [0.0] * 400)
    assert got.p_value == pytest.approx(30 / 430, abs=0.01)


def test_complete_separation_is_never_impossible():
    got = separation(np.arange(1000) + 5000.0, np.arange(4000.0))
    assert 0 < got.p_value < 1e-100


def test_same_seed_same_p_value():
    assert separation([1, 1, 2], [1, 0], seed=5) == separation([1, 1, 2], [1, 0], seed=5)


@pytest.mark.parametrize(("m", "k"), [(10, 50), (60, 400)])
def test_null_p_values_are_uniform(m, k):
    rng = np.random.default_rng(2)
    p_values = [separation(rng.normal(size=m), rng.normal(size=k)).p_value for _ in range(400)]
    assert kstest(p_values, "uniform").pvalue > 1e-3


def test_separation_has_power():
    rng = np.random.default_rng(3)
    found = [separation(rng.normal(1, 1, 20), rng.normal(size=50)).p_value <= 0.01 for _ in range(50)]
    assert np.mean(found) > 0.8


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=9, unique=True), st.data())
def test_exceedances_equal_enumeration(both, data):
    m = data.draw(st.integers(1, len(both) - 1))

    def above(chosen):
        best = max(both[i] for i in range(len(both)) if i not in chosen)
        return sum(both[i] > best for i in chosen)

    got = exceedances(both[:m], both[m:])
    assert got.statistic == above(range(m))
    ways = [above(chosen) for chosen in combinations(range(len(both)), m)]
    assert got.p_value == pytest.approx(np.mean([w >= got.statistic for w in ways]))


def test_a_tie_with_the_best_control_is_no_exceedance():
    assert exceedances([1.0, 1.0], [1.0, 0.0]).p_value == 1


def test_recovery_sees_a_few_members_and_a_general_shift():
    rng = np.random.default_rng(15)
    few = np.concatenate([rng.normal(9, 1, 5), rng.normal(size=45)])
    controls = rng.normal(size=400)
    assert separation(few, controls).p_value > 0.01
    assert recovery(few, controls).p_value < 0.001
    assert "above every control" in recovery(few, controls).name
    shifted = rng.normal(0.8, 1, 50)
    assert exceedances(shifted, controls).p_value > 0.01
    assert recovery(shifted, controls).p_value == 2 * separation(shifted, controls).p_value
    assert recovery([0.0, 1.0], [0.5, 2.0, 3.0]).p_value == 1


def test_recovery_keeps_its_level():
    rng = np.random.default_rng(16)
    p_values = np.array([recovery(rng.normal(size=20), rng.normal(size=60)).p_value for _ in range(1000)])
    for alpha in (0.01, 0.05, 0.2):
        assert binomtest(int((p_values <= alpha).sum()), 1000, alpha, alternative="greater").pvalue > 1e-3


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6))
def test_least_p_value_is_that_of_complete_separation(m, k):
    assert separation(np.arange(m) + 100.0, np.arange(k) * 1.0).p_value == pytest.approx(least_p_value(m, k))


def test_least_p_value_does_not_underflow():
    assert least_p_value(2000, 2000) > 0


@pytest.mark.parametrize("function", [separation, exceedances, recovery, rank_p_values])
def test_bad_scores_are_refused(function):
    with pytest.raises(SampleError, match="1 members and 0 controls"):
        function([1.0], [])
    with pytest.raises(SampleError, match="0 members"):
        function([], [1.0])
    with pytest.raises(AttackError, match="NaN"):
        function([float("nan")], [1.0])
    with pytest.raises(AttackError, match="NaN"):
        function([1.0], [float("nan")])


@settings(max_examples=50, deadline=None)
@given(scores, scores)
def test_rank_p_values_equal_the_formula(x, y):
    expected = [(1 + sum(c >= a for c in y)) / (len(y) + 1) for a in x]
    assert rank_p_values(x, y).tolist() == pytest.approx(expected)


def test_rank_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(4)
    p_values = [rank_p_values(rng.normal(size=1), rng.normal(size=99))[0] for _ in range(3000)]
    jitter = rng.random(3000) / 100
    assert kstest(np.array(p_values) - jitter, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("m", "expected"), [(1, 19), (10, 199), (50, 999)])
def test_controls_needed(m, expected):
    assert controls_needed(m) == expected


@pytest.mark.parametrize("m", [*range(1, 41), 60, 97])
def test_controls_needed_is_just_enough_to_flag_one(m):
    members = [10.0] + [-1.0] * (m - 1)
    enough, short = controls_needed(m), controls_needed(m) - 1
    assert member_findings(["x"] * m, pooled(members), pooled([0.0] * enough))[0].leaked
    assert not member_findings(["x"] * m, pooled(members), pooled([0.0] * short))[0].leaked


def slow_q_values(p_values):
    m = len(p_values)
    ordered = sorted(p_values)
    return [min(1, min(m * q / (ordered.index(q) + ordered.count(q)) for q in ordered if q >= p)) for p in p_values]


@settings(max_examples=50, deadline=None)
@given(scores, scores)
def test_member_findings_equal_the_slow_version(x, y):
    ids = [f"{i}.png" for i in range(len(x))]
    got = member_findings(ids, pooled(x), pooled(y), alpha=0.4)
    q_values = slow_q_values(rank_p_values(x, y).tolist())
    assert [f.id for f in got] == ids
    assert [f.best_ssim for f in got] == x
    assert [f.matched_ssim for f in got] == [v / 2 for v in x]
    assert [f.q_value for f in got] == pytest.approx(q_values)
    assert [f.leaked for f in got] == [q <= 0.4 + 1e-9 for q in q_values]


def test_without_controls_nothing_is_leaked():
    (finding,) = member_findings(["a"], pooled([0.99]), None)
    assert (finding.p_value, finding.q_value, finding.leaked) == (None, None, False)


def test_no_members_give_no_findings():
    assert member_findings([], Pooled((), (), ()), pooled([0.1])) == ()


def test_ids_must_fit():
    with pytest.raises(SampleError, match="2 similarities for 1 members"):
        member_findings(["a"], pooled([0.1, 0.2]), None)


def test_false_discoveries_stay_at_the_stated_rate():
    """Five of 20 members leak fully; BH promises a false share of at most 5% * 15 / 20 on average."""
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(400):
        members = np.concatenate([rng.normal(9, 1, 5), rng.normal(size=15)])
        leaked = [f.leaked for f in member_findings(["x"] * 20, pooled(members), pooled(rng.normal(size=400)))]
        assert all(leaked[:5])
        shares.append(sum(leaked[5:]) / sum(leaked))
    assert np.mean(shares) <= 0.05 + 3 * np.std(shares) / 20


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=6), st.floats(0.001, 0.5))
def test_holm_equals_closed_testing(p_values, alpha):
    """Holm is closed testing with Bonferroni: a hypothesis falls if every set that holds it does."""
    expected = []
    for i in range(len(p_values)):
        others = [p for j, p in enumerate(p_values) if j != i]
        sets = [[p_values[i], *chosen] for size in range(len(others) + 1) for chosen in combinations(others, size)]
        expected.append(all(min(s) <= alpha / len(s) for s in sets))
    assert list(holm(p_values, alpha)) == expected


def test_holm_holds_the_family_wise_error():
    rng = np.random.default_rng(6)
    alarms = sum(any(holm(rng.random(5), 0.05)) for _ in range(2000))
    assert binomtest(alarms, 2000, 0.05, alternative="greater").pvalue > 1e-3


def test_exposures_are_ranks_among_the_controls_the_most_exposed_first():
    found = exposures(["a", "b", "c"], [0.1, 5.0, 2.0], [0.0, 1.0, 3.0, 4.0])
    assert [(one.id, one.score, one.p_value) for one in found] == [("b", 5.0, 0.2), ("c", 2.0, 0.6), ("a", 0.1, 0.8)]
    expected = false_discovery_control([0.2, 0.6, 0.8], method="bh")
    assert [one.q_value for one in found] == pytest.approx(expected.tolist())


@settings(max_examples=50, deadline=None)
@given(scores, scores)
def test_exposures_and_member_findings_agree(x, y):
    ids = [str(number) for number in range(len(x))]
    by_id = {one.id: one for one in exposures(ids, x, y)}
    for finding in member_findings(ids, pooled(x), pooled(y)):
        assert (by_id[finding.id].p_value, by_id[finding.id].q_value) == (finding.p_value, finding.q_value)
