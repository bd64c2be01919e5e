"""The levels of the shipped models, at the effort a user has."""

from functools import cache
from pathlib import Path

import pytest

from auditcli.auditing import audit

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@cache
def quick(name, images, seed=0):
    """A quick audit of a shipped dense model, with members and controls or without."""
    entry = "mlp-honest" if name == "mlp-untrained" else name
    given = {"reference": FIXTURES / entry / "members.npz", "controls": FIXTURES / "controls.npz"} if images else {}
    return audit(FIXTURES / name / "model.safetensors", profile="quick", device="cpu", seed=seed, **given)


def test_with_images_single_members_of_the_leaky_model_are_recovered():
    report = quick("mlp-leaky", True)
    assert report.verdict.level == "critical"
    leaked = [member for member in report.members if member.leaked]
    assert leaked
    assert max(m.best_ssim for m in leaked) > max(report.controls.controls_ssim)
    assert report.controls.reconstruction_test.p_value < 1e-4
    assert report.gallery[0].member_id in {member.id for member in leaked}
    assert report.gallery[0].evidence.startswith("individually recovered")


def test_without_images_its_weights_alone_tell():
    report = quick("mlp-leaky", False)
    assert report.verdict.level == "high"
    evidence = report.evidence
    assert evidence.significant
    assert evidence.reproduced > max(evidence.shuffled_reproduced)
    assert evidence.explained > max(evidence.shuffled_explained)
    assert evidence.test.p_value == pytest.approx(1 / 20)
    assert report.gallery[0].agreement > 0.9


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("mlp-honest", True),
        ("mlp-untrained", False),
        pytest.param("mlp-honest", False, marks=pytest.mark.slow),
        pytest.param("mlp-untrained", True, marks=pytest.mark.slow),
    ],
)
def test_where_nothing_leaks_nothing_is_detected_and_the_positive_control_passed(name, images):
    check_nothing_found(quick(name, images))


def check_nothing_found(report):
    assert report.verdict.level == "none-detected", [reason.text for reason in report.verdict.reasons]
    assert not any(member.leaked for member in report.members)
    assert report.evidence is None or not report.evidence.significant
    passed = {control.method for control in report.controls.positive if control.passed}
    assert "kkt" in passed
    assert all(control.passed for control in report.controls.positive)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_the_leaky_model_is_found_out_with_every_seed(seed):
    assert quick("mlp-leaky", True, seed).verdict.level in ("high", "critical")
    assert quick("mlp-leaky", False, seed).verdict.level == "high"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", ["mlp-honest", "mlp-untrained"])
def test_a_model_that_does_not_leak_is_never_accused(name, seed):
    for images in (True, False):
        assert quick(name, images, seed).verdict.level in ("none-detected", "inconclusive")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_the_positive_control_passes_with_every_seed(seed):
    check_nothing_found(quick("mlp-untrained", True, seed))
