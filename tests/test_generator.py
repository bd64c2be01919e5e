"""Conditions, the generator's layers, and its training."""

from dataclasses import fields
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_generator_losses import TARGETS
from tiny_targets import cnn_target, generator

import auditcli
from auditcli import generator as inverse
from auditcli.errors import UsageError
from auditcli.resources import resource

TERMS = [field.name for field in fields(inverse.Weights)]
NONE = dict.fromkeys(TERMS, 0.0)


# ---- conditions -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(2, 12), st.integers(0, 50), st.integers(0, 9))
def test_conditions_are_distributions_with_their_argmax_at_the_label(n, classes, first, seed):
    conditions = inverse.Conditions.draw(n, classes, generator(seed), first=first)
    assert conditions.vectors.shape == (n, classes)
    assert conditions.vectors.sum(1) == pytest.approx(torch.ones(n), abs=1e-5)
    assert torch.equal(conditions.vectors.argmax(1), conditions.labels)
    assert conditions.labels.tolist() == [(first + i) % classes for i in range(n)]
    assert len(conditions) == n
    assert conditions.classes == classes


def test_a_balanced_vector_has_the_distribution_of_a_gaussian_with_its_argmax_there():
    balanced = inverse.Conditions.of(torch.ones(20_000, dtype=torch.int64), 3, generator(), spread=2.0).vectors
    free = (torch.randn(60_000, 3, generator=generator(1)) * 2).softmax(1)
    kept = free[free.argmax(1) == 1]
    for q in (0.1, 0.5, 0.9):
        assert balanced.quantile(q, dim=0) == pytest.approx(kept.quantile(q, dim=0), abs=0.02)


def test_the_spread_makes_conditions_certain():
    certain = [inverse.Conditions.draw(500, 10, generator(), spread=s).vectors.amax(1).mean() for s in (1, 3, 6)]
    assert certain[0] < 0.4 < 0.6 < certain[1] < certain[2]


def test_hot_matrices_have_the_row_and_the_column_of_the_class():
    matrices = inverse.Conditions.draw(5, 5, generator()).matrices((5, 5))
    assert matrices.shape == (5, 1, 5, 5)
    for label, matrix in enumerate(matrices[:, 0].tolist()):
        assert matrix == [[float(label in (row, column)) for column in range(5)] for row in range(5)]


@pytest.mark.parametrize("size", [(3, 4), (14, 20)])
def test_hot_matrices_of_another_size_still_have_one_row_and_one_column_set(size):
    matrices = inverse.Conditions.draw(10, 10, generator()).matrices(size)[:, 0]
    assert matrices.shape == (10, *size)
    assert torch.equal(matrices.sum((1, 2)), torch.full((10,), float(sum(size) - 1)))


# ---- layers ---------------------------------------------------------------------------------------------------------


SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 9, 13), (2, 20, 70), (1, 1, 7), (1, 10, 10)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_any_shape_and_any_number_of_classes(shape, classes):
    net = inverse.build(shape, classes, generator(), width=4)
    images = inverse.sample(net, inverse.Conditions.draw(3, classes, generator()), generator())
    assert images.shape == (3, *shape)
    assert images.min() >= 0
    assert images.max() <= 1
    assert not images.requires_grad
    met = (classes, classes) if classes <= min(shape[1:]) else tuple(-(-side // 2) for side in shape[1:])
    assert net.sizes[net.meeting] == met


def test_the_conditions_and_the_noise_and_the_dropout_all_count():
    net = inverse.build((1, 8, 8), 3, generator(), dropout=0.5)
    conditions = [inverse.Conditions.of([label], 3, generator(4)) for label in (0, 1)]
    noise = [torch.randn(1, net.latent, generator=generator(seed)) for seed in (5, 6)]
    with torch.no_grad():
        one = net(noise[0], conditions[0], generator(7))
        assert torch.equal(one, net(noise[0], conditions[0], generator(7)))
        for other in ((noise[0], conditions[1], 7), (noise[1], conditions[0], 7), (noise[0], conditions[0], 8)):
            assert not torch.equal(one, net(other[0], other[1], generator(other[2])))


def test_the_matrix_alone_counts():
    net = inverse.build((1, 8, 8), 3, generator())
    vectors = torch.full((1, 3), 1 / 3)
    noise = torch.zeros(1, net.latent)
    with torch.no_grad():
        one, other = (net(noise, inverse.Conditions(vectors, torch.tensor([y])), generator()) for y in (0, 1))
    assert not torch.equal(one, other)


def test_an_image_does_not_depend_on_the_others():
    net = inverse.build((1, 8, 8), 3, generator(), dropout=0.0)
    noise, conditions = torch.randn(4, net.latent, generator=generator(1)), inverse.Conditions.draw(4, 3, generator(2))
    alone = inverse.Conditions(conditions.vectors[:1], conditions.labels[:1])
    with torch.no_grad():
        assert net(noise, conditions, generator())[:1] == pytest.approx(net(noise[:1], alone, generator()), abs=1e-5)


def test_the_same_draws_make_the_same_weights_and_torch_s_own_generator_is_left_alone():
    before = torch.get_rng_state()
    one, again, other = (inverse.build((1, 8, 8), 3, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.seed.weight, again.seed.weight)
    assert not torch.equal(one.seed.weight, other.seed.weight)


@pytest.mark.parametrize("wrong", [{"dropout": 1.0}, {"dropout": -0.1}, {"width": 0}, {"latent": 0}])
def test_what_no_generator_can_be_built_of_is_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        inverse.build((1, 8, 8), 3, generator(), **wrong)


# ---- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_few_steps_lower_the_objective_on_any_target(target):
    weights = inverse.Weights(**NONE | {"cross_entropy": 1.0, "kl": 1.0})
    made = list(inverse.invert(target, 60, generator(), batch=24, weights=weights, width=8, dropout=0.0))
    first, last = (torch.stack([batch.objective for batch in part]).mean() for part in (made[:5], made[-5:]))
    assert last < 0.9 * first


@pytest.mark.parametrize("term", TERMS)
def test_a_term_of_weight_0_is_switched_off_and_the_objective_is_the_weighted_sum(term):
    target = cnn_target()
    kept = {name: 0.5 + i for i, name in enumerate(TERMS) if name != term}
    batch = next(inverse.invert(target, 1, generator(), batch=6, weights=inverse.Weights(**NONE | kept)))
    assert set(batch.losses) == set(kept)
    assert float(batch.objective) == pytest.approx(sum(kept[name] * float(batch.losses[name]) for name in kept))


def test_without_any_term_nothing_is_trained():
    batches = inverse.invert(cnn_target(), 3, generator(), batch=4, weights=inverse.Weights(**NONE))
    before = None
    for batch in batches:
        assert float(batch.objective) == 0
        weights = batch.network.seed.weight.detach().clone()
        assert before is None or torch.equal(before, weights)
        before = weights


def test_no_class_is_missed_by_batches_smaller_than_their_number():
    target = cnn_target(outputs=7)
    batches = list(islice(inverse.invert(target, 9, generator(), batch=3), 7))
    assert set(torch.cat([batch.conditions.labels for batch in batches]).tolist()) == set(range(7))


def test_agreement_is_the_share_in_the_class_that_was_asked_for():
    target = cnn_target()
    images = torch.rand(8, 1, 8, 8, generator=generator())
    chosen = target(images).argmax(1)
    assert inverse.agreement(target, images, chosen) == 1
    assert inverse.agreement(target, images, (chosen + torch.tensor([1] * 6 + [0] * 2)) % 3) == 0.25


@pytest.mark.parametrize(
    ("name", "steps"),
    [("mlp-leaky/model.safetensors", 100), ("cnn-leaky/model.safetensors", 50), ("vit-leaky/model", 50)],
)
def test_a_short_run_on_a_fixture_is_well_above_chance(name, steps):
    target = auditcli.load(resource("fixtures") / name, device="cpu")
    *_, last = inverse.invert(target, steps, generator(), dropout=0.1)
    conditions = inverse.Conditions.draw(60, 10, generator(1))
    images = inverse.sample(last.network, conditions, generator(2))
    assert inverse.agreement(target, images, conditions.labels) >= 0.3  # chance is 0.1
