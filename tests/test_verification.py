"""Verification of images by their multipliers, shuffled targets that carry their span, attacks with other settings."""

from dataclasses import replace

import pytest
import torch
from tiny_targets import cnn_target, generator, smooth_images, stationary

from auditcli import weights
from auditcli.attacks import all_attacks
from auditcli.errors import AttackError, UsageError
from auditcli.verification import verify

(KKT,) = (attack for attack in all_attacks() if attack.name == "kkt")


@pytest.fixture(scope="module")
def kept():
    images = smooth_images(6, 12, 1)
    return images, torch.arange(6) % 2, stationary(images, seed=1)[1]


def nobody(images):
    return images[:0], torch.zeros(0, dtype=torch.int64)


def test_training_images_of_a_network_at_rest_are_verified(kept):
    images, labels, target = kept
    strangers = smooth_images(20, 12, 9), torch.arange(20) % 2
    assert all(verify(target, images, labels, *strangers).verified)


def test_other_images_are_not(kept):
    images, labels, target = kept
    others, of = smooth_images(40, 12, 5), torch.arange(40) % 2
    found = verify(target, torch.cat([images, others]), torch.cat([labels, of]), *nobody(images)).verified
    assert all(found[:6])
    assert not any(found[6:])


def test_a_single_image_can_be_verified(kept):
    images, labels, target = kept
    result = verify(target, images[:1], labels[:1], *nobody(images))
    assert result.verified == (True,)
    assert result.decoys == 64  # a single image has no mixtures


def test_leave_one_out_is_the_share_without_each(kept):
    images, labels, target = kept
    span = weights.span(target.dense)
    inputs = weights.flat_inputs(target.dense, target.profile.normalisation, images)

    def share(index):
        return weights.explained(target.dense, span, inputs[index], weights.Sides(labels[index], 2))

    losses = weights.leave_one_out(target.dense, span, inputs, weights.Sides(labels, 2))
    everyone = list(range(6))
    slow = [share(everyone) - share([j for j in everyone if j != i]) for i in everyone]
    assert losses.tolist() == pytest.approx(slow, abs=1e-6)


def test_a_shuffled_target_carries_the_span_that_it_would_have_found(kept):
    target = replace(kept[2], span=weights.span(kept[2].dense))
    copy = weights.shuffled_target(target, generator(3))
    anew = weights.span(copy.dense)
    assert torch.equal(copy.dense.weights[0], weights.shuffled(target.dense, generator(3)).weights[0])
    assert copy.span.rank == anew.rank
    assert torch.allclose(copy.span.image @ copy.span.basis.T, anew.image @ anew.basis.T, atol=1e-4)
    assert weights.shuffled_target(kept[2], generator(3)).span is None


def test_only_dense_targets():
    images = torch.rand(1, 1, 8, 8)
    with pytest.raises(AttackError, match="no dense network"):
        verify(cnn_target(), images, torch.tensor([0]), *nobody(images))
    with pytest.raises(ValueError, match="dense stack"):
        weights.shuffled_target(cnn_target(), generator())


def test_other_settings_are_recorded_and_used():
    other = KKT.with_settings(start=0.1)
    assert other.settings["start"] == 0.1
    assert {**other.settings, "start": KKT.settings["start"]} == KKT.settings
    seen = {}

    def steps(target, budget, rng, **settings):
        seen.update(settings)
        return iter(())

    list(replace(other, steps=steps).start(None, None, None))
    assert seen == other.settings
    with pytest.raises(UsageError, match="no setting beginning"):
        KKT.with_settings(beginning=1)
