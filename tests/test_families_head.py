"""The cut between the features of a network and the linear layers at its end."""

from dataclasses import replace

import pytest
import torch
from networks import NETWORKS, made
from tiny_targets import cnn_target, dense_stack, forward, headed_target
from torch import nn

from auditcli.families import rebuilt
from auditcli.families._detached import detached
from auditcli.families._pixels import FromPixels
from auditcli.families._trace import noise, trace
from auditcli.training import fresh
from auditcli.types import Normalisation

SHAPE = (3, 8, 8)


def cut(net):
    module = FromPixels(net, Normalisation((0.4,), (0.2,)), log_softmax=False).eval().requires_grad_(False)
    return module, detached(module, trace(module.net, noise(SHAPE)))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_head_on_its_features_is_the_network(name):
    module, head = cut(made(name))
    if head is None:
        assert NETWORKS[name][0] in {"mlp", "bnn"} or name == "mixer by convolutions over tokens"
        return
    images = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(3))
    first = nn.functional.linear(head.features(images), head.dense.weights[0], head.dense.biases[0])
    torch.testing.assert_close(forward(head.dense, first), module(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("act", [nn.ReLU(inplace=True), nn.ReLU6(), nn.Tanh(), nn.GELU()])
def test_a_head_is_as_long_as_its_chain_and_batch_norm_is_folded(act):
    norm = nn.BatchNorm1d(9)
    norm.running_mean.uniform_(-1, 1)
    top = (nn.Linear(4, 9), norm, act, nn.Dropout(), nn.Linear(9, 5))
    module, head = cut(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), *top))
    assert [tuple(weight.shape) for weight in head.dense.weights] == [(9, 4), (5, 9)]
    images = torch.rand(5, *SHAPE)
    first = nn.functional.linear(head.features(images), head.dense.weights[0], head.dense.biases[0])
    torch.testing.assert_close(forward(head.dense, first), module(images), rtol=1e-4, atol=1e-4)


def test_a_network_that_was_trained_anew_has_a_head_of_its_own():
    target = headed_target(dense_stack(144, 9, 5))
    old = target.head.dense.weights[0].clone()
    found = rebuilt(replace(target, span=object()), fresh(target, 5))
    assert found.span is None
    assert found.module is not target.module
    assert [weight.shape for weight in found.head.dense.weights] == [(9, 144), (5, 9)]
    assert torch.equal(target.head.dense.weights[0], old)
    assert not torch.equal(found.head.dense.weights[0], old)
    images = torch.rand(7, 1, 12, 12, generator=torch.Generator().manual_seed(4))
    features = found.head.features(images)
    assert not torch.allclose(features, target.head.features(images))
    first = nn.functional.linear(features, found.head.dense.weights[0], found.head.dense.biases[0])
    torch.testing.assert_close(forward(found.head.dense, first), found(images), rtol=1e-4, atol=1e-4)


def test_a_target_without_a_head_gets_none():
    target = replace(headed_target(dense_stack(144, 9, 5)), head=None)
    assert rebuilt(target, fresh(target, 5)).head is None


def test_a_network_without_the_head_of_the_target_is_refused():
    target = headed_target(dense_stack(144, 9, 5))
    with pytest.raises(ValueError, match="reads pixels"):
        rebuilt(target, cnn_target().module)
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 9), nn.ReLU(), nn.Linear(9, 5))
    flat = FromPixels(net, Normalisation((0.0,), (1.0,)), log_softmax=False)
    with pytest.raises(ValueError, match="does not end in the linear layers"):
        rebuilt(target, flat)
