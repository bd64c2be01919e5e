"""The matched positive control: a copy of the target, overfitted on controls, leaks to what ran on the target."""

from dataclasses import replace

import pytest
import torch
from tiny_targets import cnn_target, dense_stack, dense_target, generator

from auditcli.attacks import all_attacks
from auditcli.errors import AttackError, SampleError
from auditcli.membership import all_signals
from auditcli.positive import matched_for
from auditcli.types import Budget, Sample

CPU = torch.device("cpu")
(KKT,) = (found for found in all_attacks() if found.name == "kkt")
SIGNALS = {found.name: found for found in all_signals()}
TARGETS = {"dense": dense_target(dense_stack(64, 100, 3)), "cnn": cnn_target()}


def controls(n=80, labelled=True):
    """Images of noise: nothing is to be learnt about them but themselves."""
    names = tuple(map(str, range(n)))
    images = torch.rand(n, 1, 8, 8, generator=generator(2))
    return Sample(images, names, names, torch.arange(n) % 3 if labelled else None, "all")


def checked(target, sample, *names, **options):
    given = {"seconds": 100, "seed": 0, "watch": None, **options}
    return list(matched_for(target, sample, [], [SIGNALS[name] for name in names], CPU, **given))


@pytest.mark.parametrize("labelled", [True, False])
def test_a_copy_leaks_what_the_target_does_not(labelled):
    target = TARGETS["dense"]
    before = [tensor.clone() for tensor in target.module.parameters()]
    found = checked(target, controls(labelled=labelled), "confidence")
    assert [control.method for control in found] == ["confidence"]
    assert all(control.passed and control.matched and control.kind == "membership" for control in found)
    assert all(control.fixture == "a copy of this model, overfitted on 40 controls" for control in found)
    assert all(torch.equal(a, b) for a, b in zip(before, target.module.parameters(), strict=True))


def test_signals_that_need_shadow_models_are_left_out_without_them():
    assert checked(TARGETS["dense"], controls(), "lira", "rmia") == []


def test_no_time_and_too_few_controls_are_errors():
    with pytest.raises(AttackError, match="could not be overfitted on 40 controls"):
        checked(TARGETS["cnn"], controls(), "confidence", seconds=0)
    with pytest.raises(SampleError, match="19 controls are too few"):
        checked(TARGETS["dense"], controls(19), "confidence")


def test_ctrl_c_ends_it():
    def watch(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checked(TARGETS["dense"], replace(controls()), "confidence", watch=watch)


def test_the_attack_finds_what_the_copy_was_trained_on():
    target = dense_target(dense_stack(144, 64, 4), (1, 12, 12))
    names = tuple(map(str, range(60)))
    images = torch.rand(60, 1, 12, 12, generator=generator(2))
    budget = Budget(steps=300, seconds=100, candidates=64, restarts=1)
    sample = Sample(images, names, names, torch.arange(60) % 4, "all")
    (found,) = matched_for(target, sample, [(KKT, budget)], [], CPU, seconds=100, seed=0, watch=None)
    assert (found.kind, found.method, found.of) == ("reconstruction", "kkt", 30)
    assert found.matched
    assert found.passed, found.detail
