"""A fine-tune beside the model it started from: the difference of first layers, who reads it, and what is refused."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_targets import cnn_target, dense_stack, dense_target, forward, generator, headed_target
from torch.nn import functional

import auditcli
from auditcli.__main__ import main
from auditcli.attacks import all_attacks, run
from auditcli.errors import AttackError, UsageError
from auditcli.families import rebuilt
from auditcli.lineage import based
from auditcli.loading import load, save_described
from auditcli.membership import Query, all_signals, multipliers
from auditcli.resources import resource
from auditcli.types import Budget, Checkpoint, DenseStack, Format
from auditcli.weights import base_of, shuffled_target, span, span_of, written
from auditcli.weights.difference import first_layer

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True)
SIGNALS = {signal.name: signal for signal in all_signals()}
HONEST = resource("fixtures", "mlp-honest") / "model.safetensors"


def noisy_images(n, side, seed):
    """Images (n, 1, side, side) that share no directions, as smooth ones do."""
    return torch.rand(n, 1, side, side, generator=generator(seed))


def finetuned(dense, inputs, labels, *, steps=60, rate=0.05, momentum=0.9, decay=0.0):
    """The stack after steps of gradient descent on all inputs (n, d) at once."""
    parameters = [value.clone().requires_grad_() for value in (*dense.weights, *dense.biases)]
    count = len(dense.weights)
    optimizer = torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay)
    for _ in range(steps):
        optimizer.zero_grad()
        stack = DenseStack(tuple(parameters[:count]), tuple(parameters[count:]), dense.activation)
        first = functional.linear(inputs, stack.weights[0], stack.biases[0])
        functional.cross_entropy(forward(stack, first), labels).backward()
        optimizer.step()
    values = [value.detach() for value in parameters]
    return DenseStack(tuple(values[:count]), tuple(values[count:]), dense.activation)


def tuned_target(*, members=12, decay=0.0, side=12, widths=(60, 40, 3), seed=0):
    """A target with its base, the images it was fine-tuned on, their labels, and images it never saw."""
    before = dense_stack(side * side, *widths, seed=seed)
    images = noisy_images(members, side, 1)
    labels = torch.arange(members) % widths[-1]
    after = finetuned(before, ((images - 0.3) / 0.5).flatten(1), labels, decay=decay)
    shape = (1, side, side)
    target = replace(dense_target(after, shape), base=dense_target(before, shape))
    return target, images, labels, noisy_images(80, side, 77)


def checkpoint(tmp_path, name="public.safetensors"):
    return Checkpoint(tmp_path / name, Format.SAFETENSORS, "0" * 64, 1, {})


# ---- the difference -------------------------------------------------------------------------------------------------


@PROPERTY
@given(st.floats(0.2, 1.0), st.integers(1, 12), st.booleans(), st.integers(0, 2**31))
def test_what_is_left_of_the_base_is_taken_off_and_nothing_else(left, rank, tall, seed):
    rng = generator(seed)
    rows, columns = (60, 41) if tall else (30, 65)
    before = torch.randn(rows, columns, generator=rng).double()
    added = torch.randn(rows, rank, generator=rng).double() @ torch.randn(rank, columns, generator=rng).double()
    one, other = (DenseStack((m[:, :-1],), (m[:, -1],), "relu") for m in (left * before + added, before))
    torch.testing.assert_close(written(one, other), added, atol=1e-6, rtol=1e-6)


def test_a_wide_layer_is_sketched_to_the_same_answer(monkeypatch):
    rng = generator(3)
    before = torch.randn(90, 120, generator=rng).double()
    added = torch.randn(90, 5, generator=rng).double() @ torch.randn(5, 120, generator=rng).double()
    one, other = (DenseStack((m[:, :-1],), (m[:, -1],), "relu") for m in (0.8 * before + added, before))
    monkeypatch.setattr("auditcli.weights.difference._SKETCH", 40)
    torch.testing.assert_close(written(one, other), added, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_the_difference_spans_the_inputs_and_nothing_else(decay):
    target, images, _, others = tuned_target(decay=decay)
    found = span_of(target)
    assert len(images) <= found.rank <= len(images) + 2
    near, far = (found.residual(((x - 0.3) / 0.5).flatten(1)) for x in (images, others))
    assert near.max() < 1e-3 < far.min()
    assert span(target.dense).rank < len(images)
    torch.testing.assert_close(found.image, (first_layer(target.dense) @ found.basis.double()).float())
    torch.testing.assert_close(found.written, (written(target.dense, base_of(target)) @ found.basis.double()).float())


def test_without_a_base_all_of_the_layer_was_written():
    dense = dense_stack(40, 30, 3)
    found = span(dense, at_least=4)
    torch.testing.assert_close(written(dense), first_layer(dense))
    torch.testing.assert_close(found.written, found.image)


def test_neurons_that_never_fired_hide_no_noise():
    before = first_layer(dense_stack(100, 80, 3))
    noise = 1e-6 * torch.randn(before.shape, generator=generator(1)).double()
    noise[:40] = 0
    added = torch.randn(80, 4, generator=generator(2)).double() @ torch.randn(4, 101, generator=generator(3)).double()
    added[:40] = 0
    one, other = (DenseStack((m[:, :-1],), (m[:, -1],), "relu") for m in (before + noise + added, before))
    assert span(one, other).rank == 4


def test_a_layer_that_nothing_was_written_into_is_an_error():
    dense = dense_stack(40, 30, 3)
    with pytest.raises(AttackError, match="that of the base model") as raised:
        span(dense, dense)
    assert "--base" in raised.value.hint
    kkt = next(attack for attack in all_attacks() if attack.name == "kkt")
    target = dense_target(dense_stack(64, 24, 3))
    with pytest.raises(AttackError, match="that of the base model"):
        run(kkt, replace(target, base=target), Budget(3, 60, 4, 1), seed=0)


def test_shuffling_takes_the_base_along():
    target, *_ = tuned_target()
    target = replace(target, span=span_of(target))
    copy = shuffled_target(target, generator(1))
    fresh = span_of(replace(copy, span=None))
    torch.testing.assert_close(copy.span.values, fresh.values)
    torch.testing.assert_close(copy.span.written @ copy.span.basis.T, fresh.written @ fresh.basis.T, atol=1e-5, rtol=0)
    assert not torch.equal(copy.span.written, target.span.written)


def test_a_copy_with_other_weights_has_no_base():
    target, *_ = tuned_target()
    assert rebuilt(target, target.module).base is None


# ---- signals and attacks that read it ------------------------------------------------------------------------------


def auc(name, target, members, controls):
    scores = SIGNALS[name].scores(Query(target, torch.cat([members, controls])))
    near, far = scores[: len(members)], scores[len(members) :]
    return float((near[:, None] > far[None]).double().mean())


def test_the_span_tells_members_by_the_base_and_not_without():
    target, images, _, others = tuned_target()
    assert auc("span", target, images, others) == 1
    assert auc("span", replace(target, base=None), images, others) < 0.9


def test_the_span_of_a_head_is_read_against_that_of_its_base():
    before = dense_stack(144, 60, 3)
    start = headed_target(before)
    images, others = noisy_images(12, 24, 1), noisy_images(80, 24, 77)
    after = finetuned(before, start.head.features(images), torch.arange(12) % 3, rate=0.02)
    target = replace(headed_target(after), base=start)
    assert auc("head_span", target, images, others) > 0.99
    with pytest.raises(AttackError, match="stands above the noise"):
        auc("head_span", replace(target, base=None), images, others)


def test_the_multipliers_of_a_head_explain_what_was_written():
    """The more of the base is left beside what was written, the less is told without the base, and the same with it."""
    before = dense_stack(144, 60, 3)
    images, others = noisy_images(12, 24, 1), noisy_images(80, 24, 77)
    after = finetuned(before, headed_target(before).head.features(images), torch.arange(12) % 3, rate=0.02)
    told = []
    for louder in (1, 20):
        # The logits stay, so that only what is to be explained changes.
        stacks = [
            DenseStack((one.weights[0] + (louder - 1) * before.weights[0], *one.weights[1:]), one.biases, "relu")
            for one in (after, before)
        ]
        target = replace(headed_target(after), base=headed_target(before))
        target = replace(target, head=replace(target.head, dense=stacks[0]))
        base = replace(target.base, head=replace(target.base.head, dense=stacks[1]))
        told += [auc("head_multipliers", replace(target, base=one), images, others) for one in (base, None)]
    assert told[0] > 0.95
    assert told[2] > told[3] + 0.1


def test_multipliers_do_not_depend_on_how_much_of_the_base_is_left():
    rng = generator(0)
    gradients = torch.randn(20, 300, generator=rng).double().numpy()
    start = 5 * torch.randn(300, generator=rng)
    added = torch.from_numpy(gradients[:5].sum(0)).float()
    shares = [multipliers._solved(gradients, left * start + added, start) for left in (1.0, 0.7)]
    assert shares[0][0] == pytest.approx(shares[1][0], abs=1e-4)
    assert shares[0][1] == pytest.approx(shares[1][1], abs=1e-4)
    assert min(shares[0][1][:5]) > 0.5 > max(shares[0][1][5:])
    assert multipliers._solved(gradients, start + added, None)[0] < 0.5 < shares[0][0]


def test_multipliers_read_the_difference():
    target, images, _, others = tuned_target()
    assert auc("multipliers", target, images, others) > 0.85


def test_multipliers_leave_out_what_was_not_trained():
    target, images, _, others = tuned_target()
    query = Query(replace(target, base=target), torch.cat([images, others]))
    with pytest.raises(AttackError, match="no weights differ"):
        SIGNALS["multipliers"].scores(query)


def test_kkt_explains_what_was_written():
    target, *_ = tuned_target()
    kkt = next(attack for attack in all_attacks() if attack.name == "kkt")
    found = run(kkt.with_settings(exponent=0.2), target, Budget(250, 100, 24, 1), seed=0)
    inputs = ((found.candidates[0] - 0.3) / 0.5).flatten(1)
    assert found.candidates.shape[1] == 24
    # In the span of the difference, which the images that it started from were not.
    assert span_of(target).residual(inputs).mean() < 0.1
    assert found.trace[-1][1] < 0.9 * found.trace[0][1]


# ---- what may be a base --------------------------------------------------------------------------------------------


def test_a_base_is_kept_and_said(tmp_path):
    target, *_ = tuned_target()
    alone = replace(target, base=None)
    joined = based(alone, target.base, checkpoint(tmp_path))
    assert joined.base is target.base
    (said,) = (one for one in joined.profile.statements if one.what == "base")
    assert said.value == "public.safetensors"
    assert "0" * 64 in said.why
    assert said.why.startswith("stated by --base")


def test_a_base_may_have_other_classes(tmp_path):
    target, *_ = tuned_target()
    start = target.base.dense
    other = DenseStack(
        (*start.weights[:-1], torch.randn(7, 40, generator=generator())),
        (*start.biases[:-1], torch.zeros(7)),
        start.activation,
    )
    joined = based(replace(target, base=None), dense_target(other, (1, 12, 12)), checkpoint(tmp_path))
    assert span_of(joined).rank >= 12


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (dense_target(dense_stack(144, 60, 30, 3), (1, 12, 12)), "30x60, in the model 40x60"),
        (dense_target(dense_stack(144, 60, 3), (1, 12, 12)), "tensors of weights"),
        (dense_target(dense_stack(64, 60, 40, 3), (1, 8, 8)), "images of 1x8x8"),
        (dense_target(dense_stack(144, 60, 40, 3, activation="gelu"), (1, 12, 12)), "activation is gelu"),
        (dense_target(dense_stack(144, 60, 40, 3, seed=5), (1, 12, 12)), "a cosine of"),
    ],
    ids=["width", "depth", "input", "activation", "stranger"],
)
def test_what_is_no_base_is_refused(tmp_path, other, what):
    target, *_ = tuned_target()
    with pytest.raises(UsageError, match=what) as raised:
        based(replace(target, base=None), other, checkpoint(tmp_path))
    assert "public.safetensors" in raised.value.message
    assert "--base" in raised.value.hint


def test_a_model_is_not_its_own_base(capsys):
    assert main(["scan", str(HONEST), "--base", str(HONEST)]) == 2
    err = capsys.readouterr().err
    assert "nothing was fine-tuned" in err
    assert "hint:" in err


def test_a_convolution_has_a_base_too(tmp_path):
    one, other = cnn_target(seed=0), cnn_target(seed=0)
    with torch.no_grad():
        next(one.module.parameters()).add_(0.1)
    assert based(one, other, checkpoint(tmp_path)).base is other


# ---- from files ----------------------------------------------------------------------------------------------------


def test_a_fine_tune_on_disk_gives_its_images_away(tmp_path):
    start = auditcli.load(HONEST, device="cpu")
    images = noisy_images(10, 28, 3)
    inputs = ((images - start.profile.normalisation.mean[0]) / start.profile.normalisation.std[0]).flatten(1)
    after = finetuned(start.dense, inputs, torch.arange(10), steps=20, rate=0.01)
    tensors = dict(load(HONEST).tensors)
    for index, name in enumerate(name for name in tensors if name.endswith("weight")):
        tensors[name] = after.weights[index]
        tensors[name.replace("weight", "bias")] = after.biases[index]
    description = {"family": "mlp", "activation": "relu", "input_shape": (1, 28, 28), "classes": 10}
    norm = {"mean": start.profile.normalisation.mean, "std": start.profile.normalisation.std}
    save_described(tmp_path / "tuned.safetensors", tensors, {**description, **norm})
    target = auditcli.load(tmp_path / "tuned.safetensors", device="cpu", base=HONEST)
    assert auc("span", target, images, noisy_images(50, 28, 99)) == 1.0
