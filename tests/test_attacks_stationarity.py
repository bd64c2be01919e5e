"""The gradients that `kkt` takes by hand, against automatic differentiation of its loss written out slowly."""

import pytest
import torch
from tiny_targets import ACTIVATIONS, dense_stack, dense_target, generator

from auditcli.attacks._precision import products
from auditcli.attacks._search import Plan, Search
from auditcli.attacks._stationarity import Penalties, Problem
from auditcli.types import DenseStack
from auditcli.weights import Sides, margin_gradients, margins, span

PENALTIES = Penalties(span=3.0, box=1.5, multiplier=5.0, least_multiplier=0.9)
SHAPE = (2, 6)


def problem(outputs=3, activation="relu", hidden=(9, 7), temperature=1.0):
    dense = dense_stack(16, *hidden, outputs, activation=activation, dtype=torch.float64)
    weights = span(dense, at_least=5)
    target = dense_target(dense, (1, 4, 4), mean=0.4, std=0.25)
    sides = Sides.balanced(SHAPE[1], max(2, outputs))
    return Problem.of(target, weights, sides, SHAPE[0], sharpness=3.0, temperature=temperature), dense, weights


def start(seed=0):
    rng = generator(seed)
    # Wide enough that some pixels leave [0, 1] and some multipliers are below the least.
    offset = 0.5 * torch.randn(*SHAPE, 16, generator=rng, dtype=torch.float64)
    return offset, 0.2 + torch.rand(SHAPE, generator=rng, dtype=torch.float64)


def slow_loss(found, dense, weights, offset, multipliers, unit, exponent, temperature):
    """The loss in the docstring of `kkt`, a restart at a time and term by term; (r,) first term, and the whole."""
    x = offset / 0.25
    coordinates = torch.cat([x, torch.ones(*SHAPE, 1, dtype=x.dtype)], dim=2) @ weights.basis
    delta = margin_gradients(
        dense, (coordinates @ weights.image.T).flatten(0, 1), found.sides, sharpness=3.0, temperature=temperature
    ).unflatten(0, SHAPE)
    firsts, total = [], 0.0
    for r in range(SHAPE[0]):
        residual = weights.image / weights.values[0]
        for i in range(SHAPE[1]):
            residual = residual - unit[r] * multipliers[r, i] * torch.outer(delta[r, i], coordinates[r, i])
        weight = (weights.values / weights.values[0]) ** -exponent
        first = (residual * weight).square().sum() / (weights.image / weights.values[0] * weight).square().sum()
        outside = torch.stack([weights.residual(row[None])[0] for row in x[r]]).mean()
        pixels = offset[r] + 0.4
        beyond = ((pixels - 1).relu() / 0.25).square().sum() + (-pixels).relu().div(0.25).square().sum()
        share = multipliers[r] / multipliers[r].mean().detach()
        unused = (PENALTIES.least_multiplier - share).relu().square().sum()
        total = total + first + PENALTIES.span * outside + PENALTIES.box * beyond / SHAPE[1]
        total = total + PENALTIES.multiplier * unused
        firsts.append(first)
    return torch.stack(firsts), total


@pytest.mark.parametrize("hidden", [(9,), (9, 7), (9, 7, 5)])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.2)", "gelu", "tanh"])
def test_the_loss_and_its_gradients_equal_the_slow_version(activation, outputs, hidden):
    found, dense, weights = problem(outputs, activation, hidden)
    offset, multipliers = start()
    unit = 0.3 * found.start(offset)
    slopes = found.slopes(offset, multipliers, unit, found.weight(0.6), PENALTIES)
    points = offset.clone().requires_grad_(), multipliers.clone().requires_grad_()
    firsts, total = slow_loss(found, dense, weights, *points, unit[:, 0], 0.6, 1.0)
    slow = torch.autograd.grad(total, points)
    torch.testing.assert_close(slopes.energy @ found.weight(0.6), firsts.detach())
    for ours, expected in zip((slopes.offset, slopes.multipliers), slow, strict=True):
        assert expected.abs().min() > 0
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(slopes.pixels, (offset + 0.4).clamp(0, 1))


def test_the_starting_unit_makes_candidates_as_large_as_the_layer():
    found, _, _ = problem()
    offset, _ = start()
    ones = torch.ones(SHAPE, dtype=torch.float64)
    unit = found.start(offset)
    # |A - C|^2 - |A|^2 - |C|^2 = -2 <A, C>, and |C| = |A| at this unit: seen from C and from -C, the sum is 4 |A|^2.
    plus, minus = (found.slopes(offset, sign * ones, unit, found.weight(0.0), PENALTIES) for sign in (1, -1))
    assert ((plus.energy + minus.energy) @ found.weight(0.0)).tolist() == pytest.approx([4, 4])


def test_directions_weigh_as_the_exponent_says():
    found, _, weights = problem()
    one, two = found.weight(0.5)[[0, -1]].tolist()
    assert two / one == pytest.approx(float(weights.values[0] / weights.values[-1]))


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("hidden", [(5,), (5, 8), (5, 8, 6)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_way_back_equals_automatic_differentiation(activation, hidden, outputs, temperature):
    dense = dense_stack(6, *hidden, outputs, activation=activation, dtype=torch.float64)
    sides = Sides.balanced(7, max(2, outputs))
    first = 2 * torch.randn(7, 5, generator=generator(3)).double()
    adjoint = torch.randn(7, 5, generator=generator(4)).double()
    point = first.clone().requires_grad_()
    options = {"sharpness": 2.0, "temperature": temperature}
    slow = (
        torch.autograd.grad((margin_gradients(dense, point, sides, **options) * adjoint).sum(), point)[0]
        if (margin_gradients(dense, point, sides, **options).requires_grad)
        else torch.zeros_like(first)
    )
    found = margins(dense, first, sides, **options)
    torch.testing.assert_close(found.gradients, margin_gradients(dense, first, sides, **options))
    torch.testing.assert_close(found.pull(adjoint), slow, rtol=1e-9, atol=1e-12)


def test_the_way_back_through_a_network_of_one_layer():
    dense = dense_stack(6, 4, dtype=torch.float64)
    sides = Sides.balanced(5, 4)
    point = torch.randn(5, 4, generator=generator()).double().requires_grad_()
    adjoint = torch.randn(5, 4, generator=generator(1)).double()
    (slow,) = torch.autograd.grad((margin_gradients(dense, point, sides, sharpness=1) * adjoint).sum(), point)
    torch.testing.assert_close(margins(dense, point.detach(), sides, sharpness=1).pull(adjoint), slow)
    assert slow.abs().max() > 0.01
    single = dense_stack(6, 1, dtype=torch.float64)
    pulled = margins(single, point.detach()[:, :1], Sides.balanced(5, 2), sharpness=1).pull(adjoint[:, :1])
    assert not pulled.any()


@pytest.mark.parametrize("outputs", [2, 5])
def test_no_temperature_takes_the_runner_up(outputs):
    dense = dense_stack(6, 8, 7, outputs, activation="gelu", dtype=torch.float64)
    sides = Sides.balanced(9, outputs)
    first = torch.randn(9, 8, generator=generator(2)).double()
    point = first.clone().requires_grad_()
    z = torch.nn.functional.gelu(point) @ dense.weights[1].T + dense.biases[1]
    logits = torch.nn.functional.gelu(z) @ dense.weights[2].T + dense.biases[2]
    total = 0.0
    for row, label in zip(logits, sides.labels.tolist(), strict=True):
        total = total + row[label] - max(value for other, value in enumerate(row) if other != label)
    (slow,) = torch.autograd.grad(total, point)
    ours = margin_gradients(dense, first, sides, sharpness=1.0, temperature=0.0)
    torch.testing.assert_close(ours, slow)
    close = margin_gradients(dense, first, sides, sharpness=1.0, temperature=1e-4)
    torch.testing.assert_close(close, slow)


def test_a_search_descends():
    found, _, _ = problem()
    offset, multipliers = start()
    search = Search.begin(found, PENALTIES, 0.1 * offset, multipliers, share=0.5)
    energies = [(slopes.energy @ found.weight(0.5)).sum() for slopes in search.run(Plan(60, 0.5, 0.5, 0.02, 0.05))]
    assert energies[-1] < 0.7 * energies[0]


def test_a_plan_rises_and_falls_as_it_says():
    plan = Plan(steps=10, exponent=0.6, anneal=0.5, pixel_rate=2.0, multiplier_rate=4.0)
    assert [plan.exponent_at(number) for number in (0, 2, 5, 9)] == pytest.approx([0, 0.24, 0.6, 0.6])
    assert plan.rates_at(0) == (2.0, 4.0)
    assert plan.rates_at(5) == pytest.approx((1.0, 2.0))
    assert plan.rates_at(9)[0] < 0.06


def test_a_stack_without_bias_has_its_loss_too():
    dense = dense_stack(16, 9, 3, dtype=torch.float64, bias=False)
    assert isinstance(dense, DenseStack)
    weights = span(dense, at_least=5)
    target, sides = dense_target(dense, (1, 4, 4)), Sides.balanced(SHAPE[1], 3)
    found = Problem.of(target, weights, sides, SHAPE[0], sharpness=3.0, temperature=1.0)
    offset, multipliers = start()
    slopes = found.slopes(offset, multipliers, found.start(offset), found.weight(0.3), PENALTIES)
    assert slopes.offset.isfinite().all()
    assert slopes.offset.abs().max() > 0


def test_products_are_rough_on_cuda_alone_and_only_inside():
    before = torch.backends.cuda.matmul.fp32_precision
    for rough, expected in ((True, "tf32"), (False, "ieee")):
        with products(torch.device("cpu"), rough=rough):
            assert torch.backends.cuda.matmul.fp32_precision == before
        with products(torch.device("cuda"), rough=rough):
            assert torch.backends.cuda.matmul.fp32_precision == expected
        assert torch.backends.cuda.matmul.fp32_precision == before
    with pytest.raises(ZeroDivisionError), products(torch.device("cuda"), rough=True):
        1 / 0  # noqa: B018
    assert torch.backends.cuda.matmul.fp32_precision == before
