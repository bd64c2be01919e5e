"""The shipped models and images: the index tells the truth, and every leak is there to be measured."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from auditcli.attacks import all_attacks, run
from auditcli.effort import EFFORTS
from auditcli.families import Options, build, identify
from auditcli.images import read_sample
from auditcli.loading import load
from auditcli.membership import all_signals
from auditcli.outcomes import measure
from auditcli.positive import ALPHA
from auditcli.scoring.matching import similarity
from auditcli.scoring.significance import recovery
from auditcli.types import Family, Normalisation, Sample, SignalFinding, Target, Trait

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "fixtures"
DATA = ROOT.parent / "shared" / "data"
ENTRIES: dict[str, dict[str, Any]] = {
    entry["name"]: entry for entry in json.loads((FIXTURES / "fixtures.json").read_text())["fixtures"]
}
LEAKY = [name for name, entry in ENTRIES.items() if entry["leak"] != "none"]
HONEST = [name for name, entry in ENTRIES.items() if entry["leak"] == "none"]
TWINS = ["mlp-leaky-binary", "cnn-leaky", "vit-leaky"]
MODELS = [*(entry["model"] for entry in ENTRIES.values()), *(f"{name}/model.onnx" for name in TWINS)]
SCRIPTS = {
    *("README.md", "fixtures.json", "choosing.py", "make.py"),
    *("measuring.py", "recipes.py", "training.py", "writing.py"),
}
TRAINABLE, YARDSTICK = 2_000, 700


@cache
def target(model: str) -> Target:
    checkpoint = load(FIXTURES / model)
    return build(checkpoint, identify(checkpoint, Options()), Options())


@cache
def sample(name: str, role: str) -> Sample:
    entry = ENTRIES[name]
    profile = target(entry["model"]).profile
    return read_sample(FIXTURES / entry[role], profile.input_shape, profile.labels, role=role)


@cache
def measured(name: str, signal: str) -> SignalFinding:
    found = next(one for one in all_signals() if one.name == signal)
    members, controls = (sample(name, role) for role in ("members", "controls"))
    outcome = measure(found, target(ENTRIES[name]["model"]), members, controls, torch.device("cpu"), seed=0)
    assert outcome.finding is not None, outcome.reason
    return outcome.finding


def right(name: str, role: str) -> float:
    images = sample(name, role)
    with torch.no_grad():
        logits = target(ENTRIES[name]["model"])(images.images)
    chosen = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
    return (chosen == images.labels).double().mean().item()


def test_the_index_names_every_file_and_no_other() -> None:
    named = set(SCRIPTS)
    for entry in ENTRIES.values():
        for key in ("model", "members", "controls"):
            path = FIXTURES / entry[key]
            assert path.exists(), f"{entry['name']}: {key}"
            files = [path] if path.is_file() else list(path.iterdir())
            named |= {file.relative_to(FIXTURES).as_posix() for file in files}
    named |= {f"{name}/model.onnx" for name in TWINS}
    found = {file.relative_to(FIXTURES).as_posix() for file in FIXTURES.rglob("*") if file.is_file()}
    assert {file for file in found if "__pycache__" not in file} == named


def test_all_of_it_is_small() -> None:
    files = [file for file in FIXTURES.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert sum(file.stat().st_size for file in files) < 12_000_000


def test_the_families_and_the_leaks_are_all_there() -> None:
    leaks = {(entry["family"], entry["leak"]) for entry in ENTRIES.values()}
    assert leaks == {("mlp", "reconstruction"), ("mlp", "none"), ("cnn", "membership"), ("vit", "membership")}
    assert all(bool(entry["methods"]) is (entry["leak"] != "none") for entry in ENTRIES.values())


@pytest.mark.parametrize("model", MODELS)
def test_a_model_loads_with_nothing_assumed(model: str) -> None:
    entry = ENTRIES[model.split("/")[0]]
    profile = target(model).profile
    assert profile.family is Family(entry["family"])
    assert profile.input_shape == (1, 28, 28)
    binary = entry["recipe"]["task"] == "parity"
    assert (profile.classes, profile.outputs) == ((2, 1) if binary else (10, 10))
    assert profile.outputs == entry["outputs"]
    assert profile.assumptions == ()
    assert profile.normalisation.mean == pytest.approx((0.286,))
    assert profile.normalisation.std == pytest.approx((0.353,))
    if not model.endswith(".onnx"):
        assert profile.normalisation == Normalisation((0.286,), (0.353,))
        assert len(profile.labels) == profile.classes


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry["family"] == "mlp"])
def test_the_perceptrons_show_their_weights(name: str) -> None:
    profile = target(ENTRIES[name]["model"]).profile
    assert {Trait.DENSE, Trait.FIRST_LAYER_LINEAR} <= profile.traits


@pytest.mark.parametrize("name", TWINS)
def test_the_exported_graph_computes_the_same(name: str) -> None:
    images = sample(name, "controls").images[:32]
    with torch.no_grad():
        ours, theirs = target(ENTRIES[name]["model"])(images), target(f"{name}/model.onnx")(images)
    assert (ours - theirs).abs().max() < 1e-4
    assert ours.std() > 0.1


@pytest.mark.parametrize("name", TWINS)
def test_the_exported_graph_names_no_source_file(name: str) -> None:
    content = (FIXTURES / name / "model.onnx").read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content


@pytest.mark.parametrize("name", LEAKY)
def test_a_leaky_model_knows_its_members_by_heart(name: str) -> None:
    assert right(name, "members") == 1
    assert right(name, "controls") < 0.95


@pytest.mark.parametrize("name", ENTRIES)
def test_members_and_controls_share_no_image(name: str) -> None:
    members, controls = sample(name, "members"), sample(name, "controls")
    assert len(set(members.hashes)) == len(members)
    assert len(set(controls.hashes)) == len(controls) == 400
    assert not set(members.hashes) & set(controls.hashes)


@pytest.mark.parametrize("name", ENTRIES)
def test_members_and_controls_are_as_many_of_each_class(name: str) -> None:
    for role in ("members", "controls"):
        labels = sample(name, role).labels
        assert labels is not None
        counts = torch.bincount(labels)
        assert len(counts) == target(ENTRIES[name]["model"]).profile.classes
        assert counts.min() == counts.max()


@pytest.mark.parametrize("name", ENTRIES)
def test_the_measured_signals_can_be_measured_again(name: str) -> None:
    written = ENTRIES[name]["measured"]["signals"]
    assert {"confidence", "multipliers"} <= written.keys()
    for signal, figures in written.items():
        found = measured(name, signal)
        assert found.auc.value == pytest.approx(figures["auc"], abs=0.01)
        assert found.auc.low == pytest.approx(figures["auc_low"], abs=0.01)
        assert (found.test.p_value <= ALPHA) is (figures["p_value"] <= ALPHA)


@pytest.mark.parametrize("name", LEAKY)
def test_the_claimed_signals_are_those_that_find_the_leak(name: str) -> None:
    entry = ENTRIES[name]
    figures = entry["measured"]["signals"]
    finding = {signal for signal, found in figures.items() if found["p_value"] <= ALPHA}
    assert finding | entry["measured"]["attacks"].keys() == set(entry["methods"])
    assert any(figures[signal]["auc_low"] >= 0.95 for signal in finding)


@pytest.mark.parametrize("name", [name for name in LEAKY if ENTRIES[name]["leak"] == "reconstruction"])
def test_an_attack_recovered_members_and_they_stand_above_controls(name: str) -> None:
    (figures,) = ENTRIES[name]["measured"]["attacks"].values()
    assert figures["leaked"] > 0
    assert figures["of"] == len(sample(name, "members"))
    assert figures["best_ssim"] > figures["best_control_ssim"]
    assert figures["p_value"] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LEAKY if ENTRIES[name]["leak"] == "reconstruction"])
def test_the_attack_recovers_members_again(name: str) -> None:
    ((attack_name, figures),) = ENTRIES[name]["measured"]["attacks"].items()
    attack = next(one for one in all_attacks() if one.name == attack_name)
    found = run(attack, target(ENTRIES[name]["model"]), EFFORTS["standard"].budget(600), seed=0)
    candidates = found.candidates.flatten(0, 1)
    near, far = (similarity(candidates, sample(name, role).images).best for role in ("members", "controls"))
    assert recovery(near, far).p_value < 1e-4
    assert max(near) == pytest.approx(figures["best_ssim"], abs=0.1)


@pytest.mark.parametrize("name", HONEST)
def test_no_signal_finds_a_leak_where_there_is_none(name: str) -> None:
    for figures in ENTRIES[name]["measured"]["signals"].values():
        assert figures["p_value"] > ALPHA
        assert figures["auc_low"] <= 0.5
        assert figures["tpr_at_1_percent_low"] < 0.02


@pytest.mark.parametrize("name", LEAKY)
def test_hardly_a_control_looks_like_a_member(name: str) -> None:
    likeness = similarity(sample(name, "members").images, sample(name, "controls").images)
    assert np.mean(np.array(likeness.best) >= 0.5) <= 0.03


def test_made_again_the_images_are_the_shipped_ones(tmp_path: Path) -> None:
    need(DATA / "fashion_mnist.npz")
    make(tmp_path, "mlp-honest", "mlp-untrained")
    for path in ("controls.npz", "mlp-honest/members.npz"):
        with (
            np.load(tmp_path / path, allow_pickle=False) as again,
            np.load(FIXTURES / path, allow_pickle=False) as held,
        ):
            assert set(again) == set(held) == {"images", "labels"}
            assert all(np.array_equal(again[key], held[key]) for key in held)
    model = "mlp-untrained/model.safetensors"
    again, held = load(tmp_path / model).tensors, load(FIXTURES / model).tensors
    assert again.keys() == held.keys()
    assert all(torch.equal(again[key], held[key]) for key in held)


@pytest.mark.slow
def test_twice_made_is_the_same_bytes(tmp_path: Path) -> None:
    need(DATA / "fashion_mnist.npz")
    for folder in ("one", "two"):
        make(tmp_path / folder, "mlp-honest", "mlp-untrained")
    one, two = (
        {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert len(one) == 5
    assert one == two


def test_members_were_trained_on_and_controls_were_not() -> None:
    trainable, rest, _ = parts()
    for entry in ENTRIES.values():
        for role, part in (("members", trainable), ("controls", rest)):
            places = {image.tobytes() for images in part for image in images}
            with np.load(FIXTURES / entry[role], allow_pickle=False) as held:
                assert all(image.tobytes() in places for image in held["images"]), (entry["name"], role)


def test_members_and_controls_were_drawn_by_one_rule() -> None:
    _, _, yardsticks = parts()
    likeness: dict[str, list[float]] = {"members": [], "controls": []}
    for role, values in likeness.items():
        images = sample("mlp-honest", role)
        assert images.labels is not None
        for label, yardstick in enumerate(yardsticks):
            alike = images.images[images.labels == label]
            values += similarity(torch.from_numpy(yardstick)[:, None].float() / 255, alike).best
    assert all(max(values) < 0.5 for values in likeness.values())
    assert mannwhitneyu(*likeness.values()).pvalue > 0.01


@cache
def parts() -> tuple[list[Any], list[Any], list[Any]]:
    """Pixels of the training set by class: those that may be trained on, the rest, and the yardstick."""
    need(DATA / "fashion_mnist.npz")
    with np.load(DATA / "fashion_mnist.npz", allow_pickle=False) as data:
        images, labels = data["x_train"], data["y_train"]
    classes = [images[labels == label] for label in range(10)]
    return (
        [alike[:TRAINABLE] for alike in classes],
        [alike[TRAINABLE:-YARDSTICK] for alike in classes],
        [alike[-YARDSTICK:] for alike in classes],
    )


def need(path: Path) -> None:
    if not path.is_file():
        pytest.skip(f"{path.name} is not there: put it into ../shared/data to make fixtures again")


def make(output: Path, *names: str) -> None:
    command = [
        sys.executable,
        str(FIXTURES / "make.py"),
        "--data",
        str(DATA),
        "--output",
        str(output),
        "--only",
        *names,
    ]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
