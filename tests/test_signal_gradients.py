"""Signals from gradients and probabilities against slow obvious versions, and the time limit."""

import math
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from test_membership_signals import BY_NAME, TARGETS, as_sample, ask, images_of, labels_of
from tiny_targets import cnn_target, dense_stack, dense_target, generator, smooth_images, stationary
from torch import nn

from auditcli.errors import AttackError
from auditcli.membership import Query, _gradients, multipliers
from auditcli.membership._logits import margins, per_class


def by_autograd(target, images, labels):
    """Norm of the gradient of each image's loss, one at a time in float64."""
    module = target.module.double().requires_grad_(True)
    norms = []
    for image, label in zip(images.double(), labels, strict=True):
        module.zero_grad()
        nn.functional.cross_entropy(per_class(module(image[None])), label[None]).backward()
        norms.append(math.sqrt(sum(float(p.grad.square().sum()) for p in module.parameters())))
    return torch.tensor(norms, dtype=torch.float64)


MAKE = {
    "several classes": lambda: dense_target(dense_stack(144, 30, 4), (1, 12, 12)),
    "one logit": lambda: dense_target(dense_stack(144, 30, 1), (1, 12, 12)),
    "batch norm": lambda: cnn_target(4),
}


@pytest.mark.parametrize("name", MAKE)
def test_the_gradient_norm_is_that_of_a_loop(name):
    target = MAKE[name]()
    images, labels = images_of(target), labels_of(target)
    found = ask(BY_NAME["gradient_norm"], target, images, labels)
    expected = -by_autograd(MAKE[name](), images, labels).log()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_norm_keeps_its_digits_where_the_loss_has_none():
    dense = dense_stack(144, 30, 4)
    scaled = replace(dense, weights=(*dense.weights[:-1], dense.weights[-1] * 1e4))
    target = dense_target(scaled, (1, 12, 12))
    found = ask(BY_NAME["gradient_norm"], target, images_of(target))
    assert found.isfinite().all()
    assert len(found.unique()) == 9
    assert found.max() > 200


class _Stubborn(nn.Module):
    """A network that `torch.vmap` cannot follow."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, images):
        return self.net(images) if images.sum().item() > -1 else self.net(-images)


@pytest.mark.parametrize("signal", ["gradient_norm", "multipliers"])
def test_a_network_that_vmap_cannot_follow_is_asked_image_by_image(signal):
    target = MAKE["several classes"]()
    stubborn = replace(target, module=_Stubborn(target.module).requires_grad_(False))
    images, labels = images_of(target), labels_of(target)
    expected = ask(BY_NAME[signal], target, images, labels)
    torch.testing.assert_close(ask(BY_NAME[signal], stubborn, images, labels), expected, rtol=1e-3, atol=1e-4)


def test_vmap_follows_the_networks_here(monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr(_gradients, "_singly", never)
    for target in TARGETS.values():
        ask(BY_NAME["gradient_norm"], target, images_of(target))


# ---- modified entropy -----------------------------------------------------------------------------------------------


class _Logits(nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return self.logits[images.flatten(1)[:, 0].long()]


def entropy_of(logits, labels=None):
    target = replace(TARGETS["several classes"], module=_Logits(logits), dense=None)
    numbers = torch.arange(len(logits), dtype=torch.float32)[:, None, None, None]
    return ask(BY_NAME["modified_entropy"], target, numbers, labels)


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_the_modified_entropy_is_its_definition(scale):
    logits = torch.randn(40, 5, generator=generator(1)).double() * scale
    labels = torch.randint(5, (40,), generator=generator(2))
    p = logits.softmax(1).numpy()
    expected = []
    for row, y in zip(p, labels.tolist(), strict=True):
        wrong = sum(row[j] * math.log(1 - row[j]) for j in range(5) if j != y)
        expected.append(-math.log(-(1 - row[y]) * math.log(row[y]) - wrong))
    np.testing.assert_allclose(entropy_of(logits, labels), expected, rtol=1e-6)


def test_the_modified_entropy_tells_certain_images_apart():
    sure = entropy_of(torch.tensor([[200.0, 0, 0], [300.0, 0, 0], [0, 200.0, 0], [0, 300.0, 0]]), torch.zeros(4).long())
    assert sure.isfinite().all()
    assert sure[1] > sure[0] > sure[2] > sure[3]


# ---- multipliers ----------------------------------------------------------------------------------------------------


def test_multipliers_are_those_of_the_explicit_problem():
    target = dense_target(dense_stack(144, 1, bias=False), (1, 12, 12))
    images, labels = images_of(target), labels_of(target)
    flat = ((images - 0.3) / 0.5).flatten(1).double() * (2.0 * labels[:, None] - 1)
    norms = flat.norm(dim=1)
    theta = target.dense.weights[0][0].double()
    units = (flat / norms[:, None]).numpy()
    tall = np.concatenate([units.T, math.sqrt(0.03) * np.eye(9)])
    expected, _ = nnls(tall, np.concatenate([theta.numpy() / float(theta.norm()), np.zeros(9)]))
    found = ask(BY_NAME["multipliers"], target, images, labels)
    np.testing.assert_allclose(found.clamp_min(0), expected * float(theta.norm()) / norms.numpy(), rtol=1e-3, atol=1e-5)
    assert (expected > 0).any()
    assert (found < 0).any()


def test_multipliers_find_the_images_the_weights_are_the_sum_of():
    members = smooth_images(10, 12, 1)
    _, target = stationary(members, seed=1)
    everyone = torch.cat([members, smooth_images(50, 12, 9)])
    labels = torch.arange(60) % 2
    scores = ask(BY_NAME["multipliers"], target, everyone, labels)
    order = scores.argsort(descending=True)
    assert (order[:10] < 10).sum() >= 8


def test_of_a_deep_network_a_dozen_tensors_from_the_first_to_the_last_are_looked_at():
    weights = {f"{number:02}": torch.zeros(100, 100) for number in range(40)} | {"bias": torch.zeros(50_000)}
    places = multipliers._places(weights, 20, generator())
    names = list(dict.fromkeys(name for name, _ in places))
    assert names == sorted(names)
    assert (len(names), names[0], names[-1]) == (12, "00", "39")
    assert {int(b) - int(a) for a, b in pairwise(names)} == {3, 4}
    assert all(len(place) == len(place.unique()) <= 5000 for _, place in places)


def test_the_clock_ends_multipliers_between_two_blocks(monkeypatch):
    now, solved = [0.0], multipliers._solved

    def slow(*block):
        now[0] += 10
        return solved(*block)

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(multipliers, "_solved", slow)
    target = TARGETS["several classes"]
    with pytest.raises(AttackError, match=r"out of time \(5 s\) after 1 of 3 blocks"):
        BY_NAME["multipliers"].scores(Query(target, images_of(target), seconds=5))


# ---- robustness -----------------------------------------------------------------------------------------------------


def test_robustness_is_the_mean_margin_of_noisy_copies():
    target = TARGETS["several classes"]
    images, labels = images_of(target), labels_of(target)
    noise = (torch.rand(8, *images.shape[1:], generator=generator(5)) * 2 - 1) * 8 / 255
    expected = torch.stack([margins(target((images + u).clamp(0, 1)), labels) for u in noise]).mean(0)
    found = BY_NAME["robustness"].scores(Query(target, images, labels, seed=5))
    torch.testing.assert_close(found, expected)
    assert not torch.equal(found, BY_NAME["robustness"].scores(Query(target, images, labels, seed=6)))


# ---- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["confidence", "gradient_norm", "modified_entropy", "multipliers", "robustness"])
def test_a_signal_without_time_says_how_far_it_came(name):
    target = TARGETS["several classes"]
    with pytest.raises(AttackError, match=r"out of time \(0 s\) after 0 of 9 images"):
        BY_NAME[name].scores(Query(target, images_of(target), seconds=0))


def test_the_clock_ends_a_pass_between_two_batches():
    images = images_of(TARGETS["several classes"], 10)

    def slow():
        for batch, _ in Query(TARGETS["several classes"], images, seconds=0.05).batches(4):
            time.sleep(0.06)
            yield batch

    with pytest.raises(AttackError, match=r"after 4 of 10 images") as caught:
        list(slow())
    assert caught.value.hint


def test_batches_are_all_images_in_order_with_their_labels():
    images, labels = images_of(TARGETS["several classes"], 10), torch.arange(10)
    parts = list(Query(TARGETS["several classes"], images, labels).batches(4))
    assert [len(part) for part, _ in parts] == [4, 4, 2]
    assert torch.equal(torch.cat([part for part, _ in parts]), images)
    assert torch.equal(torch.cat([part for _, part in parts]), labels)
    assert as_sample(images).labels is None
