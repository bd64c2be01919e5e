"""The attack on convolutions against a slow version of its objective, and on a network that was trained to leak."""

import pytest
import torch
from scipy.stats import mannwhitneyu
from tiny_targets import convolution_target, generator
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from auditcli.attacks import all_attacks, run
from auditcli.attacks.kkt_patches import _Net, _rectified, _SmoothSteps
from auditcli.images import read_sample
from auditcli.resources import resource
from auditcli.scoring.matching import similarity
from auditcli.types import Budget
from auditcli.weights import Sides

(ATTACK,) = (attack for attack in all_attacks() if attack.name == "kkt_patches")


def slow_gradients(target, images, multipliers, sides):
    """`sum_i lambda_i grad m(x_i)` for each kernel and matrix, image by image, with the true step of a ReLU."""
    weights = {name: value.clone().requires_grad_() for name, value in target.module.named_parameters()}
    totals = {name: torch.zeros_like(value) for name, value in weights.items()}
    for image, multiplier, label in zip(images, multipliers, sides.labels.tolist(), strict=True):
        logits = functional_call(target.module, weights, (image[None],))[0]
        if len(logits) == 1:
            margin = logits[0] * (2 * label - 1)
        else:
            wrong = [j for j in range(len(logits)) if j != label]
            margin = logits[label] - (logits[wrong].softmax(0).detach() * logits[wrong]).sum()
        for name, gradient in zip(weights, torch.autograd.grad(margin, list(weights.values())), strict=True):
            totals[name] += multiplier * gradient
    return [value.flatten(1) for value in totals.values() if value.ndim > 1]


@pytest.mark.parametrize("outputs", [1, 3])
def test_residuals_equal_the_slow_version(outputs):
    target = convolution_target(outputs)
    images, multipliers = torch.rand(6, 1, 8, 8, generator=generator(1)), torch.rand(6, generator=generator(2))
    sides = Sides.balanced(6, max(2, outputs))
    net = _Net.of(target, 1e6)
    slow = slow_gradients(target, images, multipliers, sides)
    residuals = net.residuals(images, multipliers, sides)
    assert len(slow) == len(residuals) == 2
    for layer, expected, residual in zip(net.layers, slow, residuals, strict=True):
        torch.testing.assert_close(layer.weight - residual, expected, atol=1e-5, rtol=1e-4)
        assert float(expected.abs().max()) > 0.01


def test_residuals_can_be_differentiated():
    net = _Net.of(convolution_target(), 5.0)
    images = torch.rand(4, 1, 8, 8, generator=generator(1)).double().requires_grad_()
    net = _Net(net.module.double(), {name: value.double() for name, value in net.weights.items()}, net.layers, 5.0)
    sides, multipliers = Sides.balanced(4, 3), torch.rand(4, generator=generator(2)).double().requires_grad_()

    def size(pixels, weights):
        return sum(residual.square().sum() for residual in net.residuals(pixels, weights, sides))

    (slope,) = torch.autograd.grad(size(images, multipliers), multipliers)
    step = torch.zeros(4).double()
    step[2] = 1e-6
    with torch.no_grad():
        central = (size(images, multipliers + step) - size(images, multipliers - step)) / 2e-6
    assert float(slope[2]) == pytest.approx(float(central), rel=1e-4)
    (moved,) = torch.autograd.grad(size(images, multipliers), images)
    assert moved.isfinite().all()
    assert float(moved.abs().max()) > 0


@pytest.mark.parametrize("leak", [0.0, 0.2])
def test_a_rectifier_keeps_its_values_and_gets_a_smooth_slope(leak):
    z = torch.linspace(-2, 2, 21).requires_grad_()
    value = _rectified(z, leak, 5.0)
    torch.testing.assert_close(value, functional.leaky_relu(z, leak))
    (slope,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    scale = 5.0 / z.detach().square().mean().sqrt()
    torch.testing.assert_close(slope, leak + (1 - leak) * torch.sigmoid(scale * z))
    (bend,) = torch.autograd.grad(slope.sum(), z)
    assert float(bend[10]) > 0


@pytest.mark.parametrize(
    "rectifier",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.LeakyReLU(0.2),
        torch.relu,
        functional.relu,
        lambda z: functional.leaky_relu(z, negative_slope=0.1),
        lambda z: functional.relu(input=z),
        lambda z: z.relu(),
    ],
)
def test_every_way_to_write_a_rectifier_is_caught(rectifier):
    z = torch.linspace(-1, 1, 11).requires_grad_()
    plain = rectifier(z.clone())
    with _SmoothSteps(5.0):
        value = rectifier(z.clone())
    torch.testing.assert_close(value, plain)
    (slope,) = torch.autograd.grad(value.sum(), z)
    assert 0.4 < float(slope[5]) < 0.7
    assert len(slope.unique()) > 5


@pytest.fixture(scope="module")
def leaky():
    """A network with nine places for its first kernel, at rest under weight decay on ten images, and other images."""
    target = convolution_target(10, side=28, channels=64, kernel=14, stride=7, first_std=1e-3)
    images = read_sample(resource("fixtures", "controls.npz"), (1, 28, 28), role="controls").images
    net = target.module.requires_grad_(True)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=2e-3)
    for _ in range(400):
        optimiser.zero_grad()
        functional.cross_entropy(net(images[:10]), torch.arange(10)).backward()
        optimiser.step()
    net.zero_grad()
    net.requires_grad_(False)
    return target, images[:10], images[10:210]


def test_trained_images_come_back(leaky):
    target, members, controls = leaky
    found = run(ATTACK, target, Budget(steps=60, seconds=300, candidates=20, restarts=1), seed=0)
    near, far = (similarity(found.candidates[0], each).best for each in (members, controls))
    assert max(near) > 0.5 > max(far)
    assert mannwhitneyu(near, far, alternative="greater").pvalue < 1e-4


def test_the_objective_starts_at_one_and_falls(leaky):
    target, *_ = leaky
    budget = Budget(steps=20, seconds=300, candidates=10, restarts=2)
    found = run(ATTACK.with_settings(upper_weight=0.0, share=0.001), target, budget, seed=0)
    assert found.trace[0][1] == pytest.approx(1, abs=0.01)
    assert max(found.objective) < 0.999


def test_the_weight_of_the_upper_layers_is_counted(leaky):
    target, *_ = leaky
    budget = Budget(steps=1, seconds=300, candidates=12, restarts=1)
    alone, together = (run(ATTACK.with_settings(upper_weight=w), target, budget, seed=0).objective for w in (0.0, 1.0))
    assert alone != together
    assert together[0] == pytest.approx(1, abs=0.2)
