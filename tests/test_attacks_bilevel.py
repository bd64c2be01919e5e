"""The bilevel attack on a layer that is exactly the sum it looks for.

Its mathematics is tested in `test_weights_stationarity.py`.
"""

from functools import partial
from itertools import islice

import pytest
import torch
from tiny_targets import dense_stack, dense_target, generator, smooth_images, stationary

from auditcli.attacks import all_attacks, run
from auditcli.attacks.bilevel import soft_pull
from auditcli.scoring.matching import similarity
from auditcli.types import Budget
from auditcli.weights import Lower, Sides, backward, flat_inputs, margin_pull, span, terms

(BILEVEL,) = (attack for attack in all_attacks() if attack.name == "bilevel")


@pytest.fixture(scope="module")
def rested():
    images = smooth_images(6, 12, 1)
    return images, stationary(images, seed=1)[1]


@pytest.fixture(scope="module")
def recovery(rested):
    images, target = rested
    return images, run(BILEVEL, target, Budget(steps=300, seconds=600, candidates=24, restarts=2), seed=0)


def test_the_objective_falls(recovery):
    _, found = recovery
    values = [value for _, value in found.trace]
    assert values[0] > 0.9
    assert max(found.objective) < 0.3
    assert values == sorted(values, reverse=True)


def test_planted_images_are_recovered(recovery):
    images, found = recovery
    candidates = found.candidates.flatten(0, 1)
    near = similarity(candidates, images).best
    far = similarity(candidates, smooth_images(60, 12, 51)).best
    assert max(near) > max(far)
    assert sum(near) / len(near) > sum(far) / len(far)


def test_the_objective_is_that_of_its_own_candidates(rested):
    _, target = rested
    weights = span(target.dense, at_least=4)
    n = 12
    (step,) = islice(BILEVEL.start(target, Budget(10, 60, n, 1), generator(2)), 1)
    inputs = flat_inputs(target.dense, target.profile.normalisation, step.candidates[0])
    coordinates = weights.coordinates(inputs)
    pull = partial(margin_pull, sides=Sides.balanced(n, 2))
    passed = backward(target.dense, coordinates @ weights.image.T, pull, sharpness=20.0)
    found = terms(target.dense, weights, coordinates, passed, exponent=0.6, upper=0.0, restarts=1)
    multipliers, _ = Lower(BILEVEL.settings["ridge"], BILEVEL.settings["evenness"]).solve(found)
    assert float(step.objective) == pytest.approx(float(found.scaled(multipliers)), rel=1e-4)


def test_at_the_truth_the_objective_is_near_zero_and_at_strangers_it_is_not(rested):
    images, target = rested
    exact = BILEVEL.with_settings(evenness=0.0, ridge=1e-6)
    # The i-th image of the layer is of class i modulo 2, as the i-th candidate is.
    values = []
    for begun in (images, smooth_images(6, 12, 51)):
        (step,) = islice(exact.start(target, Budget(10, 60, 6, 1), generator(), begun), 1)
        values.append(float(step.objective))
    assert values[0] < 0.01
    assert values[1] > 0.3


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_label_that_is_sure_pulls_as_the_margin_does(outputs):
    logits = torch.randn(7, outputs, generator=generator(4), dtype=torch.float64)
    sides = Sides.balanced(7, max(2, outputs))
    labels = 40.0 * torch.nn.functional.one_hot(sides.labels, sides.classes).double()
    soft, hard = soft_pull(logits, labels), margin_pull(logits, sides)
    torch.testing.assert_close(soft / soft.norm(dim=1, keepdim=True), hard / hard.norm(dim=1, keepdim=True))


def last(attack, target, steps=6):
    *_, step = islice(attack.start(target, Budget(steps, 60, 6, 2), generator()), steps)
    return step


def test_soft_labels_are_learnt():
    target = dense_target(dense_stack(64, 24, 3))
    fixed, soft = last(BILEVEL, target), last(BILEVEL.with_settings(label_rate=0.1), target)
    assert not torch.equal(fixed.candidates, soft.candidates)
    assert (soft.objective <= 1).all()


def test_the_layers_above_count_where_they_are_given_weight():
    target = dense_target(dense_stack(64, 24, 3))
    whole = last(BILEVEL.with_settings(upper=1.0), target)
    assert not torch.equal(whole.candidates, last(BILEVEL, target).candidates)


def test_a_dense_target_without_its_stack_is_our_bug():
    from dataclasses import replace

    target = replace(dense_target(dense_stack(64, 8, 3)), dense=None)
    with pytest.raises(TypeError, match="no dense stack"):
        next(BILEVEL.start(target, Budget(1, 1, 1, 1), generator()))
