"""What the audits of a zoo say together, on rows whose answer is known."""

import json
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta, spearmanr

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import zoo_report  # noqa: E402
import zoo_rows  # noqa: E402
import zoo_statistics  # noqa: E402
import zoo_summary  # noqa: E402
from zoo_rows import LEVELS, Estimate, Row, Signal  # noqa: E402
from zoo_victims import MITIGATIONS  # noqa: E402

GOLDEN = Path(__file__).parent / "golden"
STATED = {
    "recipe": {"images": 60},
    "steps": 100,
    "train_accuracy": 1.0,
    "test_accuracy": 0.6,
    "loss_auc": 0.9,
    "epsilon": None,
}


def signal(auc: float = 0.5, p_value: float = 0.4, name: str = "confidence") -> Signal:
    tpr = {"0.1%": None, "1%": Estimate(0.1, 0.05, 0.2), "10%": Estimate(0.3, 0.2, 0.4)}
    return Signal(name, Estimate(auc, auc - 0.1, min(1.0, auc + 0.1)), tpr, p_value)


def a_row(truth: str, level: str, family: str = "mlp", **more: object) -> Row:
    fields = {"name": f"{family}-{truth}", "data": "mnist", "sample": "members", "stated": STATED, **more}
    return Row(truth=truth, family=family, level=level, **fields)


@pytest.mark.parametrize(("hits", "of"), [(0, 36), (1, 36), (7, 7), (20, 41)])
def test_the_interval_is_that_of_clopper_and_pearson(hits, of):
    found = zoo_statistics.share(hits, of)
    low = beta.ppf(0.025, hits, of - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, of - hits) if hits < of else 1.0
    assert (found.low, found.high) == pytest.approx((low, high))


def test_of_none_anything_is_possible():
    found = zoo_statistics.share(0, 0)
    assert (found.low, found.high, str(found)) == (0.0, 1.0, "-")


def test_the_interval_holds_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for rate in (0.01, 0.3):
        found = [zoo_statistics.share(hits, 40) for hits in range(41)]
        held = [found[hits].low <= rate <= found[hits].high for hits in rng.binomial(40, rate, 1000)]
        assert np.mean(held) >= 0.95


def test_spearman_is_scipys_and_its_interval_holds_the_truth():
    rng = np.random.default_rng(1)
    x = rng.normal(size=40)
    y = x + rng.normal(size=40)
    y[:5] = y[5]  # ties
    found = zoo_statistics.spearman(x, y)
    assert found.value == pytest.approx(spearmanr(x, y).statistic)
    assert found.low < found.value < found.high
    assert zoo_statistics.spearman(x, np.exp(x)).value == pytest.approx(1.0)


def test_spearman_of_unrelated_values_is_not_far_from_none():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(60):
        found = zoo_statistics.spearman(rng.normal(size=30), rng.normal(size=30))
        held += found.low <= 0 <= found.high
    assert held >= 51


def test_no_correlation_of_constants_or_of_three_pairs():
    assert zoo_statistics.spearman([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]) is None
    assert zoo_statistics.spearman([1, 2, 3], [1, 2, 3]) is None


def test_uniform_p_values_pass_and_small_ones_do_not():
    rng = np.random.default_rng(3)
    p = rng.random(200)
    fair, small, cautious = (zoo_statistics.uniformity(values) for values in (p, p**2, np.sqrt(p)))
    assert min(fair.ks, fair.ks_small) > 0.05
    assert small.ks_small < 1e-6
    assert small.below_5.low > 0.05
    assert cautious.ks < 1e-6
    assert cautious.ks_small > 0.5  # cautious is not wrong
    assert zoo_statistics.uniformity([]) is None


def test_false_alarms_count_levels_above_none_detected_and_nothing_else():
    rows = [
        a_row("null", "none-detected"),
        a_row("null", "inconclusive", "cnn"),
        a_row("null", "low", "cnn", sample="strangers"),
        a_row("honest", "low"),
        a_row("leaky", "critical"),
    ]
    found = {rate.what: rate for rate in zoo_summary.false_alarms(rows)}
    assert (found["all"].share.hits, found["all"].share.of, found["all"].inconclusive) == (1, 3, 1)
    assert (found["strangers"].share.hits, found["strangers"].share.of) == (1, 1)
    assert (found["untrained"].share.hits, found["untrained"].share.of) == (0, 2)
    counts = {what: (found[what].share.hits, found[what].share.of) for what in ("mlp", "head", "cnn", "vit")}
    assert counts == {"mlp": (0, 1), "head": (0, 0), "cnn": (1, 2), "vit": (0, 0)}


@pytest.mark.parametrize(("family", "level"), [*product(("mlp", "head", "cnn", "vit"), (*LEVELS, "inconclusive"))])
def test_a_leaky_victim_is_found_at_the_level_its_family_can_reach(family, level):
    found = zoo_summary.wrong([a_row("leaky", level, family)]) == []
    assert found is (level in {"high", "critical"} or (level == "moderate" and family in {"cnn", "vit"}))


@pytest.mark.parametrize("level", [*LEVELS, "inconclusive"])
def test_a_null_audit_is_wrong_above_none_detected_and_an_honest_one_never_fails_the_run(level):
    null, honest, unclaimed = (a_row(truth, level) for truth in ("null", "honest", "open"))
    wrong = zoo_summary.wrong([null, honest, unclaimed])
    assert wrong == ([] if level in {"none-detected", "inconclusive"} else [null])


def test_power_is_counted_by_truth_and_family():
    rows = [
        *(a_row("leaky", level, "vit") for level in ("moderate", "low", "inconclusive")),
        *(a_row("honest", level, "head") for level in ("none-detected", "inconclusive", "low")),
    ]
    found = {rate.what: rate for rate in zoo_summary.power(rows)}
    assert len(found) == 8
    vit, head = found["leaky vit, moderate or above"], found["honest head, none-detected"]
    assert (vit.share.hits, vit.share.of, vit.inconclusive) == (1, 3, 1)
    assert (head.share.hits, head.share.of, head.inconclusive) == (1, 3, 1)


def test_confusion_counts_every_audit_once():
    rows = [a_row(truth, level) for truth, level in product(("null", "honest", "leaky", "open"), LEVELS)]
    table = zoo_summary.confusion([*rows, rows[0]])
    assert table["null"]["none-detected"] == 2
    assert sum(sum(counts.values()) for counts in table.values()) == 21


def test_the_roc_of_a_perfect_level_and_of_a_level_that_says_nothing():
    perfect = [a_row("leaky", "critical"), a_row("null", "none-detected"), a_row("honest", "inconclusive")]
    assert zoo_summary.roc_of_level(perfect).auc == 1.0
    assert zoo_summary.roc_of_level([replace(one, level="low") for one in perfect]).auc == 0.5
    assert zoo_summary.roc_of_level([*perfect, a_row("open", "critical")]).auc == 1.0
    assert zoo_summary.roc_of_level(perfect[:1]) is None
    points = zoo_summary.roc_of_level(perfect).points
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))


def test_calibration_is_of_null_audits_alone():
    null = a_row("null", "none-detected", signals=(signal(p_value=0.3),), tests={"reconstruction": 0.7})
    rows = [null, null, a_row("leaky", "high", signals=(signal(p_value=1e-9),))]
    assert zoo_summary.p_values(rows) == {"confidence": [0.3, 0.3], "reconstruction": [0.7, 0.7]}
    assert {name: lie.n for name, lie in zoo_summary.calibration(rows).items()} == {
        "confidence": 2,
        "reconstruction": 2,
    }


def test_likeness_pairs_ssim_with_the_best_signal_of_audits_with_members():
    both = a_row("leaky", "high", ssim=0.5, ssim_controls=0.3, signals=(signal(0.7), signal(0.9, name="span")))
    rows = [both, replace(both, sample="strangers"), a_row("leaky", "high", signals=(signal(),))]
    assert zoo_summary.likeness(rows, lambda row: row.ssim)[:2] == ([0.5], [0.9])
    assert zoo_summary.likeness(rows, lambda row: row.ssim_excess)[0] == pytest.approx([0.2])


def test_correlations_over_all_and_over_leaky_victims():
    rows = [
        a_row("leaky" if value > 4 else "honest", "low", ssim=value / 10, ssim_controls=0.1, signals=(signal(auc),))
        for value, auc in zip(range(10), np.linspace(0.5, 0.9, 10), strict=True)
    ]
    found = zoo_summary.correlations(rows)
    assert found["mean best SSIM, all victims"].value == pytest.approx(1.0)
    assert found["its excess over controls, leaky victims"].n == 5


def test_mitigations_pair_victims_by_name():
    one = MITIGATIONS[0]
    before, after = a_row("leaky", "critical", name=one.base), a_row("open", "low", name=one.variant)
    assert zoo_summary.mitigated([before]) == []
    assert zoo_summary.mitigated([after, before]) == [(one, before, after)]


def test_strengths_are_means_over_leaky_victims():
    rows = [
        a_row("leaky", "high", signals=(signal(0.7), signal(0.9, name="span"))),
        a_row("leaky", "high", signals=(signal(0.8),)),
        a_row("leaky", "high", "vit", signals=(signal(0.6),)),
        a_row("honest", "low", signals=(signal(0.5),)),
    ]
    found = zoo_summary.strengths(rows)
    assert (found["confidence"]["mlp"].n, found["confidence"]["mlp"].auc) == (2, pytest.approx(0.75))
    assert found["confidence"]["vit"].tpr == pytest.approx(0.1)
    assert set(found["span"]) == {"mlp"}


def test_duels_are_of_audits_that_have_both_signals():
    def both(one: float, other: float) -> Row:
        return a_row("leaky", "high", signals=(signal(one, name="span"), signal(other)))

    rows = [both(0.6, 0.7), both(0.9, 0.7), a_row("leaky", "high", signals=(signal(),))]
    found = zoo_summary.duels([*rows, replace(rows[0], sample="strangers")], "span", "confidence")
    assert [(span.auc.value, loss.auc.value) for _, span, loss in found] == [(0.9, 0.7), (0.6, 0.7)]


def test_times_by_family():
    rows = [a_row("null", "low", seconds=seconds) for seconds in (5.0, 1.0, 9.0)]
    assert zoo_summary.times(rows) == {"mlp": zoo_summary.Times(3, 5.0, 9.0)}


def test_a_row_is_read_off_a_report():
    report = json.loads((GOLDEN / "inconclusive.json").read_text())
    report["membership"] = [
        {
            "signal": "confidence",
            "status": "scored",
            "auc": {"value": 0.7, "low": 0.6, "high": 0.8},
            "tpr_at_fpr": {"0.1%": None, "1%": {"value": 0.1, "low": 0.0, "high": 0.2}, "10%": None},
            "test": {"name": "U", "statistic": 1.0, "p_value": 0.02},
        },
        {"signal": "span", "status": "skipped"},
    ]
    report["controls"] |= {"members_ssim": [0.5, 0.3], "controls_ssim": [0.2], "n_members": 2, "n_controls": 1}
    report["controls"]["reconstruction_test"] = {"name": "U", "statistic": 1.0, "p_value": 0.25}
    about = {"name": "x", "truth": "leaky", "family": "mlp", "data": "mnist", "sample": "members", "shadows": 0}
    found = zoo_rows.row(about, {"seconds": 3.5, "report": report}, STATED)
    assert (found.level, found.rank, found.seconds) == ("inconclusive", 0, 3.5)
    assert found.best_auc == 0.7
    assert found.signals[0].tpr["1%"] == Estimate(0.1, 0.0, 0.2)
    assert found.tests["reconstruction"] == 0.25
    assert (found.ssim, found.ssim_excess) == pytest.approx((0.4, 0.2))


def test_the_page_and_its_figures(tmp_path):
    rng = np.random.default_rng(4)
    rows = [
        a_row(
            *(truth, level, family),
            name=f"{family}-{index}",
            signals=(signal(float(rng.uniform(0.4, 0.9)), float(rng.random())),),
            ssim=float(rng.random()) if family == "mlp" else None,
            ssim_controls=0.1,
            seconds=2.0,
        )
        for index, (truth, level, family) in enumerate(
            product(("null", "leaky", "honest"), ("none-detected", "high"), ("mlp", "vit"))
        )
    ]
    run = zoo_report.Run("python benchmarks/zoo.py --data DIR", "abc")
    page = zoo_report.write(rows, run, tmp_path).read_text()
    assert "python benchmarks/zoo.py --data DIR" in page
    assert "| leaky mlp, high or above | 1 of 2 (50%, 1% to 99%) | 0 |" in page
    assert "missed: mlp-2 (members, high)" in page
    for name in ("zoo-roc", "zoo-p-values", "zoo-ssim-auc"):
        assert f"](figures/{name}.svg)" in page
        drawn = (tmp_path / "figures" / f"{name}.svg").read_bytes()
        assert b"<svg" in drawn
        zoo_report.write(rows, run, tmp_path)
        assert (tmp_path / "figures" / f"{name}.svg").read_bytes() == drawn
    assert max(map(len, page.splitlines())) < 400
    listed = (tmp_path / "zoo-signals.md").read_text()
    assert all(f"| {row.name} | {row.truth} | members | - | confidence |" in listed for row in rows)


def test_a_page_of_a_single_audit(tmp_path):
    page = zoo_report.write([a_row("open", "low")], zoo_report.Run("x", "y"), tmp_path).read_text()
    assert "No null audit raised an alarm, and no leaky victim was missed." in page
    assert "svg" not in page
