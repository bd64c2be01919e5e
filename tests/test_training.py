"""Networks trained by the audit: nothing learnt is left in a fresh one, and a trained one is a target again."""

from dataclasses import replace

import pytest
import torch
from tiny_targets import ACTIVATIONS, cnn_target, dense_stack, dense_target, forward, generator, smooth_images
from torch import nn

from auditcli.errors import AttackError
from auditcli.families import rebuilt
from auditcli.training import Recipe, fit, fresh, predicted
from auditcli.types import Trait

QUICK = Recipe(steps=60, loss=0.0, rate=0.01)


class _Bare(nn.Module):
    """Weights that belong to no layer, as in a converted graph, and constants that are no weights."""

    def __init__(self):
        super().__init__()
        rng = generator(4)
        self.w = nn.Parameter(torch.randn(64, 3, generator=rng) / 8)
        self.b = nn.Parameter(torch.randn(3, generator=rng))
        self.binary = nn.Parameter(0.3 * torch.randn(8, 8, generator=rng).sign())
        self.mask = nn.Parameter(torch.tensor([[0.0, -100.0, 0.0], [-100.0, 0.0, 0.0]]))
        self.one = nn.Parameter(torch.ones(3))
        self.infinite = nn.Parameter(torch.tensor([0.5, -torch.inf, 1.0]))

    def forward(self, images):
        return (images.flatten(1) @ self.w + self.b) * self.one


def bare_target(outputs=3):
    return replace(dense_target(dense_stack(64, outputs)), module=_Bare().requires_grad_(False), dense=None)


def normed_target(seed=0):
    """A dense network whose batch norms stand on the input, before and behind the activation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.BatchNorm1d(64), nn.Linear(64, 9), nn.BatchNorm1d(9), nn.Tanh()]
        layers += [nn.Linear(9, 7, bias=False), nn.Tanh(), nn.BatchNorm1d(7), nn.Linear(7, 3)]
        target = dense_target(dense_stack(64, 9, 7, 3, activation="tanh"))
        module = nn.Sequential(target.module[0], nn.Flatten(), *layers)
    return rebuilt(replace(target, module=module), module)


def data(n=24, classes=3, side=8, seed=0):
    return smooth_images(n, side, seed), torch.arange(n) % classes


def state_of(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# ---- fresh ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", [dense_target(dense_stack(64, 8, 3)), cnn_target(), bare_target()], ids=["dense", "cnn", "bare"]
)
def test_a_fresh_network_shares_nothing_with_its_target_and_depends_on_the_seed_alone(target):
    before, random = state_of(target.module), torch.get_rng_state()
    one, again, other = fresh(target, 1), fresh(target, 1), fresh(target, 2)
    assert same(state_of(one), state_of(again))
    assert not same(state_of(one), state_of(other))
    assert same(state_of(target.module), before)
    assert torch.equal(torch.get_rng_state(), random)
    pointers = {tensor.data_ptr() for tensor in target.module.parameters()}
    assert not pointers & {tensor.data_ptr() for tensor in one.parameters()}
    assert not any(parameter.requires_grad for parameter in (*one.parameters(), *target.module.parameters()))
    assert not one.training


def test_layers_of_torch_are_drawn_as_torch_draws_them():
    target = cnn_target(seed=3)
    target.module[1].running_mean += 5
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        for layer in (expected := cnn_target(seed=4).module).children():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
    assert same(state_of(fresh(target, 7)), state_of(expected))


def test_loose_weights_are_their_own_entries_in_another_order_and_constants_stay():
    target = bare_target()
    net = fresh(target, 0)
    for name in ("w", "b", "binary"):
        old, new = getattr(target.module, name), getattr(net, name)
        assert torch.equal(old.flatten().sort().values, new.flatten().sort().values)
    assert not torch.equal(target.module.w, net.w)
    assert abs(torch.corrcoef(torch.stack([target.module.w.flatten(), net.w.flatten()]))[0, 1]) < 0.3
    assert not torch.equal(target.module.binary, net.binary)
    for name in ("mask", "one", "infinite"):
        assert torch.equal(getattr(target.module, name), getattr(net, name))


# ---- fit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize(
    "target", [dense_target(dense_stack(64, 16, 3)), cnn_target(), bare_target()], ids=["dense", "cnn", "bare"]
)
def test_training_learns_and_leaves_the_target_alone(target, optimiser):
    images, labels = data()
    before, random = state_of(target.module), torch.get_rng_state()
    recipe = replace(QUICK, steps=200, rate=0.03, optimiser=optimiser, batch=10)
    fitted = fit(target, images, labels, recipe, seed=0, seconds=100)
    untrained = nn.functional.cross_entropy(fresh(target, 0)(images), labels)
    assert nn.functional.cross_entropy(fitted.target(images), labels) < 0.8 * untrained
    assert fitted.complete
    assert fitted.steps == 200
    assert same(state_of(target.module), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(layer.training for layer in fitted.target.module.modules())
    assert not any(parameter.requires_grad for parameter in fitted.target.module.parameters())
    assert fitted.target.profile == target.profile
    again = fit(target, images, labels, recipe, seed=0, seconds=100)
    assert same(state_of(fitted.target.module), state_of(again.target.module))


def test_batch_norm_learns_its_statistics():
    target, (images, labels) = cnn_target(), data()
    norm = fit(target, images, labels, QUICK, seed=0, seconds=100).target.module[1]
    assert norm.num_batches_tracked == QUICK.steps
    assert norm.running_mean.abs().max() > 0


def test_it_ends_at_the_loss():
    target, (images, labels) = dense_target(dense_stack(64, 16, 3)), data()
    fitted = fit(target, images, labels, Recipe(steps=5000, loss=0.3, rate=0.01), seed=0, seconds=100)
    assert fitted.loss <= 0.3
    assert fitted.steps < 5000
    assert fitted.complete


def test_the_clock_ends_it_incomplete():
    target, (images, labels) = dense_target(dense_stack(64, 16, 3)), data()
    fitted = fit(target, images, labels, Recipe(steps=10**9, loss=0.0, rate=0.01), seed=0, seconds=0.0)
    assert not fitted.complete
    assert 0 < fitted.steps < 1000


def test_a_single_logit_is_fitted_by_its_sign():
    target = dense_target(dense_stack(64, 16, 1))
    images, labels = data(classes=2)
    fitted = fit(target, images, labels, replace(QUICK, steps=300), seed=0, seconds=100)
    assert torch.equal(predicted(fitted.target, images), labels)
    loss = nn.functional.binary_cross_entropy_with_logits(fitted.target(images)[:, 0], labels.float())
    assert float(loss) == pytest.approx(fitted.loss, rel=0.5)


def test_log_probabilities_are_taken_as_they_are():
    plain = dense_target(dense_stack(64, 16, 3))
    profile = replace(plain.profile, traits=plain.profile.traits | {Trait.SOFTMAX_OUTPUT})
    module = nn.Sequential(plain.module, nn.LogSoftmax(1))
    images, labels = data()
    outputs = [
        fit(target, images, labels, QUICK, seed=0, seconds=100).target(images)
        for target in (plain, replace(plain, module=module, profile=profile, dense=None))
    ]
    torch.testing.assert_close(outputs[0].log_softmax(1), outputs[1], rtol=1e-3, atol=1e-3)


def test_weight_decay_and_the_first_scale_shrink_the_first_layer():
    target, (images, labels) = dense_target(dense_stack(64, 16, 3)), data()
    small = replace(QUICK, steps=1, rate=0.0, first_scale=0.01)
    first = fit(target, images, labels, small, seed=0, seconds=100).target.dense
    plain = dense_target(dense_stack(64, 16, 3))
    start = rebuilt(plain, fresh(plain, 0)).dense
    torch.testing.assert_close(first.weights[0], 0.01 * start.weights[0])
    torch.testing.assert_close(first.biases[0], 0.01 * start.biases[0])
    torch.testing.assert_close(first.weights[1], start.weights[1])


def test_progress_is_told_and_ctrl_c_passes():
    target, (images, labels) = cnn_target(), data()
    seen = []
    fit(target, images, labels, QUICK, seed=0, seconds=100, watch=seen.append, name="a model")
    assert [progress.step for progress in seen] == [20, 40, 60]
    assert {progress.attack for progress in seen} == {"a model"}
    assert all(progress.steps == 60 and progress.objective > 0 for progress in seen)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(target, images, labels, QUICK, seed=0, seconds=100, watch=stop)
    assert not any(parameter.requires_grad for parameter in target.module.parameters())


def test_a_loss_without_bounds_is_an_error():
    target, (images, labels) = dense_target(dense_stack(64, 16, 3)), data()
    with pytest.raises(AttackError, match="diverged at step"):
        fit(target, images, labels, replace(QUICK, rate=1e30), seed=0, seconds=100)


# ---- rebuilt --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_the_dense_stack_is_that_of_the_new_network(activation):
    target = dense_target(dense_stack(64, 9, 7, 3, activation=activation))
    agree(rebuilt(target, fresh(target, 5)))


def test_batch_norm_is_folded_wherever_it_stands():
    target, (images, labels) = normed_target(), data()
    fitted = fit(target, images, labels, replace(QUICK, batch=12), seed=0, seconds=100).target
    agree(fitted)
    assert (fitted.module[2].running_mean != 0).any()


def agree(target):
    images = torch.rand(50, 1, 8, 8, generator=generator(3))
    dense = target.dense
    first = nn.functional.linear(((images - 0.3) / 0.5).flatten(1), dense.weights[0], dense.biases[0])
    torch.testing.assert_close(forward(dense, first), target(images), rtol=1e-4, atol=1e-4)


def test_another_network_is_refused():
    target = dense_target(dense_stack(64, 9, 7, 3))
    with pytest.raises(ValueError, match="other linear layers"):
        rebuilt(target, dense_target(dense_stack(64, 9, 3)).module)
    with pytest.raises(ValueError, match="does not compute"):
        rebuilt(target, dense_target(dense_stack(64, 9, 7, 3, activation="tanh")).module)


def test_a_target_without_a_dense_stack_gets_none():
    target = cnn_target()
    assert rebuilt(target, fresh(target, 0)).dense is None
