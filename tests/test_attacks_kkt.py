"""The KKT attack against a slow version of its objective, and on a layer that is exactly the sum it looks for."""

from itertools import islice

import pytest
import torch
from scipy.stats import mannwhitneyu
from tiny_targets import dense_stack, dense_target, forward, generator, smooth_images, stationary

from auditcli.attacks import all_attacks, run
from auditcli.attacks._choice import ALTERNATIVES, LENGTH, merit
from auditcli.errors import AttackError
from auditcli.scoring.matching import similarity
from auditcli.types import Budget
from auditcli.weights import Sides, span

(KKT,) = (attack for attack in all_attacks() if attack.name == "kkt")


def slow_objective(dense, images, multipliers, settings, mean=0.3, std=0.5, start=None):
    """The first term of the docstring of `kkt` for one restart, candidate by candidate, in float64.

    `start` (n,) are the multipliers of the candidates that are scaled to a share of the layer; ones unless given.
    """
    start = torch.ones(len(images)) if start is None else start
    outputs = len(dense.weights[-1])
    found = span(dense, at_least=2 * max(2, outputs))
    basis, values = found.basis.double(), found.values.double()
    layer = torch.cat([dense.weights[0], dense.biases[0][:, None]], dim=1).double()
    upper = type(dense)(
        tuple(w.double() for w in dense.weights), tuple(b.double() for b in dense.biases), dense.activation
    )
    labels = Sides.balanced(len(images), max(2, outputs)).labels.tolist()
    terms = []
    for image, label in zip(images.double(), labels, strict=True):
        extended = torch.cat([(image.flatten() - mean) / std, torch.ones(1).double()])
        first = (layer @ basis @ basis.T @ extended).requires_grad_()
        logits = forward(upper, first[None])[0]
        if outputs == 1:
            margin = logits[0] * (2 * label - 1)
        else:
            wrong = torch.tensor([j for j in range(outputs) if j != label])
            margin = logits[label] - (logits[wrong].softmax(0).detach() * logits[wrong]).sum()
        (delta,) = torch.autograd.grad(margin, first)
        terms.append(torch.outer(delta, extended) @ basis)
    target = layer @ basis
    started = sum(weight * term for weight, term in zip(start.double(), terms, strict=True))
    unit = settings["share"] * target.norm() / started.norm()
    residual = target.clone()
    for term, multiplier in zip(terms, multipliers.double(), strict=True):
        residual -= unit * multiplier * term
    weight = values ** -settings["exponent"]
    return float((residual * weight).square().sum() / (target * weight).square().sum())


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_first_objective_equals_the_slow_version(outputs):
    # A smooth activation, for which the smoothed step of a ReLU plays no part.
    dense = dense_stack(64, 20, 15, outputs, activation="gelu")
    n = 2 * 2 * max(2, outputs)
    budget = Budget(steps=10, seconds=60, candidates=n, restarts=3)
    steps = KKT.steps(dense_target(dense), budget, generator(5), share=0.5)
    step = next(steps)
    rng = generator(5)
    torch.randn(3, n, 64, generator=rng)
    multipliers = torch.rand(3, n, generator=rng) + 0.5
    settings = {**KKT.settings, "share": 0.5}
    slow = [slow_objective(dense, step.candidates[r], multipliers[r], settings) for r in range(3)]
    assert step.objective.tolist() == pytest.approx(slow, rel=1e-4)
    assert max(abs(value - 1) for value in slow) > 0.01
    assert len(set(slow)) == 3


def test_the_signed_form_is_that_of_the_output_with_free_multipliers():
    dense = dense_stack(64, 20, 15, 1, activation="gelu")
    budget = Budget(steps=10, seconds=60, candidates=8, restarts=1)
    settings = {**KKT.settings, "share": 0.5}
    step = next(KKT.steps(dense_target(dense), budget, generator(5), share=0.5, signed=True))
    rng = generator(5)
    torch.randn(1, 8, 64, generator=rng)
    multipliers = torch.randn(1, 8, generator=rng)[0]
    assert min(multipliers) < 0 < max(multipliers)
    # The slow version takes the labels in turn; a label of 0 turns the sign of its multiplier.
    signs = 2.0 * Sides.balanced(8, 2).labels - 1
    assert step.objective.tolist() == pytest.approx(
        [slow_objective(dense, step.candidates[0], signs * multipliers, settings, start=signs)], rel=1e-4
    )


def test_the_signed_form_is_for_one_output():
    with pytest.raises(AttackError, match="one output; this one has 3"):
        run(KKT.with_settings(signed=True), dense_target(dense_stack(64, 8, 3)), Budget(3, 60, 4, 1), seed=0)


def test_at_most_two_candidates_a_direction_of_the_span_are_guessed():
    dense, target = stationary(smooth_images(6, 12, 1), seed=1)
    assert span(dense).rank == 6
    (step,) = islice(KKT.start(target, Budget(5, 60, 100, 1), generator()), 1)
    assert step.candidates.shape == (1, 12, 1, 12, 12)
    (step,) = islice(KKT.start(target, Budget(5, 60, 7, 1), generator()), 1)
    assert step.candidates.shape == (1, 7, 1, 12, 12)


@pytest.fixture(scope="module")
def recovery():
    images = smooth_images(6, 12, 1)
    _, target = stationary(images, seed=1)
    return images, run(KKT, target, Budget(steps=400, seconds=300, candidates=24, restarts=2), seed=0)


def test_the_objective_falls(recovery):
    _, found = recovery
    values = [value for _, value in found.trace]
    assert values[0] == pytest.approx(1, abs=0.01)
    assert max(found.objective) < 0.3
    assert values == sorted(values, reverse=True)


def test_planted_images_are_recovered(recovery):
    images, found = recovery
    candidates = found.candidates.flatten(0, 1)
    near = similarity(candidates, images).best
    far = similarity(candidates, smooth_images(60, 12, 51)).best
    assert max(near) > 0.9 > max(far)
    assert sum(score > max(far) for score in near) >= 2
    assert mannwhitneyu(near, far, alternative="greater").pvalue < 0.05


def test_a_choice_is_made_by_trials_that_never_take_the_place_of_the_run():
    _, target = stationary(smooth_images(6, 12, 1), seed=1)
    budget = Budget(steps=100, seconds=60, candidates=12, restarts=2)
    steps = list(KKT.start(target, budget, generator()))
    tried = list(KKT.with_settings(choose=True).start(target, budget, generator()))
    trials = round(LENGTH * budget.steps) * len(ALTERNATIVES)
    assert len(tried) == len(steps) == budget.steps
    torch.testing.assert_close(tried[0].objective, 1 + steps[0].objective)
    torch.testing.assert_close(tried[trials].objective, steps[0].objective)
    assert all(step.objective.min() > tried[-1].objective.max() for step in tried[:trials])
    few = KKT.with_settings(choose=True).start(target, Budget(3, 60, 12, 1), generator())
    assert len(list(few)) == 3


def test_merit_wants_both_an_explained_layer_and_restarts_that_agree():
    images = torch.rand(4, 30, generator=generator(1))
    others = torch.rand(4, 30, generator=generator(2))
    share = torch.tensor([0.6, 0.8])
    assert merit(share, torch.stack([images, images.flip(0)])) == pytest.approx(0.7)
    # Brightness and contrast are no matter; which images they are is.
    assert merit(share, torch.stack([images, 0.3 * images + 0.2])) == pytest.approx(0.7)
    apart = merit(share, torch.stack([images, others]))
    cosines = torch.corrcoef(torch.cat([images, others]))[:4, 4:]
    assert apart == pytest.approx(0.7 * float((cosines.amax(0).mean() + cosines.amax(1).mean()) / 2), rel=1e-4)
    assert merit(share[:1], images[None]) == pytest.approx(0.6)
    assert merit(-share, torch.stack([images, images])) == 0


@pytest.mark.parametrize("guesses", [0.0, 0.5, 3.0])
def test_candidates_are_as_many_for_each_direction_as_asked(guesses):
    _, target = stationary(smooth_images(6, 12, 1), seed=1)
    (step,) = islice(KKT.with_settings(guesses=guesses).start(target, Budget(5, 60, 100, 1), generator()), 1)
    assert step.candidates.shape[1] == max(1, round(6 * guesses))


def test_a_dense_target_without_its_stack_is_our_bug():
    from dataclasses import replace

    target = replace(dense_target(dense_stack(64, 8, 3)), dense=None)
    with pytest.raises(TypeError, match="no dense stack"):
        next(KKT.start(target, Budget(1, 1, 1, 1), generator()))
