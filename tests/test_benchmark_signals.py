"""The benchmark of signals: strangers play no part, the page says what the bouts hold, and the whole of it in small."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import signals  # noqa: E402
import zoo_images  # noqa: E402
from signals_page import Bout, Duel, Run, Score, ahead, best, bout, draw, means, page, table  # noqa: E402
from zoo_recipes import Cnn, DataSet, Head, Mlp, Recipe, Training, Truth  # noqa: E402
from zoo_rows import Estimate  # noqa: E402

from auditcli.membership import all_signals  # noqa: E402

PARTS = {"CONTROLS": 40, "STRANGERS": 20, "VALIDATION": 30, "TEST": 30}
NETS = {"mlp": Mlp((12,)), "head": Head((12,), Cnn((4, 8)))}


def recipe(family: str) -> Recipe:
    return Recipe("tiny", Truth.LEAKY, DataSet.FASHION, NETS[family], 20, Training(2, "adam", 1e-3, batch=16), 3)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data set in small; the first two pixels of an image are its number, but for sixty that repeat others."""
    monkeypatch.setattr(zoo_images, "RESERVED", 60)
    for part, size in PARTS.items():
        monkeypatch.setattr(zoo_images, part, size)
    pixels = np.random.default_rng(0).integers(0, 256, (600, 28, 28)).astype(np.uint8)
    pixels[:, 0, 0], pixels[:, 0, 1] = np.divmod(np.arange(600), 256)
    pixels[:60] = pixels[60:120]
    folder = tmp_path / "data"
    folder.mkdir()
    labels = np.arange(600) % 10
    np.savez(
        folder / "fashion_mnist.npz",
        x_train=pixels[:420],
        y_train=labels[:420],
        x_test=pixels[420:],
        y_test=labels[420:],
    )
    return folder


def contents(images: zoo_images.Images) -> set[bytes]:
    return {image.tobytes() for image in images.pixels.numpy()}


@pytest.mark.parametrize("family", NETS)
def test_strangers_play_no_part_and_repeat_nothing_the_victim_learnt(data, family):
    pool = zoo_images.load_pool(DataSet.FASHION, data)
    count = 240
    found = signals.strangers(recipe(family), pool, count)
    parts = zoo_images.draw(recipe(family), pool)
    learnt = contents(parts.training) | (contents(zoo_images.for_backbones(pool)) if family == "head" else set())
    others = [contents(getattr(parts, name)) for name in ("controls", "strangers", "validation", "test")]
    repeated = {image.tobytes() for image in np.load(data / "fashion_mnist.npz")["x_train"][:60]}
    assert not contents(found) & learnt
    assert all(contents(found) & other <= repeated for other in others)
    assert contents(found) <= contents(pool)
    assert count - 60 <= len(found) < count
    assert len(contents(found)) >= len(found) - 60


def test_too_many_strangers_are_refused(data):
    pool = zoo_images.load_pool(DataSet.FASHION, data)
    with pytest.raises(ValueError, match="needs"):
        signals.strangers(recipe("mlp"), pool, 461)


def score(name: str, value: float | None, auc: float = 0.8) -> Score:
    if value is None:
        return Score(name, 0.1, "does not apply")
    at = Estimate(value, value / 2, min(1.0, 2 * value))
    return Score(name, 0.1, auc=Estimate(auc, 0.5, 1.0), tpr={"0.1%": None, "1%": at})


def one(victim: str, truth: str, **rates: float | None) -> Bout:
    scores = tuple(score(name, value) for name, value in rates.items())
    return Bout(victim, truth, 60, "784-9-10", 60, 120, 120, 4, 3.0, "abc", "2026-01-01", scores)


BOUTS = (
    one("a", "leaky", span=0.75, head_span=None, confidence=0.5, lira=0.5, rmia=0.25),
    one("b", "leaky", span=None, head_span=0.5, confidence=0.25, lira=0.5, rmia=0.125),
    one("c", "honest", span=None, head_span=None, confidence=0.0, lira=0.0, rmia=0.0),
)


def test_the_best_signals_are_all_that_tie_and_none_where_nothing_is_found():
    assert [best(bout) for bout in BOUTS] == [("span",), ("head_span", "lira"), ()]


def test_a_duel_counts_victims_on_which_both_answer():
    assert ahead(BOUTS, "lira", "confidence") == Duel(more=1, fewer=0, of=3)
    assert ahead(BOUTS, "rmia", "confidence") == Duel(more=0, fewer=2, of=3)
    assert ahead(BOUTS, "span", "lira") == Duel(more=1, fewer=0, of=1)


def test_means_are_over_victims_of_one_truth_that_have_an_answer():
    found = {name: (n, rate) for name, n, _, _, rate in means(BOUTS, "leaky")}
    assert found == {
        "span": (1, 0.75),
        "head_span": (1, 0.5),
        "lira": (2, 0.5),
        "confidence": (2, 0.375),
        "rmia": (2, 0.1875),
    }
    assert next(iter(found)) == "span"


def test_a_bout_survives_json():
    assert all(bout(json.loads(json.dumps(asdict(each)))) == each for each in BOUTS)


def test_the_page_has_a_line_for_each_answer_and_names_what_has_none():
    text = page(BOUTS, Run("python benchmarks/signals.py", "signals.svg"))
    assert len(table(BOUTS)) == 2 + sum(score.auc is not None for each in BOUTS for score in each.scores)
    assert "| b | leaky | head_span, lira | 0.500 (0.250 to 1.000) | 0.500 (0.250 to 1.000) |" in text
    assert "| c | honest | - | - | - | 0.000 (0.000 to 0.000) |" in text
    assert "| span | does not apply | b, c |" in text
    assert "nan" not in text


def test_the_figure_is_the_same_each_time_and_shows_every_rate(tmp_path):
    first, second = ((tmp_path / name) for name in ("first", "second"))
    assert draw(BOUTS, first) == draw(BOUTS, second) == "signals.svg"
    drawn = (first / "signals.svg").read_text()
    assert drawn == (second / "signals.svg").read_text()
    assert drawn.count(">75%<") == 1
    assert drawn.count(">-<") == 4


def test_all_signals_meet_one_victim_on_the_same_images(data, tmp_path, monkeypatch):
    settings = signals.Settings(data, tmp_path / "cache", shadows=2, controls=60, seed=0)
    monkeypatch.setattr(signals, "code", lambda: "now")
    asked = []
    measure = signals.measure
    monkeypatch.setattr(
        signals,
        "measure",
        lambda *args, **more: asked.append((args[2].sha256, args[3].sha256)) or measure(*args, **more),
    )
    found = signals.hold(recipe("mlp"), settings)
    assert len(set(asked)) == 1
    assert [score.signal for score in found.scores] == [signal.name for signal in all_signals()]
    assert {"confidence", "lira", "rmia"} <= {score.signal for score in found.scores if score.auc}
    assert found.controls + found.population <= 60
    assert abs(found.controls - found.population) <= 1
    assert signals.known(recipe("mlp"), settings, any_code=False) == found
    assert found.shadow_seconds > 0
    monkeypatch.setattr(signals, "code", lambda: "later")
    assert signals.known(recipe("mlp"), settings, any_code=False) is None
    assert signals.known(recipe("mlp"), replace(settings, shadows=3), any_code=True) is None
    assert signals.known(recipe("mlp"), settings, any_code=True) == found
    assert signals.hold(recipe("mlp"), settings).shadow_seconds == found.shadow_seconds


def test_an_unknown_victim_is_named():
    with pytest.raises(ValueError, match="no victim nobody"):
        signals.chosen(["mlp-fashion-decay-0", "nobody"])
    assert [one.name for one in signals.chosen(signals.CHOSEN)] == list(signals.CHOSEN)
