"""Margin gradients against autograd, and what images explain against a slow least-squares fit."""

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from tiny_targets import ACTIVATIONS, dense_stack, forward, generator, smooth_images, stationary

from auditcli.weights import Sides, explained, margin_gradients, shuffled, span

SHARP = 1e12


def slow_gradients(dense, first, labels):
    """The gradient of each margin by autograd, one input at a time, after the docstring of `margin_gradients`."""
    rows = []
    for z, label in zip(first, labels.tolist(), strict=True):
        point = z.clone().requires_grad_()
        logits = forward(dense, point[None])[0]
        if len(logits) == 1:
            margin = logits[0] * (2 * label - 1)
        else:
            wrong = torch.tensor([j for j in range(len(logits)) if j != label])
            margin = logits[label] - (logits[wrong].softmax(0).detach() * logits[wrong]).sum()
        rows.append(torch.autograd.grad(margin, point)[0])
    return torch.stack(rows)


@pytest.mark.parametrize("outputs", [1, 2, 5])
@pytest.mark.parametrize("hidden", [(12,), (12, 9), (12, 9, 7)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_sharp_step_gives_the_true_gradient(activation, hidden, outputs):
    dense = dense_stack(6, *hidden, outputs, activation=activation, dtype=torch.float64)
    first = 2 * torch.randn(11, hidden[0], generator=generator(1)).double()
    sides = Sides.balanced(11, max(2, outputs))
    ours = margin_gradients(dense, first, sides, sharpness=SHARP)
    torch.testing.assert_close(ours, slow_gradients(dense, first, sides.labels), rtol=1e-10, atol=1e-12)


def test_a_network_without_hidden_layer_above_the_first():
    dense = dense_stack(6, 3, dtype=torch.float64)
    first = torch.randn(4, 3, generator=generator()).double()
    sides = Sides.balanced(4, 3)
    expected = slow_gradients(dense, first, sides.labels)
    torch.testing.assert_close(margin_gradients(dense, first, sides, sharpness=1), expected)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.2)"])
def test_the_smoothed_step_is_a_sigmoid_in_units_of_the_root_mean_square(activation):
    leak = 0.2 if "leaky" in activation else 0.0
    dense = dense_stack(6, 10, 1, activation=activation, dtype=torch.float64)
    first = torch.randn(8, 10, generator=generator()).double()
    sides = Sides.balanced(8, 2)
    sigmoid = torch.sigmoid(20 * first / first.square().mean().sqrt())
    expected = (2.0 * sides.labels[:, None] - 1) * dense.weights[1] * (leak + (1 - leak) * sigmoid)
    torch.testing.assert_close(margin_gradients(dense, first, sides, sharpness=20), expected)


@pytest.mark.parametrize("outputs", [1, 3])
def test_it_can_be_differentiated_once_more(outputs):
    dense = dense_stack(5, 6, 4, outputs, activation="gelu", dtype=torch.float64)
    sides = Sides.balanced(3, max(2, outputs))
    first = torch.randn(3, 6, generator=generator(2)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: margin_gradients(dense, z, sides, sharpness=2.0), (first,))


def test_the_smoothed_step_of_a_relu_can_be_differentiated():
    dense = dense_stack(5, 6, 1, dtype=torch.float64)
    first = torch.randn(3, 6, generator=generator(2)).double().requires_grad_()
    scale = first.detach().square().mean().sqrt()
    gradients = margin_gradients(dense, first, Sides.balanced(3, 2), sharpness=2.0)
    (second,) = torch.autograd.grad(gradients.sum(), first)
    sigmoid = torch.sigmoid(2 * first.detach() / scale)
    signs = 2.0 * Sides.balanced(3, 2).labels[:, None] - 1
    torch.testing.assert_close(second, signs * dense.weights[1] * sigmoid * (1 - sigmoid) * 2 / scale)


def test_sides_are_balanced_and_in_turn():
    sides = Sides.balanced(7, 3)
    assert sides.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert sides.classes == 3


# ---- explained ------------------------------------------------------------------------------------------------------


def flat(images):
    return ((images - 0.3) / 0.5).flatten(1)


def slow_explained(dense, found, inputs, sides):
    """Non-negative least squares on the matrix whose columns are the images' whole contributions."""
    coordinates = found.coordinates(inputs).double()
    gradients = slow_gradients(
        type(dense)(
            tuple(w.double() for w in dense.weights),
            tuple(None if b is None else b.double() for b in dense.biases),
            dense.activation,
        ),
        coordinates @ found.image.double().T,
        sides.labels,
    )
    columns = torch.stack([torch.outer(g, c).flatten() for g, c in zip(gradients, coordinates, strict=True)], dim=1)
    target = found.image.double().flatten().numpy()
    _, residual = nnls(columns.numpy(), target)
    return 1 - residual**2 / np.square(target).sum()


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_slow_version(activation, outputs, seed):
    dense = dense_stack(36, 20, outputs, activation=activation, seed=seed)
    found, sides = span(dense, at_least=6), Sides.balanced(10, max(2, outputs))
    inputs = flat(smooth_images(10, 6, seed))
    ours = explained(dense, found, inputs, sides)
    assert 0.005 < ours < 1
    assert ours == pytest.approx(slow_explained(dense, found, inputs, sides), abs=1e-5)


def test_images_given_twice_explain_no_more():
    dense = dense_stack(36, 20, 1)
    found, inputs = span(dense, at_least=6), flat(smooth_images(4, 6))
    twice = torch.cat([inputs, inputs])
    once = explained(dense, found, inputs, Sides.balanced(4, 2))
    assert explained(dense, found, twice, Sides.balanced(8, 2)) == pytest.approx(once, abs=1e-6)


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_images_a_layer_is_the_sum_of_explain_all_of_it(outputs):
    images = smooth_images(6, 12, 1)
    dense, _ = stationary(images, outputs=outputs, seed=1)
    found, sides = span(dense), Sides.balanced(6, 2)
    assert found.rank == 6
    assert explained(dense, found, flat(images), sides) > 1 - 1e-6
    assert explained(dense, found, flat(images)[:4], Sides.balanced(4, 2)) < 0.95
    assert explained(dense, found, flat(smooth_images(6, 12, 77)), sides) < 0.7
    # Each image on the other side of the decision pulls the wrong way, and no multiplier may be negative.
    assert explained(dense, found, flat(images), Sides(1 - sides.labels, 2)) < 0.1
    assert explained(shuffled(dense, generator(0)), span(shuffled(dense, generator(0))), flat(images), sides) < 0.5
