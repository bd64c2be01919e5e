"""Positive controls: which shipped model stands in for a target, and when it fails."""

from dataclasses import replace

import pytest
import torch
from tiny_targets import cnn_target, dense_stack, dense_target

from auditcli.attacks import all_attacks, attack
from auditcli.effort import EFFORTS
from auditcli.membership import all_signals
from auditcli.positive import controls_for, fixtures
from auditcli.types import Budget, Family, Step, Trait

CPU = torch.device("cpu")
(KKT,) = (found for found in all_attacks() if found.name == "kkt")
SIGNALS = {found.name: found for found in all_signals()}
LITTLE = Budget(steps=5, seconds=60, candidates=10, restarts=1)
DENSE = dense_target(dense_stack(64, 8, 3)).profile
BINARY = dense_target(dense_stack(64, 8, 1)).profile


def checked(profile, attacks=(), signals=(), **options):
    return list(controls_for(profile, attacks, signals, CPU, seed=0, **{"watch": None, **options}))


def test_only_models_that_leak_are_controls():
    names = {fixture.name for fixture in fixtures()}
    assert {"mlp-leaky", "cnn-leaky", "vit-leaky"} <= names
    assert not names & {"mlp-honest", "mlp-untrained"}
    for fixture in fixtures():
        assert fixture.methods
        assert fixture.model.exists()


@pytest.mark.parametrize("family", ["mlp", "cnn", "vit"])
def test_confidence_is_checked_on_a_model_of_the_same_family(family):
    (control,) = checked(replace(DENSE, family=Family(family)), signals=[SIGNALS["confidence"]])
    assert control.fixture.startswith(family)
    assert (control.kind, control.method, control.passed) == ("membership", "confidence", True)
    assert 0 <= control.recovered <= control.of
    assert "AUC" in control.detail


def test_a_binary_target_has_a_binary_control():
    one, two = (checked(profile, signals=[SIGNALS["span"]])[0] for profile in (DENSE, BINARY))
    assert (one.fixture, two.fixture) == ("mlp-leaky", "mlp-leaky-binary")
    assert one.passed
    assert two.passed


def test_a_family_without_a_shipped_model_has_no_control():
    assert checked(replace(DENSE, family=Family.UNKNOWN), [(KKT, LITTLE)], SIGNALS.values()) == []


def test_a_method_that_no_model_is_known_to_leak_to_has_no_control():
    assert checked(cnn_target().profile, [(KKT, LITTLE)], [SIGNALS["span"]]) == []


def test_too_small_a_budget_fails_the_control():
    (control,) = checked(DENSE, [(KKT, LITTLE)])
    assert (control.kind, control.method, control.fixture) == ("reconstruction", "kkt", "mlp-leaky")
    assert not control.passed
    assert control.recovered == 0
    assert "SSIM" in control.detail


def test_no_time_fails_the_control():
    (control,) = checked(DENSE, [(KKT, replace(LITTLE, seconds=0.0))])
    assert not control.passed


def test_an_attack_that_cannot_run_fails_the_control_and_says_why():
    @attack(paper="none", requires=frozenset({Trait.BATCH_NORM}))
    def kkt(target, budget, rng):
        """Asks for what the model does not have."""
        yield Step(torch.rand(1, 1, 1, 28, 28, generator=rng), torch.zeros(1))

    (control,) = checked(DENSE, [(kkt, LITTLE)])
    assert not control.passed
    assert "batch-norm" in control.detail


def test_ctrl_c_ends_it():
    def watch(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checked(DENSE, [(KKT, LITTLE)], watch=watch)


@pytest.mark.slow
@pytest.mark.parametrize("effort", ["quick", "standard"])
@pytest.mark.parametrize("seed", range(10))
def test_the_attack_passes_its_control_at_every_profile(effort, seed):
    (control,) = controls_for(DENSE, [(KKT, EFFORTS[effort].budget(600))], [], CPU, seed=seed, watch=None)
    assert control.passed, control.detail
