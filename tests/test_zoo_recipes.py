"""Recipes of the zoo, who plays which part, and the cache: nothing is trained twice, nothing is half there."""

import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from auditcli.auditing import load
from auditcli.types import Family

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import zoo  # noqa: E402
import zoo_audits  # noqa: E402
import zoo_cache  # noqa: E402
import zoo_images  # noqa: E402
import zoo_training  # noqa: E402
from zoo_networks import network  # noqa: E402
from zoo_recipes import Cnn, DataSet, Head, Mlp, Recipe, Task, Training, Truth, Vit  # noqa: E402
from zoo_victims import MITIGATIONS, SMALL, VICTIMS  # noqa: E402

SHORT = Training(2, "adam", 1e-3, batch=16)
TINY = {
    "mlp": Mlp((12,)),
    "cnn": Cnn((4, 6)),
    "vit": Vit(patch=7, width=16, depth=1, heads=2),
    "head": Head((12,), Cnn((4, 8))),
}


def tiny(family: str, **more: object) -> Recipe:
    fields = {"truth": Truth.LEAKY, "data": DataSet.FASHION, "images": 20, "training": SHORT, "seed": 3, **more}
    return Recipe(name=f"tiny-{family}", net=TINY[family], **fields)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data set in small, in which every image says where it stands: its first pixels are its number."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(zoo_images, "RESERVED", 60)
    for part, size in {"CONTROLS": 40, "STRANGERS": 20, "VALIDATION": 30, "TEST": 30}.items():
        monkeypatch.setattr(zoo_images, part, size)
    stored = {}
    for part, first, count in (("train", 0, 220), ("test", 220, 80)):
        pixels = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        pixels[:, 0, 0], pixels[:, 0, 1] = np.divmod(np.arange(first, first + count), 256)
        stored |= {f"x_{part}": pixels, f"y_{part}": np.arange(count) % 10}
    folder = tmp_path / "data"
    folder.mkdir()
    np.savez(folder / "fashion_mnist.npz", **stored)
    return folder


def numbers(images: zoo_images.Images) -> set[int]:
    corner = images.pixels[:, 0, 0, :2].long()
    return set((corner[:, 0] * 256 + corner[:, 1]).tolist())


def test_the_zoo_has_what_a_claim_about_error_rates_needs():
    def count(truth: Truth, family: str = "") -> int:
        return sum(one.truth is truth and family in ("", one.family) for one in VICTIMS)

    assert len({one.name for one in VICTIMS}) == len({one.key for one in VICTIMS}) == len(VICTIMS)
    leaky = {family: count(Truth.LEAKY, family) for family in TINY}
    assert leaky["mlp"] >= 12
    assert min(leaky.values()) >= 5
    assert count(Truth.HONEST) >= 25
    assert count(Truth.NULL) >= 12
    assert count(Truth.NULL) + count(Truth.HONEST) >= 36
    assert all(count(truth, family) for truth in (Truth.LEAKY, Truth.HONEST, Truth.NULL) for family in TINY)


def test_the_small_zoo_has_every_family_and_truth():
    small = zoo.chosen([], small=True)
    assert {one.name for one in small} == SMALL
    assert len(small) >= 12
    pairs = {(one.truth, one.family) for one in small}
    assert pairs == {(truth, family) for truth in (Truth.LEAKY, Truth.HONEST, Truth.NULL) for family in TINY}


def test_mitigations_name_victims_that_differ():
    by_name = {one.name: one for one in VICTIMS}
    for one in MITIGATIONS:
        base, variant = by_name[one.base], by_name[one.variant]
        assert (base.data, base.family, base.seed) == (variant.data, variant.family, variant.seed)


def test_untrained_and_only_untrained_victims_take_no_step():
    assert all((one.truth is Truth.NULL) == (one.training.steps == 0) for one in VICTIMS)


def test_the_key_is_of_what_makes_the_weights():
    recipe = tiny("mlp")
    assert replace(recipe, name="another", truth=Truth.OPEN).key == recipe.key
    changed = [
        replace(recipe, seed=4),
        replace(recipe, images=21),
        replace(recipe, net=Mlp((13,))),
        replace(recipe, net=Head((12,))),
        replace(recipe, task=Task.PARITY),
        replace(recipe, data=DataSet.MNIST),
        replace(recipe, training=replace(SHORT, augment=True)),
    ]
    assert len({one.key for one in (recipe, *changed)}) == 1 + len(changed)


def test_choosing_by_truth_family_and_name():
    assert {one.truth for one in zoo.chosen(["honest"], small=False)} == {Truth.HONEST}
    assert {one.family for one in zoo.chosen(["vit"], small=False)} == {"vit"}
    assert [one.name for one in zoo.chosen(["mlp-fashion-dp-1"], small=False)] == ["mlp-fashion-dp-1"]
    assert zoo.chosen(["no such victim"], small=False) == []


@pytest.mark.parametrize("family", ["mlp", "head"])
def test_no_image_plays_two_parts(data, family):
    pool = zoo_images.load_pool(DataSet.FASHION, data)
    drawn = zoo_images.draw(tiny(family), pool)
    parts = [numbers(part) for part in (drawn.training, drawn.controls, drawn.strangers, drawn.validation, drawn.test)]
    if family == "head":
        parts.append(numbers(zoo_images.for_backbones(pool)))
    assert [len(part) for part in parts] == [20, 40, 20, 30, 30, 60][: len(parts)]
    assert not any(one & other for one, other in combinations(parts, 2))


def test_parts_are_random_draws_of_train_and_test_images_alike(data):
    pool = zoo_images.load_pool(DataSet.FASHION, data)
    drawn = [zoo_images.draw(tiny("mlp", seed=seed), pool) for seed in range(40)]
    for part in ("training", "controls", "strangers"):
        share = np.mean([number >= 220 for one in drawn for number in numbers(getattr(one, part))])
        assert 0.2 < share < 0.34  # 80 of 300 images are of the test part
    assert numbers(drawn[0].training) != numbers(drawn[1].training)


def test_a_pool_that_is_too_small_is_said(data):
    pool = zoo_images.load_pool(DataSet.FASHION, data)
    with pytest.raises(ValueError, match="tiny-mlp needs 1120 images"):
        zoo_images.draw(tiny("mlp", images=1000), pool)


def test_parity(data):
    pool = zoo_images.load_pool(DataSet.FASHION, data)
    drawn = zoo_images.draw(tiny("mlp", task=Task.PARITY), pool)
    assert set(drawn.training.labels.tolist()) == {0, 1}


@pytest.mark.parametrize("family", TINY)
def test_the_product_reads_what_was_trained(data, tmp_path, family):
    recipe = tiny(family)
    cache = zoo_cache.Cache(tmp_path / "cache", data)
    victim = cache.victim(recipe)
    target = load(victim.model, device="cpu")
    assert target.profile.family is Family("cnn" if family == "head" else family)
    assert target.profile.assumptions == ()
    drawn = zoo_images.draw(recipe, zoo_images.load_pool(DataSet.FASHION, data))
    pixels = drawn.training.pixels.float() / 255
    accuracy = float((target(pixels).argmax(dim=1) == drawn.training.labels).float().mean())
    assert accuracy == pytest.approx(victim.stated["train_accuracy"])
    inputs = drawn.test.inputs(DataSet.FASHION)
    net = network(recipe)
    trained = zoo_training.train(net, recipe.training, *two_folds(cache, recipe, drawn), recipe.data, recipe.seed).net
    base = cache._base(recipe)
    expected = zoo_training.logits(torch.nn.Sequential(*base, trained).eval(), inputs)
    torch.testing.assert_close(target(drawn.test.pixels.float() / 255), expected, rtol=1e-4, atol=1e-4)


def two_folds(cache: zoo_cache.Cache, recipe: Recipe, drawn: zoo_images.Draw):
    base = cache._base(recipe)
    return (zoo_cache._fold(part, recipe, base) for part in (drawn.training, drawn.validation))


def test_a_victim_is_trained_once(data, tmp_path, monkeypatch):
    recipe = tiny("mlp")
    first = zoo_cache.Cache(tmp_path / "cache", data).victim(recipe)
    monkeypatch.setattr(zoo_cache, "train", None)
    again = zoo_cache.Cache(tmp_path / "cache", data).victim(recipe)
    assert again.stated["test_loss"] == first.stated["test_loss"]
    assert sorted(path.name for path in first.folder.iterdir()) == [
        *("controls.npz", "members.npz", "model.safetensors", "strangers.npz", "victim.json")
    ]


def test_an_interrupted_training_leaves_nothing_half_done(data, tmp_path, monkeypatch):
    cache, recipe = zoo_cache.Cache(tmp_path / "cache", data), tiny("mlp")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zoo_cache, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            cache.victim(recipe)
    assert cache.known(recipe) is None
    assert cache.victim(recipe).model.is_file()


def test_a_backbone_is_trained_once_for_all_heads(data, tmp_path):
    cache = zoo_cache.Cache(tmp_path / "cache", data)
    cache.victim(tiny("head"))
    (path,) = (tmp_path / "cache" / "backbones").iterdir()
    before = path.stat().st_mtime_ns
    cache.victim(tiny("head", seed=4))
    assert path.stat().st_mtime_ns == before


def test_early_stopping_keeps_the_best_weights(data):
    pool = zoo_images.load_pool(DataSet.FASHION, data)
    recipe = tiny("mlp", training=Training(400, "adam", 1e-2, batch=20, patience=3))
    drawn = zoo_images.draw(recipe, pool)
    near, far = (zoo_cache._fold(part, recipe, []) for part in (drawn.training, drawn.validation))
    trained = zoo_training.train(network(recipe), recipe.training, near, far, recipe.data, 0)
    assert trained.steps < 400  # the labels are noise: other images gain nothing
    longer = replace(recipe.training, patience=None)
    overfit = zoo_training.train(network(recipe), longer, near, far, recipe.data, 0)

    def other_loss(one):
        return float(zoo_training.loss(zoo_training.logits(one.net, far.inputs), far.labels).mean())

    assert other_loss(trained) < other_loss(overfit)


def test_dp_sgd_spends_what_it_was_allowed(data):
    pytest.importorskip("opacus")
    recipe = tiny("mlp", training=Training(20, "adam", 1e-3, batch=5, epsilon=3.0))
    drawn = zoo_images.draw(recipe, zoo_images.load_pool(DataSet.FASHION, data))
    near = zoo_cache._fold(drawn.training, recipe, [])
    trained = zoo_training.train(network(recipe), recipe.training, near, near, recipe.data, 0)
    assert trained.steps == 20
    assert 0.5 < trained.epsilon <= 3.0
    assert set(trained.net.state_dict()) == set(network(recipe).state_dict())


def test_augmentation_shifts_each_image_by_itself():
    torch.manual_seed(0)
    images = torch.zeros(64, 1, 12, 12)
    images[:, :, 5, 6] = 1
    moved = zoo_training._augmented(images, flips=False)
    assert moved.shape == images.shape
    assert torch.equal(moved.sum(dim=(1, 2, 3)), torch.ones(64))
    places = moved.flatten(1).argmax(dim=1)
    rows, columns = places // 12, places % 12
    assert (int(rows.min()), int(rows.max())) == (2, 8)
    assert (int(columns.min()), int(columns.max())) == (3, 9)
    assert len(places.unique()) > 20


def test_flips_turn_left_and_right():
    torch.manual_seed(0)
    images = torch.zeros(64, 1, 21, 21)
    images[:, :, 10, 16] = 1
    columns = zoo_training._augmented(images, flips=True).flatten(1).argmax(dim=1) % 21
    assert 15 < int((columns < 10).sum()) < 49


def test_audits_of_an_honest_victim_are_two_and_strangers_are_nulls(tmp_path):
    def audits(truth: Truth) -> list[zoo_audits.Audit]:
        victim = zoo_cache.Victim(tiny("mlp", truth=truth), tmp_path, {})
        return list(zoo_audits.audits_of(victim, seed=0, shadows=0))

    assert [(one.sample, one.truth) for one in audits(Truth.HONEST)] == [
        ("members", Truth.HONEST),
        ("strangers", Truth.NULL),
    ]
    assert [one.sample for one in audits(Truth.LEAKY)] == ["members"]


def test_results_are_of_one_state_of_the_code_unless_any_will_do(tmp_path):
    victim = zoo_cache.Victim(tiny("mlp"), tmp_path, {})
    (audit,) = zoo_audits.audits_of(victim, seed=0, shadows=0)
    old = tmp_path / "old" / f"{audit.name}.json"
    old.parent.mkdir()
    old.write_text("{}")
    assert zoo_audits.result_of(audit, tmp_path, "new") is None
    assert zoo_audits.result_of(audit, tmp_path, "old") == old
    assert zoo_audits.result_of(audit, tmp_path, "new", any_code=True) == old
    (more,) = zoo_audits.audits_of(victim, seed=0, shadows=8)
    assert zoo_audits.result_of(more, tmp_path, "old") is None


def test_a_failed_audit_says_why_and_a_good_one_leaves_a_result(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, sys, pathlib\n"
        "model, members, controls, output, seed, shadows = sys.argv[1:]\n"
        "if seed == '1': sys.exit('first\\nno model there')\n"
        "pathlib.Path(output).write_text(os.environ['OMP_NUM_THREADS'] + pathlib.Path(members).name)\n"
    )
    monkeypatch.setattr(zoo_audits, "_WORKER", worker)
    victim = zoo_cache.Victim(tiny("mlp"), tmp_path / "nowhere", {})
    audits = [audit for seed in (0, 1) for audit in zoo_audits.audits_of(victim, seed=seed, shadows=0)]
    said = {audit.seed: problem for audit, problem in zoo_audits.run(audits, tmp_path, "now", jobs=2)}
    assert said == {0: "", 1: "no model there"}
    assert [path.name for path in (tmp_path / "now").iterdir()] == [f"{audits[0].name}.json"]
    assert zoo_audits.result_of(audits[0], tmp_path, "now").read_text() == "1members.npz"
