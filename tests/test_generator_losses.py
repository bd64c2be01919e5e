"""Every term of network inversion against a slow obvious version in numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_targets import cnn_target, dense_stack, dense_target, generator, vit_target
from torch import nn

from auditcli.generator import losses, reading

TARGETS = {
    "perceptron": dense_target(dense_stack(64, 24, 16, 3)),
    "one logit": dense_target(dense_stack(64, 24, 1, activation="tanh", seed=1)),
    "no bias": dense_target(dense_stack(64, 24, 3, seed=2, bias=False)),
    "one layer": dense_target(dense_stack(64, 3)),
    "convolutions": cnn_target(),
    "convolutions, one logit": cnn_target(outputs=1),
    "attention": vit_target(),
    "attention, one logit": vit_target(outputs=1),
}
EACH = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def labels_of(target, n):
    return torch.arange(n) % target.profile.classes


def test_kl():
    logits, p = drawn(5, 4), drawn(5, 4, seed=1).softmax(1)
    q = [softmax(row) for row in logits.numpy()]
    expected = [sum(p[i, j].item() * (np.log(p[i, j].item()) - np.log(q[i][j])) for j in range(4)) for i in range(5)]
    assert losses.kl(logits.log_softmax(1), p).numpy() == pytest.approx(np.array(expected))


def test_kl_is_zero_where_the_target_says_what_it_was_asked_to():
    p = drawn(5, 4).softmax(1)
    assert losses.kl(p.log(), p).abs().max() < 1e-12


def test_cross_entropy():
    logits, labels = drawn(5, 4), torch.tensor([3, 0, 1, 1, 2])
    expected = [-np.log(softmax(row)[label]) for row, label in zip(logits.numpy(), labels.tolist(), strict=True)]
    assert losses.cross_entropy(logits.log_softmax(1), labels).numpy() == pytest.approx(np.array(expected))


def test_cosine():
    f = drawn(5, 7)
    pairs = [
        float(f[i] @ f[j] / (np.linalg.norm(f[i]) * np.linalg.norm(f[j]))) for i in range(5) for j in range(5) if i != j
    ]
    assert float(losses.cosine(f)) == pytest.approx(np.mean(pairs))
    assert float(losses.cosine(f[:1])) == pytest.approx(0)


def test_orthogonality():
    f = drawn(5, 7)
    entries = [
        (float(f[i] @ f[j] / (np.linalg.norm(f[i]) * np.linalg.norm(f[j]))) - (i == j)) ** 2
        for i in range(5)
        for j in range(5)
    ]
    assert float(losses.orthogonality(f)) == pytest.approx(np.mean(entries))
    assert float(losses.orthogonality(torch.eye(4))) == pytest.approx(0, abs=1e-12)


def test_variation():
    images = drawn(2, 3, 5, 4)
    for image, found in zip(images.numpy(), losses.variation(images).tolist(), strict=True):
        down = [abs(image[c, y + 1, x] - image[c, y, x]) for c in range(3) for y in range(4) for x in range(4)]
        across = [abs(image[c, y, x + 1] - image[c, y, x]) for c in range(3) for y in range(5) for x in range(3)]
        assert found == pytest.approx(np.mean(down) + np.mean(across))


def test_out_of_range():
    images = 2 * drawn(2, 1, 5, 4)
    for image, found in zip(images.numpy(), losses.out_of_range(images).tolist(), strict=True):
        assert found == pytest.approx(np.mean([max(0, v - 1, -v) ** 2 for v in image.ravel()]))
    assert losses.out_of_range(torch.rand(2, 1, 5, 4)).max() == 0


def test_perturbed_images_are_near_and_others():
    images = torch.rand(4, 3, 8, 8, generator=generator())
    moved = (losses.perturbed(images, 0.1, generator(1)) - images).abs()
    assert 0.09 < moved.max() <= 0.1 + 1e-6
    assert not torch.equal(moved[0], moved[1])


@EACH
def test_features_are_what_the_last_layer_reads(target):
    n, last = 6, [m for m in target.module.modules() if isinstance(m, nn.Linear)][-1]
    images = torch.rand(n, *target.profile.input_shape, generator=generator())
    seen = reading.read(target, images)
    assert torch.equal(seen.logits, target(images))
    assert seen.bias is (last.bias is not None)
    assert last(seen.features) == pytest.approx(seen.logits, abs=1e-5)
    assert seen.log_probabilities.shape == (n, target.profile.classes)
    assert seen.log_probabilities.exp().sum(1) == pytest.approx(torch.ones(n), abs=1e-5)


@pytest.mark.parametrize("n", [1, 4])
def test_graphs_that_take_one_image_at_a_time(n):
    class Together(nn.Module):
        def forward(self, images):
            return torch.vmap(lambda image: target.module(image[None])[0])(images)

    class OneByOne(nn.Module):
        def forward(self, images):
            return torch.cat([target.module(image[None]) for image in images])

    target = TARGETS["perceptron"]
    images = torch.rand(n, 1, 8, 8, generator=generator())
    usual = reading.read(target, images)
    one_by_one, together = (reading.read(replace(target, module=module()), images) for module in (OneByOne, Together))
    assert one_by_one.features == pytest.approx(usual.features, abs=1e-5)
    assert one_by_one.bias
    assert together.features == pytest.approx(usual.logits, abs=1e-5)


@pytest.mark.parametrize("last", [lambda x, w: x @ w, torch.matmul, torch.mm, lambda x, w: torch.addmm(w[0], x, w)])
def test_a_last_layer_that_is_no_module(last):
    weight = torch.randn(64, 3, generator=generator())

    class Graph(nn.Module):
        def forward(self, images):
            return last(images.flatten(1).tanh(), weight)

    target = replace(TARGETS["perceptron"], module=Graph())
    images = torch.rand(4, 1, 8, 8, generator=generator())
    assert torch.equal(reading.read(target, images).features, images.flatten(1).tanh())


@EACH
def test_the_gradient_at_the_last_layer_is_that_of_autograd(target):
    images = torch.rand(6, *target.profile.input_shape, generator=generator())
    labels = labels_of(target, 6)
    last = [module for module in target.module.modules() if isinstance(module, nn.Linear)][-1]
    found = losses.last_gradient(reading.read(target, images), labels)
    for image, label, norm in zip(images, labels, found.tolist(), strict=True):
        assert norm == pytest.approx(_gradient(target, image[None], label[None], list(last.parameters())), rel=1e-4)


@EACH
def test_the_gradient_at_all_layers_is_that_of_autograd_and_can_be_minimised(target):
    images = torch.rand(6, *target.profile.input_shape, generator=generator()).requires_grad_()
    labels = labels_of(target, 6)
    found = losses.full_gradient(target, images, labels)
    expected = _gradient(target, images.detach(), labels, list(target.module.parameters()))
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)
    (slope,) = torch.autograd.grad(found, images)
    assert slope.abs().max() > 0
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in target.module.parameters())


def _gradient(target, images, labels, parameters):
    """Norm of the gradient of the mean loss, by torch's own loss."""
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        logits = target(images)
        if logits.shape[1] == 1:
            loss = nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels.float())
        else:
            loss = nn.functional.cross_entropy(logits, labels)
        found = torch.autograd.grad(loss, parameters)
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
    return float(torch.cat([each.flatten() for each in found]).norm())
