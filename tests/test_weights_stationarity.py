"""Stationarity in inner products, and the lower level solved on it, against slow obvious versions."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from tiny_targets import dense_stack, forward, generator

from auditcli.types import DenseStack
from auditcli.weights import Lower, Sides, backward, margin_pull, span, terms
from auditcli.weights.nonnegative import nonnegative

RESTARTS, N = 2, 4


def stack(outputs, *, bias=True):
    return dense_stack(12, 9, 7, outputs, activation="gelu", dtype=torch.float64, seed=outputs, bias=bias)


def images(seed=0, n=RESTARTS * N):
    return torch.randn(n, 12, generator=generator(seed), dtype=torch.float64)


def sides(outputs, n=RESTARTS * N):
    return Sides(torch.arange(n) % N % max(2, outputs), max(2, outputs))


def fast(dense, weights, x, outputs, *, exponent=0.6, upper=0.5):
    coordinates = weights.coordinates(x)
    passed = backward(
        dense, coordinates @ weights.image.T, partial(margin_pull, sides=sides(outputs, len(x))), sharpness=20.0
    )
    return terms(dense, weights, coordinates, passed, exponent=exponent, upper=upper, restarts=len(x) // N)


def slow_vectors(dense, weights, x, label, exponent, upper):
    """The weights of all layers as one vector, and one image's margin gradient, by automatic differentiation."""
    outputs = len(dense.weights[-1])
    scale = (weights.values / weights.values[0]) ** -exponent
    bias = dense.biases[0] if dense.biases[0] is not None else torch.zeros(len(dense.weights[0]), dtype=x.dtype)
    matrix = torch.cat([dense.weights[0], bias[:, None]], dim=1)
    first = (matrix @ weights.basis @ weights.basis.T).requires_grad_()
    upper_weights = [w.clone().requires_grad_() for w in dense.weights[1:]]
    upper_biases = [None if b is None else b.clone().requires_grad_() for b in dense.biases[1:]]
    free = DenseStack((first, *upper_weights), (None, *upper_biases), dense.activation)
    if any(b is None for b in upper_biases):
        zeros = [torch.zeros(len(w), dtype=x.dtype) for w in upper_weights]
        free = DenseStack(free.weights, (None, *zeros), dense.activation)
    logits = forward(free, (first @ torch.cat([x, x.new_ones(1)]))[None])[0]
    if outputs == 1:
        margin = logits[0] * (2 * label - 1)
    else:
        wrong = torch.tensor([j for j in range(outputs) if j != label])
        margin = logits[label] - (logits[wrong].softmax(0).detach() * logits[wrong]).sum()
    layers = [[first], *([w] if b is None else [w, b] for w, b in zip(upper_weights, upper_biases, strict=True))]
    flat = [one for layer in layers for one in layer]
    gradients = iter(torch.autograd.grad(margin, flat))
    theta, gradient = [], []
    for number, layer in enumerate(layers):
        ours, theirs = [one.detach() for one in layer], [next(gradients) for _ in layer]
        if number == 0:
            ours, theirs = ([one @ weights.basis * scale for one in values] for values in (ours, theirs))
        size = torch.cat([one.flatten() for one in ours]).norm()
        factor = (1 if number == 0 else upper**0.5) / size
        theta += [factor * one.flatten() for one in ours]
        gradient += [factor * one.flatten() for one in theirs]
    return torch.cat(theta), torch.cat(gradient)


@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no bias"])
@pytest.mark.parametrize(("outputs", "upper"), [(1, 0.0), (1, 0.5), (3, 0.5)])
def test_inner_products_equal_those_of_whole_gradients(outputs, upper, bias):
    dense = stack(outputs, bias=bias)
    weights = span(dense, at_least=6)
    x = images()
    found = fast(dense, weights, x, outputs, upper=upper)
    labels = sides(outputs).labels.tolist()
    multipliers = torch.rand(RESTARTS, N, generator=generator(1), dtype=torch.float64)
    for r in range(RESTARTS):
        pairs = [slow_vectors(dense, weights, x[i], labels[i], 0.6, upper) for i in range(r * N, (r + 1) * N)]
        theta = pairs[0][0]
        unit = torch.stack([gradient / gradient.norm() for _, gradient in pairs])
        torch.testing.assert_close(found.gram[r], unit @ unit.T)
        torch.testing.assert_close(found.matched[r], unit @ theta / theta.norm())
        residual = theta / theta.norm() - multipliers[r] @ unit
        torch.testing.assert_close(found.residual(multipliers)[r], residual.square().sum())
        best = min(
            float((theta / theta.norm() - factor * (multipliers[r] @ unit)).square().sum())
            for factor in np.linspace(0, 3, 3001)
        )
        assert float(found.scaled(multipliers)[r]) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(8, 5), (80, 60), (30, 40)])
@pytest.mark.parametrize("ridge", [1e-6, 0.3])
def test_bounded_least_squares_equal_those_of_scipy(rows, columns, ridge):
    rng = generator(columns)
    system = torch.randn(3, rows, columns, generator=rng, dtype=torch.float64) + 0.5
    right = torch.randn(3, rows, generator=rng, dtype=torch.float64)
    gram = system.mT @ system + ridge * torch.eye(columns, dtype=torch.float64)
    matched = (system.mT @ right[:, :, None])[:, :, 0]
    found, free = nonnegative(gram, matched)
    for r in range(3):
        factor = np.linalg.cholesky(gram[r].numpy())
        expected, _ = nnls(factor.T, np.linalg.solve(factor, matched[r].numpy()))
        np.testing.assert_allclose(found[r].numpy(), expected, atol=1e-6 * max(1, expected.max()))
    assert 0 < int((found == 0).sum()) < found.numel()
    again, _ = nonnegative(gram, matched, free)
    torch.testing.assert_close(again, found)


def test_what_is_not_finite_ends_nothing():
    gram = torch.eye(3, dtype=torch.float64)[None].clone()
    gram[0, 0, 0] = torch.nan
    found, _ = nonnegative(gram, torch.ones(1, 3, dtype=torch.float64))
    assert found.shape == (1, 3)


LOWER = Lower(ridge=0.05, evenness=0.4)


def test_the_lower_level_is_the_minimum_of_its_value():
    dense = stack(3)
    found = fast(dense, span(dense, at_least=6), images(), 3)
    best, _ = LOWER.solve(found)
    value = LOWER.value(found, best)
    assert (best >= 0).all()
    rng = generator(2)
    for _ in range(200):
        near = (best + 0.02 * torch.randn(best.shape, generator=rng, dtype=torch.float64)).clamp_min(0)
        assert (LOWER.value(found, near) >= value - 1e-12).all()


def upper_value(dense, weights, x):
    """The upper level's value with the lower level solved anew."""
    found = fast(dense, weights, x, 3)
    return LOWER.value(found, LOWER.solve(found)[0]).sum()


def test_the_gradient_of_the_upper_level_equals_finite_differences():
    dense = stack(3)
    weights = span(dense, at_least=6)
    x = images(5, N).requires_grad_()
    (gradient,) = torch.autograd.grad(upper_value(dense, weights, x), x)
    step = 1e-5
    for i, j in [(0, 0), (1, 3), (2, 7), (3, 11), (0, 5)]:
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                moved = x.clone()
                moved[i, j] += sign * step
                ends.append(float(upper_value(dense, weights, moved)))
        # The smoothed step plays no part with gelu, but the softmax over wrong classes is differentiated too.
        assert float(gradient[i, j]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-8)


def test_and_what_an_unrolled_lower_level_gives():
    dense = stack(3)
    weights = span(dense, at_least=6)
    x = images(5, N).requires_grad_()
    (envelope,) = torch.autograd.grad(upper_value(dense, weights, x), x)
    found = fast(dense, weights, x, 3)
    multipliers = torch.zeros(1, N, dtype=torch.float64)
    rate = 0.2
    for _ in range(2000):
        spread = multipliers - multipliers.mean(dim=1, keepdim=True)
        slope = (found.gram @ multipliers[:, :, None])[:, :, 0] - found.matched
        slope = slope + LOWER.ridge * multipliers + LOWER.evenness * spread
        multipliers = (multipliers - rate * slope).clamp_min(0)
    (unrolled,) = torch.autograd.grad(LOWER.value(found, multipliers).sum(), x)
    torch.testing.assert_close(envelope, unrolled, rtol=1e-6, atol=1e-9)


def test_multipliers_grow_as_the_ridge_falls_and_even_out_with_evenness():
    dense = stack(3)
    found = fast(dense, span(dense, at_least=6), images(), 3)
    sizes = [Lower(ridge, 0.0).solve(found)[0].norm() for ridge in (100.0, 1.0, 0.01)]
    assert all(small < large for small, large in pairwise(sizes))
    spreads = [Lower(0.05, even).solve(found)[0].std(dim=1).max() for even in (0.0, 1.0, 1000.0)]
    assert all(wide > narrow for wide, narrow in pairwise(spreads))
    assert spreads[-1] < 1e-3
