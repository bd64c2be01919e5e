"""What every membership signal promises, found by itself, and the shipped ones against their definitions."""

import inspect
import re
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_targets import cnn_target, dense_stack, dense_target, generator, headed_target, smooth_images, stationary

from auditcli.errors import AttackError
from auditcli.families import rebuilt
from auditcli.membership import Query, all_signals
from auditcli.outcomes import measure
from auditcli.training import fresh
from auditcli.types import DenseStack, Sample, Shadows
from auditcli.weights import span

SIGNALS = all_signals()
BY_NAME = {signal.name: signal for signal in SIGNALS}
CPU = torch.device("cpu")


def leaky(classes):
    """A perceptron with two directions that stand above the noise of its first layer."""
    dense = dense_stack(144, 100, classes, seed=classes)
    rng = generator(1)
    directions = torch.randn(100, 2, generator=rng) @ torch.randn(2, 144, generator=rng)
    return DenseStack((dense.weights[0] + directions, *dense.weights[1:]), dense.biases, dense.activation)


TARGETS = {
    "several classes": dense_target(leaky(4), (1, 12, 12)),
    "one logit": dense_target(leaky(1), (1, 12, 12)),
    "batch norm": cnn_target(4),
    "head": headed_target(leaky(4)),
}
PAIRS = [
    pytest.param(signal, target, id=f"{signal.name}, {name}")
    for signal in SIGNALS
    for name, target in TARGETS.items()
    if not signal.missing(target.profile)
]
EACH = pytest.mark.parametrize("signal", SIGNALS, ids=[signal.name for signal in SIGNALS])
LABELLED = pytest.mark.parametrize("labelled", [True, False], ids=["labels", "no labels"])


def images_of(target, n=9, seed=0):
    return smooth_images(n, target.profile.input_shape[1], seed)


def labels_of(target, n=9):
    return torch.arange(n) % target.profile.classes


def ask(signal, target, images, labels=None):
    shadows = shadows_of(target) if signal.shadows else None
    return signal.scores(Query(target=target, images=images, labels=labels, shadows=shadows))


def shadows_of(target):
    """Three networks that learnt nothing, said to have seen halves of a population."""
    population = as_sample(images_of(target, 12, seed=5), labels_of(target, 12))
    seen = torch.stack([torch.arange(12) % 3 == number for number in range(3)])
    return Shadows(tuple(rebuilt(target, fresh(target, number)) for number in range(3)), population, seen)


def as_sample(images, labels=None):
    names = tuple(str(index) for index in range(len(images)))
    return Sample(images=images, ids=names, hashes=names, labels=labels, sha256="")


# ---- every signal ---------------------------------------------------------------------------------------------------


@EACH
def test_it_applies_to_some_target_here(signal):
    assert any(not signal.missing(target.profile) for target in TARGETS.values())


@LABELLED
@pytest.mark.parametrize(("signal", "target"), PAIRS)
def test_one_finite_score_an_image_and_always_the_same(signal, target, labelled):
    images, labels = images_of(target), labels_of(target) if labelled else None
    scores = ask(signal, target, images, labels)
    assert scores.shape == (9,)
    assert scores.isfinite().all()
    assert not scores.requires_grad
    assert len(scores.unique()) > 1
    assert torch.equal(scores, ask(signal, target, images, labels))


@LABELLED
@pytest.mark.parametrize(("signal", "target"), PAIRS)
def test_a_score_does_not_depend_on_where_the_image_stands(signal, target, labelled):
    images, labels = images_of(target, 300), labels_of(target, 300) if labelled else None
    scores = ask(signal, target, images, labels)
    order = torch.randperm(300, generator=generator(1))
    moved = ask(signal, target, images[order], None if labels is None else labels[order])
    torch.testing.assert_close(moved, scores[order], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("signal", "target"), PAIRS)
def test_target_images_and_random_state_stay_as_they_were(signal, target):
    images, state = images_of(target), torch.get_rng_state()
    before = {name: value.clone() for name, value in target.module.state_dict().items()}
    copy = images.clone()
    ask(signal, target, images, labels_of(target))
    assert torch.equal(images, copy)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in target.module.state_dict().items())
    assert all(parameter.grad is None for parameter in target.module.parameters())


@EACH
def test_it_is_documented(signal):
    text = inspect.getdoc(signal.scores)
    for part in ("Args", "Returns", "Reference"):
        assert f"\n\n{part}:\n" in text
    for name in inspect.signature(signal.scores).parameters:
        assert re.search(rf"^    {name}: \S", text, re.MULTILINE)
    assert signal.paper
    assert signal.name == signal.scores.__name__
    assert 20 < len(signal.summary) <= 100
    assert "\n" not in signal.summary


@EACH
@pytest.mark.parametrize("name", TARGETS)
def test_what_it_needs_and_does_not_get_is_a_reason_to_skip_it(signal, name):
    target = TARGETS[name]
    near, far = as_sample(images_of(target)), as_sample(images_of(target, seed=1))
    shadows = shadows_of(target) if signal.shadows else None
    outcome = measure(signal, target, near, far, CPU, seed=0, shadows=shadows)
    missing = signal.requires - target.profile.traits
    assert (outcome.status == "skipped") is bool(missing)
    assert (outcome.finding is None) is bool(missing)
    assert all(trait.value in outcome.reason for trait in missing)


@pytest.mark.parametrize(
    ("members", "controls", "named"),
    [(False, True, "no members"), (True, False, "no controls"), (False, False, "no members and controls")],
)
def test_without_both_samples_it_is_skipped_and_says_which_is_missing(members, controls, named):
    target = TARGETS["several classes"]
    given_samples = [as_sample(images_of(target)) if wanted else None for wanted in (members, controls)]
    outcome = measure(BY_NAME["confidence"], target, *given_samples, CPU, seed=0)
    assert outcome.status == "skipped"
    assert named in outcome.reason


def test_labels_are_used_only_where_both_samples_have_them():
    target = TARGETS["several classes"]
    near, far = images_of(target, 20), images_of(target, 20, seed=1)
    wrong = (target(near).argmin(1), target(far).argmax(1))
    found = [
        measure(BY_NAME["confidence"], target, as_sample(near, a), as_sample(far, b), CPU, seed=0).finding.auc.value
        for a, b in ((None, None), (wrong[0], None), (None, wrong[1]), wrong)
    ]
    assert found[0] == found[1] == found[2]
    assert found[3] == 0 < found[0]


# ---- confidence -----------------------------------------------------------------------------------------------------


class _Table(torch.nn.Module):
    """Gives the image with number i the logits of row i: the single pixel holds i."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return self.logits[images.flatten(1)[:, 0].long()]


def confidence_of(logits, labels):
    from dataclasses import replace

    target = replace(TARGETS["several classes"], module=_Table(logits), dense=None)
    numbers = torch.arange(len(logits), dtype=torch.float32)[:, None, None, None]
    return ask(BY_NAME["confidence"], target, numbers, labels)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 6), st.sampled_from([0.1, 1.0, 5.0]))
def test_it_orders_images_as_the_loss_does(seed, classes, scale):
    logits = torch.randn(12, classes, generator=generator(seed)).double() * scale
    labels = torch.randint(classes, (12,), generator=generator(seed + 1))
    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    scores = confidence_of(logits, labels)
    assert scores.argsort(descending=True).tolist() == loss.argsort().tolist()
    probability = torch.exp(-loss)
    torch.testing.assert_close(scores, torch.log(probability / (1 - probability)), rtol=1e-6, atol=1e-6)


def test_it_tells_certain_images_apart_where_the_loss_has_run_out_of_digits():
    logits = torch.tensor([[200.0, 0.0], [300.0, 0.0]])
    loss = torch.nn.functional.cross_entropy(logits, torch.zeros(2).long(), reduction="none")
    assert loss.tolist() == [0, 0]
    assert confidence_of(logits, torch.zeros(2).long()).tolist() == [200, 300]


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 1, 1, 0, 1])])
def test_a_single_logit_is_two_of_which_the_first_is_zero(labels):
    single = torch.tensor([[-3.0], [2.0], [-0.5], [0.25], [9.0]])
    double = torch.cat([torch.zeros_like(single), single], dim=1)
    torch.testing.assert_close(confidence_of(single, labels), confidence_of(double, labels))
    if labels is not None:
        torch.testing.assert_close(confidence_of(single, labels), single[:, 0] * (2.0 * labels - 1))


def test_without_labels_the_prediction_stands_for_them():
    logits = torch.randn(20, 5, generator=generator(3))
    assert torch.equal(confidence_of(logits, None), confidence_of(logits, logits.argmax(1)))
    assert not torch.equal(confidence_of(logits, None), confidence_of(logits, logits.argmin(1)))


# ---- span -----------------------------------------------------------------------------------------------------------


def test_span_is_what_projecting_leaves():
    target = TARGETS["several classes"]
    images = images_of(target, 20)
    matrix = torch.cat([target.dense.weights[0], target.dense.biases[0][:, None]], dim=1).double().numpy()
    rank = span(target.dense).rank
    assert rank == 2
    rows = np.linalg.svd(matrix)[2][:rank]
    extended = np.concatenate([((images - 0.3) / 0.5).flatten(1).double().numpy(), np.ones((20, 1))], axis=1)
    outside = extended - extended @ rows.T @ rows
    expected = [-log(a @ a / (b @ b)) for a, b in zip(outside, extended, strict=True)]
    np.testing.assert_allclose(ask(BY_NAME["span"], target, images, None), expected, rtol=1e-3, atol=1e-5)


def test_span_finds_the_images_a_layer_is_the_sum_of():
    members = smooth_images(6, 12, 1)
    _, target = stationary(members, seed=1)
    near, far = (ask(BY_NAME["span"], target, images, None) for images in (members, smooth_images(50, 12, 9)))
    assert near.min() > far.max()


def test_an_untrained_layer_has_no_span_and_the_signal_fails_for_that_reason():
    target = dense_target(dense_stack(144, 100, 4), (1, 12, 12))
    with pytest.raises(AttackError, match="no singular value"):
        ask(BY_NAME["span"], target, images_of(target), None)
    outcome = measure(BY_NAME["span"], target, as_sample(images_of(target)), as_sample(images_of(target)), CPU, seed=0)
    assert outcome.status == "failed"
    assert "above the noise" in outcome.reason


# ---- heads ----------------------------------------------------------------------------------------------------------


def trained_head(members, labels, decay=0.0):
    """A head on a fixed convolution, trained on the features of these images to rest, or nearly."""
    target = headed_target(dense_stack(144, 100, 4, seed=2))
    features, head = target.head.features(members), target.head.dense
    parameters = [
        tensor.clone().requires_grad_() for pair in zip(head.weights, head.biases, strict=True) for tensor in pair
    ]
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=decay)
    for _ in range(600):
        first = torch.nn.functional.linear(features, parameters[0], parameters[1]).relu()
        loss = torch.nn.functional.cross_entropy(torch.nn.functional.linear(first, *parameters[2:]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trained = [parameter.detach() for parameter in parameters]
    return headed_target(DenseStack(tuple(trained[::2]), tuple(trained[1::2]), "relu"))


@pytest.mark.parametrize(
    ("name", "decay"), [("head_span", 0.02), ("head_multipliers", 0.0), ("head_multipliers", 0.02)]
)
def test_signals_on_heads_tell_what_a_head_was_trained_on(name, decay):
    members, others = smooth_images(20, 12, 1), smooth_images(200, 12, 9)
    labels = torch.arange(220) % 4
    images = torch.cat([members, others])
    scores = ask(BY_NAME[name], trained_head(members, labels[:20], decay), images, labels)
    area = (scores[:20, None] > scores[None, 20:]).float().mean()
    assert area > 0.8


@pytest.mark.parametrize("name", ["head_span", "head_multipliers"])
def test_signals_on_heads_tell_nothing_of_another_head(name):
    labels = torch.arange(220) % 4
    target = trained_head(smooth_images(20, 12, 5), labels[:20], 0.02)
    scores = ask(BY_NAME[name], target, smooth_images(220, 12, 9), labels)
    area = (scores[:20, None] > scores[None, 20:]).float().mean()
    assert 0.3 < area < 0.7


def test_an_untrained_head_or_a_single_layer_has_no_span():
    for widths, why in (((144, 100, 4), "no singular value"), ((144, 4), "one layer of 4 rows")):
        target = headed_target(dense_stack(*widths))
        with pytest.raises(AttackError, match=why):
            ask(BY_NAME["head_span"], target, images_of(target), None)
