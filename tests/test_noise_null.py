"""Nothing is found where nothing leaks: the noise attack against members and controls drawn from one pool."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from tiny_targets import dense_stack, dense_target

from auditcli.attacks import all_attacks, run
from auditcli.scoring.calibration import rank_p_values
from auditcli.scoring.significance import recovery
from auditcli.scoring.ssim import pairwise_ssim
from auditcli.types import Budget

(NOISE,) = (attack for attack in all_attacks() if attack.negative_control)
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
BUDGET = Budget(steps=1, seconds=60, candidates=6, restarts=1)
SEEDS = 300
MEMBERS, CONTROLS = 15, 45


def pool():
    with np.load(FIXTURES / "controls.npz", allow_pickle=False) as archive:
        images = torch.from_numpy(archive["images"]).float() / 255
    return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)


def splits(seeds, change=lambda members: members):
    """Best similarities of members and of controls, drawn at random anew for every seed."""
    images, target = pool(), dense_target(dense_stack(784, 2, 2), (1, 28, 28))
    for seed in range(seeds):
        drawn = np.random.default_rng(seed).permutation(len(images))[: MEMBERS + CONTROLS]
        candidates = run(NOISE, target, BUDGET, seed=seed).candidates[0]
        sample = torch.cat([change(images[drawn[:MEMBERS]]), images[drawn[MEMBERS:]]])
        best = pairwise_ssim(candidates, sample).amax(dim=0).double().tolist()
        yield best[:MEMBERS], best[MEMBERS:], seed


@pytest.fixture(scope="module")
def null():
    return list(splits(SEEDS))


def too_small(p_values):
    """Evidence that p-values are smaller than they may be: that of uniform ones, one-sided."""
    return kstest(p_values, "uniform", alternative="greater").pvalue


def test_the_recovery_test_raises_no_more_alarms_than_it_may(null):
    p_values = np.array([recovery(members, controls, seed=seed).p_value for members, controls, seed in null])
    assert too_small(p_values) > 0.01
    for level in (0.01, 0.05, 0.1, 0.2):
        assert (p_values <= level).mean() <= level + 3 * (level * (1 - level) / SEEDS) ** 0.5
    # It is not that the test never says anything: half of its doubled p-values are below 1, spread out.
    assert (p_values < 0.9).mean() > 0.2


def test_the_rank_of_a_single_image_is_as_it_may_be(null):
    # One member a seed, since the ranks of one seed share their controls.
    p_values = [rank_p_values(members, controls)[0] for members, controls, _ in null]
    assert too_small(p_values) > 0.01
    assert kstest(np.array(p_values), "uniform").pvalue > 0.001


def test_members_that_differ_in_kind_are_noticed():
    """The other side of the same coin: half as much contrast, and the negative control fails as it should."""
    flat = splits(40, lambda members: 0.25 * members + 0.375)
    p_values = [recovery(members, controls, seed=seed).p_value for members, controls, seed in flat]
    assert np.median(p_values) < 0.001
    assert too_small(p_values) < 1e-6
