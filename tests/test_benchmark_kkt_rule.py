"""The authors' rule against slow versions of itself, and the further benchmarks of `kkt` in small."""

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import kkt_authors  # noqa: E402
import kkt_choices  # noqa: E402
import kkt_rule  # noqa: E402
import kkt_speed  # noqa: E402
import kkt_variants  # noqa: E402
import kkt_victims  # noqa: E402
import page  # noqa: E402

from auditcli.attacks import all_attacks, run  # noqa: E402
from auditcli.types import Budget  # noqa: E402

(KKT,) = (attack for attack in all_attacks() if attack.name == "kkt")


def images(n, channels=1, side=8, seed=0):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def slow_ssim(one, other):
    """Pixel by pixel, in a window of 3 x 3 that is mirrored at the edges."""
    line = np.exp(-np.array([1, 0, 1]) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    values = []
    for a, b in zip(one.double().numpy(), other.double().numpy(), strict=True):
        a, b = np.pad(a, 1, mode="reflect"), np.pad(b, 1, mode="reflect")
        for i in range(a.shape[0] - 2):
            for j in range(a.shape[1] - 2):
                x, y = a[i : i + 3, j : j + 3], b[i : i + 3, j : j + 3]
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
                cov = (window * (x - mx) * (y - my)).sum()
                top = (2 * mx * my + 0.01**2) * (2 * cov + 0.03**2)
                values.append(top / ((mx**2 + my**2 + 0.01**2) * (vx + vy + 0.03**2)))
    return float(np.mean(values))


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_in_a_window_of_three(channels):
    one, other = images(4, channels), images(4, channels, seed=1) * 0.5 + images(4, channels) * 0.5
    slow = [slow_ssim(a, b) for a, b in zip(one, other, strict=True)]
    assert kkt_rule.ssim(one, other).tolist() == pytest.approx(slow, abs=1e-4)
    assert kkt_rule.ssim(one, one).tolist() == pytest.approx([1] * 4)


def test_the_nearest_candidate_is_found_whatever_its_brightness_and_stretched():
    truth = kkt_rule.stretched(images(3))
    candidates = torch.cat([images(5, seed=9), 0.2 * truth + 0.3])
    ranking = kkt_rule.ranked(candidates, truth, halved=False, one_to_one=False)
    assert ranking.ssim == pytest.approx((1, 1, 1), abs=1e-4)
    assert dict(zip(ranking.image, ranking.candidate, strict=True)) == {0: 5, 1: 6, 2: 7}


def test_one_candidate_serves_many_images_or_one():
    truth = kkt_rule.stretched(images(2).repeat(2, 1, 1, 1))
    candidates = torch.cat([truth[:2], images(4, seed=5)])
    many = kkt_rule.ranked(candidates, truth, halved=False, one_to_one=False)
    single = kkt_rule.ranked(candidates, truth, halved=False, one_to_one=True)
    assert sorted(many.candidate) == [0, 0, 1, 1]
    assert len(set(single.candidate)) == 4
    assert sum(value > 0.99 for value in many.ssim) == 4
    assert sum(value > 0.99 for value in single.ssim) == 2
    assert list(single.ssim) == sorted(single.ssim, reverse=True)
    halved = kkt_rule.ranked(candidates, truth, halved=True, one_to_one=False)
    assert sorted(halved.candidate) == [0, 0, 1, 1]


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    stored = {}
    for part, count in (("train", 40), ("test", 900)):
        labels = np.arange(count) % 2
        coarse = rng.integers(0, 256, (count, 4, 4)) * np.where(labels, 1.0, 0.6)[:, None, None]
        stored[f"x_{part}"] = coarse.repeat(3, 1).repeat(3, 2).astype(np.uint8)
        stored[f"y_{part}"] = labels.astype(np.int64)
    np.savez(tmp_path / "mnist.npz", **stored)
    return tmp_path


def arguments(tmp_path, **more):
    paths = {"data": tmp_path, "cache": tmp_path / "cache", "figures": tmp_path / "figures", "write": None}
    run_ = {"device": "cpu", "n": 6, "training": 20, "steps": 10, "restarts": 2, "seed": 0}
    chosen = {"victim": ["mnist"], "task": ["mnist"], "variant": None, "kept": False}
    return Namespace(**(paths | run_ | chosen | more))


def test_the_authors_setting_in_small(data, tmp_path, monkeypatch):
    recipe = kkt_victims.Recipe("mnist.npz", ((0,), (1,)), images=6, mean=0.4, std=0.3)
    monkeypatch.setattr(kkt_authors, "RECIPES", {"mnist": recipe})
    monkeypatch.setattr(kkt_authors, "_HIDDEN", (20, 20))
    given = arguments(tmp_path)
    found = kkt_authors.subject("mnist", given)
    # Each pixel less its own mean is what the network reads.
    assert found.target.profile.input_shape == (144, 1, 1)
    assert len(set(found.target.profile.normalisation.mean)) == 16
    result, _ = kkt_authors._kept("mnist", found, given)
    assert result.candidates.shape[2:] == (1, 12, 12)
    again, _ = kkt_authors._kept("mnist", found, given)
    assert torch.equal(result.candidates, again.candidates)
    rows = list(kkt_authors.scored("mnist", found, result))
    assert [row[0].split(",")[0] for row in rows[:6]] == ["members"] * 3 + ["controls"] * 3
    assert rows[-1][1:] == ("0.239", "0.163", 0, 0)
    own = replace(result, candidates=found.members[None].repeat(2, 1, 1, 1, 1))
    oracle = list(kkt_authors.scored("mnist", found, own))
    assert float(oracle[0][1]) > 0.99
    kkt_authors.sheet("mnist", found, result, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 100


def test_choices_are_measured_once(data, tmp_path, monkeypatch):
    recipe = kkt_victims.Recipe(
        "mnist.npz", ((0,), (1,)), images=6, mean=0.4, std=0.3, hidden=(20, 20), steps=300, first_std=0.05
    )
    monkeypatch.setattr(kkt_choices, "RECIPES", {"mnist": recipe})
    rows = kkt_choices.rows(arguments(tmp_path, steps=30))
    assert [row.variant for row in rows] == [
        variant.name for variant in kkt_choices.VARIANTS if "temperature" not in variant.settings
    ]
    assert all(len(row.recovered) == 2 and 0 <= row.near <= 1 for row in rows)
    monkeypatch.setattr(kkt_choices, "measure", None)
    again = kkt_choices.rows(arguments(tmp_path, steps=30))
    assert kkt_choices.table(again) == kkt_choices.table(rows)
    assert len({row.near for row in rows}) > 5


def test_a_variant_that_does_nothing_between_steps_is_the_attack_itself(data, tmp_path):
    recipe = kkt_victims.Recipe("mnist.npz", ((0,), (1,)), images=6, mean=0.4, std=0.3, hidden=(20, 20), steps=50)
    target = kkt_victims.victim(recipe, data, tmp_path / "cache").target
    budget = Budget(12, 60, 12, 2)
    plain = run(KKT, target, budget, seed=0)
    idle = kkt_variants.Variant("idle", {}, lambda *_: None)
    assert torch.equal(run(kkt_variants.altered(KKT, idle), target, budget, seed=0).candidates, plain.candidates)


def test_speed_is_timed_on_any_sizes():
    case = kkt_speed.Case("tiny", (16, 8, 8, 1), (1, 4, 4), 5, 6, "mnist")
    timing = kkt_speed.timed(case, torch.device("cpu"), rounds=1, block=1)
    # 6 candidates: twice 16 x 5, five times 5 x 8, and 8 x 8 and 8 x 1 four and two times; two operations each.
    assert timing.flops == pytest.approx(2 * 6 * (2 * 16 * 5 + 6 * 5 * 8 + 4 * 64 + 2 * 8), rel=0.2)
    assert timing.their_flops > 0
    assert "tiny" in kkt_speed.table([timing])[-1]


def test_a_table_goes_to_its_place_in_a_page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("a\n<!-- one -->\nold\n<!-- /one -->\nb\n")
    page.inserted(path, "one", ["new \\1", "lines"])
    assert path.read_text() == "a\n<!-- one -->\nnew \\1\nlines\n<!-- /one -->\nb\n"
    with pytest.raises(ValueError, match="0 places named two"):
        page.inserted(path, "two", [])
