"""The attack on top of the generator: its candidates, its settings and what is known of its result."""

from itertools import islice

import pytest
import torch
from tiny_targets import cnn_target, dense_stack, dense_target, generator

import auditcli
from auditcli.attacks import run
from auditcli.attacks.inversion import inversion
from auditcli.auditing import _chosen
from auditcli.errors import UsageError
from auditcli.generator import agreement
from auditcli.resources import resource
from auditcli.types import Budget


def steps(attack, count, target=None, candidates=9, restarts=2):
    budget = Budget(count, 60, candidates, restarts)
    return list(islice(attack.start(target or cnn_target(), budget, generator()), count))


def test_candidates_are_the_newest_and_balanced():
    made = steps(inversion.with_settings(batch=3), 5)
    one, other = (step.candidates for step in made[3:])
    changed = (one != other).flatten(2).any(dim=2)
    assert torch.equal(changed, torch.tensor([[False] * 3 + [True] * 3 + [False] * 3] * 2))


def test_before_there_are_enough_the_first_are_repeated():
    (first,) = steps(inversion.with_settings(batch=3), 1)
    assert torch.equal(first.candidates[:, :3], first.candidates[:, 3:6])


@pytest.mark.parametrize("batch", [1, 4, 50])
def test_any_batch_fills_them(batch):
    for step in steps(inversion.with_settings(batch=batch), 3):
        assert step.candidates.shape[:2] == (2, 9)
        assert step.candidates.isfinite().all()
        assert (step.figures["label agreement"] <= 1).all()


@pytest.mark.parametrize(
    "term",
    ["kl", "ce", "cosine", "orthogonality", "kl_perturbed", "ce_perturbed", "variation", "pixel", "gradient"],
)
def test_every_weight_counts_and_0_is_allowed(term):
    usual, without = (steps(attack, 2)[-1].objective for attack in (inversion, inversion.with_settings(**{term: 0})))
    assert without.isfinite().all()
    assert not torch.equal(usual, without)


def test_the_gradient_of_all_layers_is_another():
    target = dense_target(dense_stack(64, 8, 3))
    usual, full = (steps(a, 2, target)[-1].objective for a in (inversion, inversion.with_settings(all_layers=True)))
    assert not torch.equal(usual, full)


def test_the_label_agreement_is_recorded_for_each_restart_and_is_that_of_the_candidates():
    target = auditcli.load(resource("fixtures", "cnn-leaky", "model.safetensors"), device="cpu")
    found = run(inversion, target, Budget(51, 600, 20, 2), seed=0)
    labels = torch.arange(20) % 10
    for candidates, figure in zip(found.candidates, found.figures["label agreement"], strict=True):
        # It was measured before the pixels were cut at 0 and 1.
        assert agreement(target, candidates, labels) == pytest.approx(figure, abs=0.15)
    assert min(found.figures["label agreement"]) >= 0.3  # chance is 0.1


# ---- settings from outside ------------------------------------------------------------------------------------------


def test_settings_reach_the_attack_that_is_run():
    chosen = _chosen(["inversion"], {"inversion": {"kl": "0", "batch": "8", "all_layers": "true", "rate": "1e-3"}})
    settings = next(attack for attack in chosen if attack.name == "inversion").settings
    changed = {name: value for name, value in settings.items() if value != inversion.settings[name]}
    assert changed == {"kl": 0.0, "batch": 8, "all_layers": True, "rate": 0.001}
    assert all(type(settings[name]) is type(value) for name, value in inversion.settings.items())


@pytest.mark.parametrize(
    ("settings", "what", "hint"),
    [
        ({"kkt": {"share": 1}}, "kkt, which is not run", "--attack kkt"),
        ({"nothing": {"share": 1}}, "nothing, which is no attack", "privaudit attacks"),
        ({"inversion": {"kk": 1}}, "no setting kk", "it has kl, ce"),
        ({"inversion": {"kl": "much"}}, "inversion.kl is 'much', but takes a finite number", "inversion.kl=1.0"),
        ({"inversion": {"kl": "nan"}}, "finite number", "inversion.kl=1.0"),
        ({"inversion": {"kl": True}}, "finite number", "inversion.kl=1.0"),
        ({"inversion": {"batch": "2.5"}}, "whole number", "inversion.batch=20"),
        ({"inversion": {"batch": 2.5}}, "whole number", "inversion.batch=20"),
        ({"inversion": {"all_layers": 1}}, "true or false", "inversion.all_layers=false"),
    ],
)
def test_what_is_no_setting_is_refused_before_anything_runs(settings, what, hint):
    with pytest.raises(UsageError, match=what) as caught:
        _chosen(["inversion"], settings)
    assert hint in caught.value.hint


@pytest.mark.parametrize("setting", ["batch", "latent", "width"])
def test_a_setting_out_of_its_range_is_an_error_and_no_crash(setting):
    with pytest.raises(UsageError, match=setting):
        steps(inversion.with_settings(**{setting: 0}), 1)
