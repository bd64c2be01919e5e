"""Evidence from the weights alone: what it takes, and what it does not rest on."""

from dataclasses import replace

import pytest
import torch
from tiny_targets import cnn_target, dense_stack, dense_target, generator, smooth_images, stationary

from auditcli import evidence, types
from auditcli.attacks import all_attacks, run
from auditcli.effort import Effort
from auditcli.errors import AttackError
from auditcli.evidence import EXPLAINED
from auditcli.scoring.agreement import agreement
from auditcli.types import Evidence, Reconstruction, StopReason
from auditcli.weights import shuffled

(KKT,) = (attack for attack in all_attacks() if attack.name == "kkt")
EFFORT = Effort(steps=60, candidates=12, restarts=2, shuffles=4, shuffle_steps=40)


def weighed(target, seconds=60.0, seed=0, effort=EFFORT, **options):
    found = run(KKT, target, effort.budget(60), seed=seed)
    return found, evidence.weigh(KKT, target, found, effort, seconds=seconds, seed=seed, **options)


@pytest.fixture(scope="module")
def leaky():
    return stationary(smooth_images(6, 12, 1), seed=1)[1]


def test_it_counts_what_it_says(leaky):
    found, result = weighed(leaky)
    assert result.attack == "kkt"
    assert result.agreement == pytest.approx(agreement(found.candidates)[0].tolist())
    assert 0 <= result.explained <= 1
    assert len(result.shuffled_explained) == EFFORT.shuffles
    assert len(result.shuffled_reproduced) == (result.explained >= EXPLAINED)
    own = result.test.statistic
    beaten_by = sum(value >= own for value in result.shuffled_explained)
    assert result.test.p_value == (1 + beaten_by) / (EFFORT.shuffles + 1)


def test_the_tie_between_the_layers_shows(leaky):
    _, result = weighed(leaky)
    assert result.test.statistic > max(result.shuffled_explained)
    # Four shuffles cannot reach 5%, however clear they are.
    assert result.test.p_value == 0.2
    assert not result.significant


def test_the_same_seed_gives_the_same_evidence(leaky):
    one, again, other = (weighed(leaky, seed=seed)[1] for seed in (0, 0, 1))
    assert one == again
    assert one.shuffled_explained != other.shuffled_explained


def test_where_time_runs_out_there_is_no_test(leaky):
    _, result = weighed(leaky, seconds=0.0)
    assert result.test is None
    assert result.shuffled_reproduced == ()
    assert len(result.shuffled_explained) < EFFORT.shuffles
    assert not result.significant


def test_random_weights_are_not_significant():
    effort = replace(EFFORT, shuffles=19, shuffle_steps=10)
    _, result = weighed(dense_target(dense_stack(64, 24, 3, seed=4)), effort=effort)
    assert result.test is not None
    assert not result.significant


def test_already_shuffled_weights_are_one_shuffle_of_many(leaky):
    """A permuted layer is no more than any other permutation of it: the test must not see a tie that is cut."""
    p_values = []
    for seed in range(6):
        dense = shuffled(leaky.dense, generator(100 + seed))
        found = run(KKT, replace(leaky, dense=dense), replace(EFFORT, steps=2).budget(60), seed=seed)
        effort = replace(EFFORT, steps=2, shuffles=9, shuffle_steps=15)
        target = replace(leaky, dense=dense)
        p_values.append(evidence.weigh(KKT, target, found, effort, seconds=60, seed=seed).test.p_value)
    assert max(p_values) > 0.3
    assert sum(p_values) / len(p_values) > 0.25


EVERYTHING = Evidence(
    attack="kkt",
    agreement=(0.95, 0.97),
    reproduced=2,
    threshold=evidence.AGREEMENT,
    explained=0.9,
    shuffled_reproduced=(1,),
    shuffled_explained=(0.1,) * 19,
    test=types.Test("permutation", 0.9, 0.05),
    significant=False,
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "significant"),
        ({"explained": evidence.EXPLAINED}, "significant"),
        ({"explained": evidence.EXPLAINED - 1e-6}, "nothing"),
        ({"test": types.Test("permutation", 0.9, 0.0501)}, "nothing"),
        ({"test": None}, "nothing"),
        ({"reproduced": 1}, "unclear"),
        ({"shuffled_reproduced": (2,)}, "unclear"),
        ({"directions": 6}, "significant"),
        ({"directions": 7}, "unclear"),
        ({"directions": 7, "explained": evidence.EXPLAINED - 1e-6}, "nothing"),
    ],
)
def test_three_things_must_come_together(change, expected):
    decided = evidence._decided(replace(EVERYTHING, **change))
    assert (decided.significant, decided.unclear) == (expected == "significant", expected == "unclear")


def test_a_target_that_is_not_dense_leaves_nothing_to_weigh():
    found = Reconstruction("kkt", torch.rand(2, 3, 1, 8, 8), (1.0, 1.0), (), 1, 0.0, StopReason.STEPS)
    with pytest.raises(AttackError, match="no dense network"):
        evidence.weigh(KKT, cnn_target(), found, EFFORT, seconds=1, seed=0)


@pytest.mark.parametrize("call", [1, 2, 5])
def test_ctrl_c_ends_it_all_and_not_one_run_of_many(leaky, call):
    count = [0]

    def watch(progress):
        count[0] += 1
        if count[0] == call:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weighed(leaky, watch=watch)
    assert count[0] == call
