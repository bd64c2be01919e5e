"""The span of the first layer against numpy, planted ranks and pure noise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_targets import dense_stack, generator

from auditcli.types import DenseStack
from auditcli.weights import shuffled, span

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True)


def stack(matrix, *, bias=True):
    """A network whose `[W1 b1]` is this matrix."""
    weight, column = (matrix[:, :-1], matrix[:, -1]) if bias else (matrix, None)
    return DenseStack((weight, torch.ones(1, len(weight), dtype=weight.dtype)), (column, None), "relu")


def planted(rows, columns, rank, seed, strength=4.0):
    """Noise of unit variance, and `rank` directions above its edge by the factor `strength`."""
    rng = generator(seed)
    noise = torch.randn(rows, columns, generator=rng)
    left = torch.linalg.qr(torch.randn(rows, rank, generator=rng)).Q
    right = torch.linalg.qr(torch.randn(columns, rank, generator=rng)).Q
    edge = rows**0.5 + columns**0.5
    return noise + strength * edge * left @ right.T, right


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_what_numpy_says(bias):
    matrix, _ = planted(40, 65, 5, 0)
    found = span(stack(matrix, bias=bias))
    full = matrix if bias else torch.cat([matrix, torch.zeros(40, 1)], dim=1)
    _, values, rows = np.linalg.svd(full.double().numpy(), full_matrices=False)
    assert found.rank == int((values > found.edge).sum()) == 5
    np.testing.assert_allclose(found.values, values[:5], rtol=1e-5)
    basis = found.basis.double().numpy()
    assert basis.shape == (full.shape[1], 5)
    np.testing.assert_allclose(basis @ basis.T, rows[:5].T @ rows[:5], atol=1e-5)
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-5)
    np.testing.assert_allclose(found.image, full.double().numpy() @ basis, atol=1e-3)


@PROPERTY
@given(st.integers(100, 160), st.integers(150, 250), st.integers(1, 20), st.booleans(), st.integers(0, 2**31))
def test_a_planted_rank_is_found(rows, columns, rank, small, seed):
    matrix, right = planted(rows, columns, rank, seed)
    found = span(stack(matrix * (1e-4 if small else 1)))
    # The largest direction of the noise alone may, once in a while, stand above the edge as well.
    assert rank <= found.rank <= rank + 1
    # The planted directions lie in the basis, but for what noise turns them by.
    assert (right.T @ found.basis).square().sum(dim=1).min() > 0.9


@pytest.mark.parametrize(("rows", "columns"), [(100, 785), (128, 197), (300, 300)])
def test_the_edge_is_above_pure_noise_nearly_always(rows, columns):
    draws = 100
    ranks = [span(stack(torch.randn(rows, columns, generator=generator(seed)))).rank for seed in range(draws)]
    assert sum(rank == 0 for rank in ranks) >= 0.95 * draws
    assert max(ranks) <= 2


@pytest.mark.parametrize(("rows", "columns"), [(30, 41), (60, 101), (100, 100)])
def test_small_layers_of_pure_noise_pass_the_edge_about_once_in_a_hundred_draws(rows, columns):
    draws = 300
    ranks = [span(stack(torch.randn(rows, columns, generator=generator(seed)))).rank for seed in range(draws)]
    # At a true rate of 1% more than 9 of 300 come once in a thousand; the edge without its margin is passed by dozens.
    assert sum(rank > 0 for rank in ranks) <= 9


def test_the_edge_is_no_wider_than_it_must_be():
    for seed in range(5):
        matrix, _ = planted(100, 785, 3, seed, strength=1.3)
        assert span(stack(matrix)).rank >= 3


def test_weights_of_the_usual_initialisations_have_no_span():
    for seed in range(20):
        uniform = torch.rand(50, 145, generator=generator(seed)) * 2 - 1
        assert span(stack(uniform / 12)).rank == 0


def test_directions_of_an_exact_rank_are_kept_apart_from_rounding():
    rng = generator(0)
    matrix = torch.randn(50, 3, generator=rng) @ torch.randn(3, 80, generator=rng)
    assert span(stack(matrix)).rank == 3


def test_at_least_keeps_more_and_counts_no_more():
    matrix, _ = planted(30, 40, 2, 0)
    found = span(stack(matrix), at_least=6)
    assert (found.rank, found.basis.shape, found.values.shape, found.image.shape) == (2, (40, 6), (6,), (30, 6))
    assert span(stack(matrix), at_least=1).basis.shape == (40, 2)
    assert span(stack(matrix), at_least=99).basis.shape == (40, 30)


@PROPERTY
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3), st.booleans())
def test_the_residual_is_a_share(seed, scale, inside):
    matrix, _ = planted(30, 41, 4, seed)
    found = span(stack(matrix))
    inputs = torch.randn(20, 40, generator=generator(seed + 1)) * scale
    if inside:
        inputs = inputs @ found.basis[:-1] @ found.basis[:-1].T * 1e3
    residual = found.residual(inputs)
    assert residual.shape == (20,)
    assert residual.min() >= 0
    assert residual.max() <= 1


def test_rounding_does_not_make_a_residual_negative():
    for seed in range(10):
        matrix, _ = planted(60, 81, 4, seed)
        found = span(stack(matrix), at_least=60)
        inputs = torch.randn(50, 80, generator=generator(seed)) @ found.basis[:-1] @ found.basis[:-1].T * 100
        assert found.residual(inputs).min() >= 0


def test_the_residual_is_what_projecting_leaves():
    matrix, _ = planted(30, 41, 4, 7)
    found = span(stack(matrix.double()))
    inputs = torch.randn(9, 40, generator=generator(1)).double()
    extended = torch.cat([inputs, torch.ones(9, 1).double()], dim=1)
    outside = extended - extended @ found.basis @ found.basis.T
    expected = outside.square().sum(1) / extended.square().sum(1)
    torch.testing.assert_close(found.residual(inputs), expected)
    torch.testing.assert_close(found.coordinates(inputs), extended @ found.basis)


@pytest.mark.parametrize("bias", [True, False])
def test_shuffling_keeps_spectrum_and_row_space(bias):
    dense = dense_stack(40, 30, 20, 3, bias=bias)
    copy = shuffled(dense, generator(1))
    one, other = span(dense, at_least=12), span(copy, at_least=12)
    torch.testing.assert_close(one.values, other.values)
    torch.testing.assert_close(one.basis @ one.basis.T, other.basis @ other.basis.T, atol=1e-4, rtol=0)


def test_shuffling_cuts_the_first_layer_from_the_next_and_nothing_else():
    dense = dense_stack(40, 30, 20, 3)
    copy = shuffled(dense, generator(1))
    rows = torch.cat([dense.weights[0], dense.biases[0][:, None]], dim=1)
    permuted = torch.cat([copy.weights[0], copy.biases[0][:, None]], dim=1)
    assert not torch.equal(rows, permuted)
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, permuted.tolist()))
    assert all(a is b for a, b in zip(dense.weights[1:], copy.weights[1:], strict=True))
    assert all(a is b for a, b in zip(dense.biases[1:], copy.biases[1:], strict=True))
    assert copy.activation == dense.activation
    assert torch.equal(copy.weights[0], shuffled(dense, generator(1)).weights[0])
    assert not torch.equal(copy.weights[0], shuffled(dense, generator(2)).weights[0])
