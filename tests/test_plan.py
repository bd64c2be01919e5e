"""The plan up front: against the statistics it speaks of, and on the command line."""

import json
import re
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from auditcli import terminal
from auditcli.__main__ import main
from auditcli.errors import SampleError
from auditcli.images import count_images, read_sample
from auditcli.membership import all_signals
from auditcli.planning import planned
from auditcli.plugins import count
from auditcli.scoring import reach
from auditcli.scoring.calibration import member_findings
from auditcli.scoring.matching import Pooled
from auditcli.scoring.membership import auc_interval, signal_finding, tpr_at_fpr
from auditcli.scoring.plan import plan
from auditcli.scoring.reasons import MODERATE_AUC, signal_level
from auditcli.scoring.significance import recovery, separation
from auditcli.types import Level

sizes = st.integers(1, 60)
counts = st.integers(0, 3_000)


def apart(m, k, standing=None):
    """Scores of members, of which some stand out and the others lie below every control; no ties."""
    standing = m if standing is None else standing
    low = np.arange(m - standing) - 5_000.0
    return np.concatenate([np.arange(standing) + 10_000.0, low]), np.arange(k) * 1.0


def pooled(values):
    return Pooled(tuple(values), tuple(values), ("kkt",) * len(values))


def flagged(m, k, standing):
    x, y = apart(m, k, standing)
    return sum(f.leaked for f in member_findings(["x"] * m, pooled(x), pooled(y)))


# ---- bounds ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(sizes, sizes)
def test_the_best_bounds_are_those_of_full_separation(m, k):
    x, y = apart(m, k)
    assert reach.best_auc_low(m, k) == pytest.approx(auc_interval(x, y).low, abs=1e-6)


@pytest.mark.parametrize(("m", "k"), [(1, 98), (1, 99), (3, 389), (3, 390), (60, 400), (2, 4000)])
@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_the_best_rate_is_that_of_full_separation(m, k, rate):
    found = tpr_at_fpr(*apart(m, k), rate)
    assert reach.resolves(k, rate) is (found is not None)
    assert reach.best_tpr_low(m, k, rate) == pytest.approx(None if found is None else found.low)


@pytest.mark.parametrize(("m", "k"), [(2, 3), (10, 50), (60, 150), (60, 400), (5, 3000)])
def test_the_least_p_values_are_reached(m, k):
    x, y = apart(m, k)
    made = plan(m, k, tests=3)
    assert made.tests[0].least_p == pytest.approx(recovery(x, y).p_value)
    assert made.tests[1].least_p == pytest.approx(separation(x, y).p_value)


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(1, 200))
def test_members_are_flagged_from_the_number_named(m, k):
    together = plan(m, k, tests=2).flagged_together
    if together is None:
        assert flagged(m, k, m) == 0
        return
    assert flagged(m, k, together) == together
    assert flagged(m, k, together - 1) == 0


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.integers(1, 12))
def test_the_reconstruction_test_is_significant_from_the_number_named(m, k, tests):
    made = plan(m, k, tests=tests)
    together, level = made.recovered_together, made.alpha / tests
    if together is None:
        assert recovery(*apart(m, k)).p_value > level
        assert not made.tests[0].significant
        return
    assert recovery(*apart(m, k, together)).p_value <= level * (1 + 1e-6)
    assert made.tests[0].significant


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 450), st.integers(1, 10))
def test_levels_are_those_of_samples_that_separate_fully(m, k, tests):
    made = plan(m, k, tests=tests)
    finding = signal_finding("loss", *apart(m, k))
    significant = finding.test.p_value <= made.alpha / tests
    named = [level for level in (Level.HIGH, Level.MODERATE, Level.LOW) if level in made.levels]
    assert (Level.LOW in made.levels) is significant
    if significant:
        assert signal_level(finding) in named
    assert (Level.CRITICAL in made.levels) is (made.tests[0].significant and flagged(m, k, m) > 0)
    assert (Level.INCONCLUSIVE in made.levels) is (not any(test.significant for test in made.tests))


@pytest.mark.parametrize(("m", "k"), [(20, 60), (60, 400)])
def test_the_moderate_auc_is_where_the_bound_arrives(m, k):
    rng = np.random.default_rng(0)
    least = reach.auc_with_low(MODERATE_AUC, m, k)
    # Draws of a shifted normal vary as the model says, near enough for a hundredth.
    found = [auc_interval(rng.normal(shift, 1, m), rng.normal(size=k)) for shift in np.linspace(0.3, 1.5, 400)]
    near = [i for i in found if abs(i.low - MODERATE_AUC) < 0.005]
    assert len(near) >= 3
    assert np.mean([i.value for i in near]) == pytest.approx(least, abs=0.02)
    assert min(i.value for i in near) > least - 0.01


# ---- any counts -----------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(counts, counts, st.integers(1, 40), st.booleans())
def test_a_plan_for_any_counts_says_something(m, k, tests, shadows):
    made = plan(m, k, tests=tests, shadows=shadows)
    assert made.sentences
    assert all(text.endswith(".") and "None" not in text and " ." not in text for text in made.sentences)
    assert made.without_images is (m == 0 or k == 0)
    assert set(made.bounded_rates) <= set(made.resolved_rates)
    assert made.shadow_controls == (k // 2 if shadows else 0)
    if made.without_images:
        assert made.tests == ()
        assert re.search(r"Add [\d,]+ (member|control)s?|already", made.sentences[0]) or k >= 390


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 1000), st.integers(1, 12))
def test_more_images_are_never_worse(m, k, tests):
    small, large = plan(m, k, tests=tests), plan(m, 2 * k, tests=tests)
    grades = [Level.CRITICAL, Level.HIGH, Level.MODERATE, Level.LOW]
    assert {g for g in grades if g in small.levels} <= {g for g in grades if g in large.levels}
    assert set(small.bounded_rates) <= set(large.bounded_rates)
    assert small.flagged_together is None or large.flagged_together <= small.flagged_together


def added(text):
    """Members and controls that a sentence says to add."""
    found = {noun: int(n.replace(",", "")) for n, noun in re.findall(r"([\d,]+) (member|control)s?\b", text)}
    return found.get("member", 0), found.get("control", 0)


@pytest.mark.parametrize(("m", "k"), [(1, 1), (2, 3), (50, 1), (1, 5000), (10, 50), (20, 20), (60, 400)])
def test_the_images_named_are_enough_and_no_more_than_that(m, k):
    """Each limit that names images is gone with them, and there without the last of them."""
    for text in plan(m, k, tests=9).sentences:
        if "Add " not in text or "AUC of" in text.rpartition("Add ")[2]:
            continue
        limit = text.split(":")[0].split(", ")[0][:45]
        more_m, more_k = added(text.rpartition("Add ")[2])

        def holds(m, k, limit=limit):
            return any(said.startswith(limit) for said in plan(m, k, tests=9).sentences)

        if "significant from" in text:
            assert plan(m + more_m, k + more_k, tests=9).recovered_together == 1
            assert plan(m + more_m, k + more_k - 1, tests=9).recovered_together != 1
            continue
        assert not holds(m + more_m, k + more_k), text
        assert holds(m + more_m, k + more_k - 1) if more_k else holds(m + more_m - 1, k), text


def test_the_images_named_for_power_give_it():
    (text,) = (text for text in plan(10, 50, tests=9).sentences if text.startswith("A signal is found"))
    more_m, more_k = added(text.rpartition("Add ")[2])
    assert (
        plan(10 + more_m, 50 + more_k, tests=9).tests[1].detectable_auc
        <= 0.7
        < plan(10, 50, tests=9).tests[1].detectable_auc
    )


def test_the_gravest_limit_comes_first():
    assert "never be significant" in plan(2, 3, tests=9).sentences[0]
    assert "no single training image can be flagged" in plan(0, 0, tests=9).sentences[0]
    assert plan(200, 40_000, tests=3).sentences[-1].startswith("Every level can be reached")


def test_half_of_the_controls_train_shadow_models():
    made = plan(10, 21, tests=9, shadows=True)
    assert [(test.name, test.n_controls) for test in made.tests] == [
        ("reconstruction", 21),
        ("signal", 21),
        ("shadow signal", 10),
    ]
    assert made.tests[2].least_p > made.tests[1].least_p
    assert any("cannot both train" in text for text in plan(10, 1, tests=2, shadows=True).sentences)


@pytest.mark.parametrize("bad", [{"members": -1}, {"controls": -1}, {"tests": 0}, {"alpha": 0.0}, {"alpha": 1.0}])
def test_impossible_counts_are_our_own_mistake(bad):
    given = {"members": 1, "controls": 1, "tests": 1, **bad}
    with pytest.raises(ValueError, match="no plan for"):
        plan(given.pop("members"), given.pop("controls"), **given)


def test_counts_beyond_floats():
    made = plan(10**6, 10**6, tests=9, shadows=True)
    assert 0 < made.tests[0].least_p < 1e-300
    assert plan(1, 10**9, tests=9).tests[0].least_p == pytest.approx(2e-9)


# ---- images that are counted ----------------------------------------------------------------------------------------


@pytest.fixture
def samples(tmp_path):
    (tmp_path / "members" / "0").mkdir(parents=True)
    for index in range(3):
        Image.fromarray(np.full((8, 8), index, np.uint8)).save(tmp_path / "members" / "0" / f"{index}.png")
    (tmp_path / "members" / "notes.txt").write_text("no image")
    np.savez_compressed(tmp_path / "controls.npz", images=np.zeros((7, 8, 8), np.uint8))
    return tmp_path


def test_images_are_counted_as_they_are_read(samples):
    for name in ("members", "controls.npz"):
        assert count_images(samples / name, role="members") == len(read_sample(samples / name, (1, 8, 8), role="m"))
    made = planned(samples / "members", samples / "controls.npz")
    assert (made.n_members, made.n_controls) == (3, 7)
    assert made.n_tests == 1 + len(all_signals())
    assert planned(2, 5, tests=4).n_tests == 4


@pytest.mark.parametrize("name", ["members", "sample.npz", "sample.txt"])
def test_what_cannot_be_counted_is_refused_as_what_cannot_be_read(tmp_path, name):
    (tmp_path / "members").mkdir()
    (tmp_path / "sample.npz").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "sample.txt").touch()
    with pytest.raises(SampleError) as counted:
        count_images(tmp_path / name, role="members")
    with pytest.raises(SampleError) as read:
        read_sample(tmp_path / name, (1, 8, 8), role="members")
    assert (counted.value.message, counted.value.hint) == (read.value.message, read.value.hint)


def test_plugins_are_counted_as_they_are_found():
    assert count("membership", group="privaudit.membership") == len(all_signals())


# ---- command line ---------------------------------------------------------------------------------------------------


def test_the_command_prints_a_table_and_sentences(samples, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["plan", "--members", str(samples / "members"), "--controls", "400", "--shadows", "8"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "shadow signal" in out
    flat = " ".join(out.replace(" - ", " ").split())
    made = planned(samples / "members", 400, shadows=8)
    assert all(" ".join(text.split()) in flat for text in made.sentences)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(("m", "k"), [(0, 0), (5, 0), (1, 1), (1_000_000, 1_000_000)])
def test_lines_fit_the_terminal(m, k, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    terminal.show_plan(terminal.stdout(), plan(m, k, tests=9, shadows=True))
    assert all(len(line) <= width for line in capsys.readouterr().out.splitlines())


def test_json_holds_the_whole_plan(capsys):
    assert main(["plan", "--members", "20", "--controls", "400", "--tests", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(asdict(plan(20, 400, tests=5))))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--members", "-3"], "--members"),
        (["--members", "1.5"], "1.5"),
        (["--controls", "9999999999"], "9999999999"),
        (["--controls", ""], "--controls"),
        (["--controls", "nowhere"], "nowhere"),
        (["--shadows", "-1"], "--shadows"),
        (["--tests", "0"], "--tests"),
        (["--nope"], "--nope"),
    ],
)
def test_usage_errors(words, part, capsys):
    assert main(["plan", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line[:7] for line in err.splitlines()] == ["error: ", "hint:  "]
    assert part in err
