"""The benchmark of network inversion, the whole of it in small."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity
from tiny_targets import generator

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import inversion  # noqa: E402
import inversion_cases  # noqa: E402
import inversion_page  # noqa: E402
import inversion_victims  # noqa: E402
from zoo_recipes import Cnn, DataSet, Mlp, Recipe, Training, Truth  # noqa: E402


def write_data(folder):
    rng = np.random.default_rng(0)
    parts = {
        f"x_{part}": rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for part, n in (("train", 2100), ("test", 300))
    }
    labels = {f"y_{part}": np.arange(n) % 10 for part, n in (("train", 2100), ("test", 300))}
    np.savez(folder / "mnist.npz", **parts, **labels)


def recipe(net):
    return Recipe("inversion", Truth.LEAKY, DataSet.MNIST, net, 20, Training(3, "adam", 1e-3, batch=10), seed=7)


def test_controls_have_the_classes_of_the_members():
    wanted, labels = torch.tensor([1, 0, 1, 1]), torch.tensor([2, 1, 1, 0, 1, 0, 1])
    assert labels[inversion_victims.alike(wanted, labels)].tolist() == [0, 1, 1, 1]
    with pytest.raises(ValueError, match="5 images of class 0"):
        inversion_victims.alike(torch.zeros(5, dtype=torch.int64), labels)


def test_diversity_is_the_mean_ssim_of_pairs_within_a_class():
    images, labels = torch.rand(6, 1, 9, 9, generator=generator()), torch.tensor([0, 1] * 3)
    expected = [
        structural_similarity(images[i, 0].numpy(), images[j, 0].numpy(), data_range=1.0)
        for i in range(6)
        for j in range(6)
        if i != j and labels[i] == labels[j]
    ]
    assert inversion.diversity(images, labels) == pytest.approx(np.mean(expected), abs=1e-4)
    assert inversion.diversity(images[:1].expand(6, -1, -1, -1), labels) == pytest.approx(1)


def test_every_case_has_a_table_and_a_line_of_its_own():
    assert {case.part for case in inversion_cases.CASES} == set(inversion_page.PARTS)
    named = [(case.part, case.name) for case in inversion_cases.CASES]
    assert len(set(named)) == len(named)
    assert [case.part for case in inversion_cases.CASES][:9] == ["main"] * 9


def test_dropout_changes_the_training_and_leaves_no_hook(tmp_path):
    write_data(tmp_path)
    for net in (Mlp((8,)), Cnn((4,))):
        subject = inversion_victims.Subject(recipe(net))
        made = [
            inversion_victims.victim(one, tmp_path, tmp_path / "victims")
            for one in (subject, replace(subject, dropout=0.5), subject)
        ]
        weights = [torch.cat([p.flatten() for p in one.target.module.parameters()]) for one in made]
        assert torch.equal(weights[0], weights[2])
        assert not torch.equal(weights[0], weights[1])


def test_the_whole_in_small(tmp_path, monkeypatch):
    write_data(tmp_path)
    monkeypatch.setattr(inversion, "STEPS", {"mlp": 2})
    monkeypatch.setattr(inversion, "CANDIDATES", 20)
    subject = inversion_victims.Subject(recipe(Mlp((8,))))
    case = inversion_cases.Case("main", "MNIST, <b>", subject)
    arguments = inversion._arguments(["--data", str(tmp_path), "--cache", str(tmp_path / "cache")])
    row = inversion._row(case, arguments)
    assert 0 <= row["agreement"] <= 1
    assert 0 < row["p_value"] <= 1
    assert row["members"]["best"] >= row["members"]["p95"] >= -1
    monkeypatch.setattr(inversion, "measure", None)  # it is not measured again
    assert inversion._row(case, arguments) == row

    page = tmp_path / "page.md"
    page.write_text("words\n<!-- main -->\nold\n<!-- /main -->\n<!-- null -->\n<!-- /null -->\nmore\n")
    inversion_page.page(page, [row], "about")
    text = page.read_text()
    assert text.startswith("words\n<!-- main -->\n| victim |")
    assert "old" not in text
    assert "Not measured." in text
    assert text.endswith("more\n")
    inversion_page.draw(tmp_path / "figures", [(case, inversion._images(case, arguments))])
    with Image.open(tmp_path / "figures" / "inversion-mnist.png") as sheet:
        assert sheet.size == (10 * 28 * 2, 3 * 28 * 2)
