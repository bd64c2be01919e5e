"""The garbage class: what it tells apart, what it leaves alone, and what it says where it had no time."""

import pytest
import torch
from tiny_targets import cnn_target, dense_stack, dense_target, generator, smooth_images, vit_target

from auditcli import novelty
from auditcli.errors import AttackError


def test_garbage_is_told_from_known_images():
    target = dense_target(dense_stack(144, 30, 4, seed=2), (1, 12, 12))
    known, fresh = smooth_images(80, 12), smooth_images(80, 12, seed=1)
    trash = novelty.garbage((1, 12, 12), generator(), n=60)[:60]
    detector = novelty.train(target, known, [trash], generator(), steps=300)
    assert detector.steps == 300
    noise = torch.rand(80, 1, 12, 12, generator=generator(9))
    assert (detector(noise)[:, None] > detector(fresh)).double().mean() > 0.9


def test_the_score_is_the_log_odds_of_the_last_class():
    target = dense_target(dense_stack(144, 30, 4, seed=2), (1, 12, 12))
    detector = novelty.train(target, smooth_images(20, 12), [torch.rand(20, 1, 12, 12)], generator(), steps=30)
    images = smooth_images(5, 12, seed=3)
    hidden = images.sub(0.3).div(0.5).flatten(1)
    hidden = detector.target.module[2](hidden).relu()
    logits = torch.cat([detector.target(images), detector.head(hidden)], dim=1)
    share = logits.double().softmax(dim=1)[:, -1]
    torch.testing.assert_close(detector(images).double(), (share / (1 - share)).log(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "target",
    [cnn_target(), vit_target(), dense_target(dense_stack(64, 9, 1))],
    ids=["cnn", "vit", "single logit"],
)
def test_the_target_stays_as_it_is(target):
    before = {name: value.clone() for name, value in target.module.state_dict().items()}
    detector = novelty.train(target, smooth_images(12, 8), [torch.rand(12, 1, 8, 8)], generator(), steps=30)
    assert detector(smooth_images(3, 8)).isfinite().all()
    assert all(torch.equal(value, before[name]) for name, value in target.module.state_dict().items())
    assert not any(value.requires_grad for value in target.module.parameters())


def test_one_seed_gives_one_detector():
    target, known = cnn_target(), smooth_images(12, 8)
    trash = [novelty.garbage((1, 8, 8), generator(1), n=5)]
    once, again = (novelty.train(target, known, trash, generator(2), steps=30)(known) for _ in range(2))
    assert torch.equal(once, again)


def test_no_time_is_said_and_not_hidden():
    known = smooth_images(12, 8)
    with pytest.raises(AttackError, match="after 1 of 150 steps"):
        novelty.train(cnn_target(), known, [known], generator(), deadline=0.0)


def test_garbage_is_pixels():
    made = novelty.garbage((3, 10, 8), generator(), n=4)
    assert made.shape == (8, 3, 10, 8)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
