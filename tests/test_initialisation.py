"""The initialisation check: attacks of known behaviour, a real one, and the command."""

import json
from dataclasses import replace

import pytest
import torch
from tiny_targets import dense_stack, dense_target, generator, smooth_images, stationary

from auditcli import initialisation, policy, terminal
from auditcli.__main__ import main
from auditcli.attacks import all_attacks, attack
from auditcli.effort import Effort
from auditcli.errors import AttackError, SampleError, UsageError
from auditcli.initialisation import Kind, Start, check, held_out, near, own
from auditcli.loading import save_described
from auditcli.types import Budget, Sample, Step, Trait

ATTACKS = {one.name: one for one in all_attacks()}
TARGET = dense_target(dense_stack(144, 8, 2), (1, 12, 12))
BUDGET = Budget(steps=3, seconds=60, candidates=8, restarts=2)
FIXED = smooth_images(8, 12, 7)


def sample(images, name="x", labels=None):
    ids = tuple(f"{name}{i}" for i in range(len(images)))
    return Sample(images, ids, ids, labels, name)


MEMBERS = sample(smooth_images(6, 12, 1), "m", torch.arange(6) % 2)
CONTROLS = sample(smooth_images(30, 12, 51), "c")
HELD = sample(smooth_images(20, 12, 77), "h", torch.arange(20) % 2)


def made(end, objective):
    """An attack that goes from its start to `end(start)`, where its objective is `objective(start)`."""

    @attack(paper="none")
    def fake(target, budget, rng, *, initial=None):
        begun = torch.rand(budget.candidates, *target.profile.input_shape, generator=rng)
        begun = begun if initial is None else initial
        yield Step(begun[None], torch.ones(1))
        yield Step(end(begun)[None], torch.tensor([objective(begun)]))

    return fake


STAYS = made(lambda begun: begun, lambda begun: 0.2)
LEAVES = made(lambda begun: FIXED, lambda begun: 0.2)


def starts(noise=0.05):
    return [own(), held_out(HELD, TARGET), near(MEMBERS, TARGET, noise)]


def checked(one, **more):
    return check(one, TARGET, starts(), BUDGET, seed=3, members=MEMBERS, controls=CONTROLS, **more)


def test_an_attack_that_stays_where_it_begins_shows_nothing():
    found = checked(STAYS)
    assert [arrival.stayed for arrival in found.arrivals] == [1, 1, 1]
    assert [arrival.likeness for arrival in found.arrivals] == pytest.approx([1, 1, 1])
    assert [arrival.shared[0] for arrival in found.arrivals] == [None, 0, 0]
    assert "no evidence that an image was trained on" in found.sentences[1]
    assert "does not tell these images from others" in found.sentences[2]
    assert "no more members than controls" in found.sentences[0]
    assert found.established


def test_one_that_leaves_its_start_does_not_depend_on_it():
    found = checked(LEAVES)
    assert [arrival.stayed for arrival in found.arrivals] == [0, 0, 0]
    assert [arrival.shared[0] for arrival in found.arrivals] == [None, 1, 1]
    assert found.arrivals[0].shared == (None, 1, 1)
    assert "does not depend on the start" in found.sentences[1]


@pytest.mark.parametrize(
    ("end", "other", "words"),
    [
        (lambda begun: begun, 0.6, "did not move: the attack does not leave where it begins"),
        (lambda begun: begun.flip(2), 0.2, "many images solve the condition, and the start chooses"),
        (lambda begun: begun.flip(2), 0.6, "the start decides how far"),
    ],
)
def test_what_strangers_say(end, other, words):
    strangers = starts()[1].drawn(8, 2, generator())
    one = made(end, lambda begun: other if begun.equal(strangers) else 0.2)
    assert words in checked(one).sentences[1]


def test_a_better_solution_near_the_truth_is_said():
    truth = starts()[2].drawn(8, 2, generator(3))
    one = made(lambda begun: begun, lambda begun: 0.05 if begun.equal(truth) else 0.5)
    found = checked(one)
    assert found.arrivals[2].objective == pytest.approx(0.05)
    assert "there is a better solution than noise leads to" in found.sentences[2]
    worse = made(lambda begun: begun, lambda begun: 0.5 if begun.equal(truth) else 0.05)
    assert "solve the condition worse" in checked(worse).sentences[2]


def test_where_nothing_is_explained_nothing_is_compared():
    found = checked(made(lambda begun: begun, lambda begun: 0.97))
    assert not found.established
    assert "explain next to nothing" in found.sentences[0]
    assert all("nothing was reached" in sentence for sentence in found.sentences[1:])


def test_scores_are_of_members_and_controls_before_and_after():
    found = checked(STAYS)
    own_start, _, close = found.arrivals
    assert close.before == close.after
    assert (close.after.nearer, close.after.members_over_half) == (1, 6)
    assert close.after.test.p_value < 0.001 < own_start.after.test.p_value
    assert close.after.expected == pytest.approx(6 / 36)
    assert (
        "more members than controls" in checked(made(lambda begun: smooth_images(8, 12, 1), lambda _: 0.2)).sentences[0]
    )
    alone = check(STAYS, TARGET, starts(), BUDGET, seed=3, members=MEMBERS)
    assert all(arrival.after is None for arrival in alone.arrivals)
    assert "nobody can say what the images are" in alone.sentences[0]


def test_images_to_score_with_change_nothing_but_the_scores():
    scored, bare = checked(STAYS), check(STAYS, TARGET, starts(), BUDGET, seed=3)
    for one, other in zip(scored.arrivals, bare.arrivals, strict=True):
        assert replace(one, before=None, after=None, seconds=0) == replace(other, seconds=0)


def test_one_that_fails_from_a_start_is_a_row_that_says_so():
    def failing(begun):
        if begun.equal(starts()[1].drawn(8, 2, generator())):
            raise AttackError("fake diverged")
        return begun

    found = checked(made(failing, lambda begun: 0.2))
    assert [bool(arrival.failed) for arrival in found.arrivals] == [False, True, False]
    assert found.sentences[1] == "From held-out images: no result (fake diverged)."
    assert found.arrivals[2].shared[1] is None
    assert found.established
    assert not check(made(failing, lambda _: 0.2), TARGET, starts()[:2], BUDGET, seed=3).established


def test_what_an_attack_needs_is_said_before_it_runs():
    needy = replace(STAYS, requires=frozenset({Trait.BATCH_NORM}))
    with pytest.raises(UsageError, match="needs batch-norm"):
        checked(needy)


# ---- starts ---------------------------------------------------------------------------------------------------------


def test_images_come_in_the_order_of_their_classes():
    labels = torch.tensor([1, 1, 0, 2, 0, 1])
    images = torch.arange(6.0)[:, None, None, None].expand(6, 1, 2, 2) / 10
    drawn = Start("x", Kind.HELD_OUT, images, labels).drawn(9, 3, generator())
    order = (10 * drawn[:, 0, 0, 0]).round().long()
    assert labels[order].tolist() == [0, 1, 2] * 3
    assert order.tolist() == [2, 0, 3, 4, 1, 3, 2, 5, 3]


def test_a_class_without_images_borrows():
    images = smooth_images(3, 8)
    drawn = Start("x", Kind.HELD_OUT, images, torch.zeros(3, dtype=torch.long)).drawn(4, 2, generator())
    assert drawn.shape == (4, 1, 8, 8)


def test_noise_is_what_was_asked_for_and_of_the_seed():
    images = torch.full((4, 1, 30, 30), 0.5)
    start = Start("x", Kind.NEAR, images, torch.arange(4) % 2, 0.1)
    one, again, other = (start.drawn(4, 2, generator(seed)) for seed in (1, 1, 2))
    assert float(one.std()) == pytest.approx(0.1, rel=0.1)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert Start("x", Kind.NEAR, images, torch.arange(4) % 2, 5.0).drawn(4, 2, generator()).max() == 1
    assert own().drawn(4, 2, generator()) is None


def test_classes_are_the_labels_or_what_the_model_says():
    for outputs in (1, 3):
        target = dense_target(dense_stack(144, 8, outputs), (1, 12, 12))
        logits = target(CONTROLS.images)
        said = (logits[:, 0] > 0).long() if outputs == 1 else logits.argmax(dim=1)
        assert 0 < int((said == 0).sum()) < len(CONTROLS)
        assert torch.equal(held_out(CONTROLS, target).classes, said)
    assert torch.equal(held_out(HELD, TARGET).classes, HELD.labels)


# ---- real attacks ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rested():
    images = smooth_images(6, 12, 1)
    _, target = stationary(images, seed=1)
    return sample(images, "m", torch.arange(6) % 2), target


@pytest.mark.parametrize("name", ["bilevel", "kkt"])
def test_near_the_truth_the_objective_begins_lower_and_the_images_are_found(rested, name):
    members, target = rested
    budget = Budget(steps=150, seconds=600, candidates=12, restarts=1)
    three = [own(), held_out(HELD, target), near(members, target, 0.05)]
    found = check(ATTACKS[name], target, three, budget, seed=0, members=members, controls=CONTROLS)
    noise, strangers, close = found.arrivals
    assert found.candidates == 12
    assert close.after.members_over_half == 6
    assert close.likeness > 0.7 > noise.likeness
    assert close.objective < strangers.objective
    assert len(found.sentences) == 3


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A model at rest and its images, on disk; runs of few steps."""
    import numpy as np

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    images = smooth_images(6, 12, 1)
    stack, _ = stationary(images, seed=1, widths=(20,))
    tensors = {}
    for number, (weight, bias) in enumerate(zip(stack.weights, stack.biases, strict=True)):
        tensors |= {f"{2 * number}.weight": weight, f"{2 * number}.bias": bias}
    described = {
        "family": "mlp",
        "activation": "gelu",
        "input_shape": (1, 12, 12),
        "classes": 2,
        "mean": (0.3,),
        "std": (0.5,),
    }
    save_described(tmp_path / "model.safetensors", tensors, described)
    for name, shown in (("members", images), ("held", HELD.images), ("controls", CONTROLS.images)):
        pixels = (255 * shown[:, 0]).round().byte().numpy()
        np.savez(tmp_path / f"{name}.npz", images=pixels)
    effort = Effort(steps=150, candidates=12, restarts=1, shuffles=0, shuffle_steps=1)
    monkeypatch.setattr("auditcli.initialisation._reading.EFFORTS", {"standard": effort})


SCORED = ["--members", "members.npz", "--controls", "controls.npz"]


@pytest.mark.usefixtures("files")
def test_the_command_prints_a_table_and_what_it_says(capsys):
    words = ["starts", "model.safetensors", "--images", "held.npz", "--near", "members.npz", "--noise", "0.02"]
    code = main([*words, "--noise", "0.3", *SCORED, "--quiet"])
    out, err = capsys.readouterr()
    assert (code, err) == (policy.PASSED, "")
    assert all(len(line) <= 80 for line in out.splitlines())
    for word in ("bilevel", "held-out images", "near, noise 0.02", "near, noise 0.3", "What that says"):
        assert word in out
    row = next(line for line in out.splitlines() if line.startswith("noise"))
    assert len(row.split()) >= 5


@pytest.mark.usefixtures("files")
def test_json_is_the_whole_check(capsys):
    assert main(["starts", "model.safetensors", "--images", "held.npz", "--attack", "kkt", "--json", "-q"]) in (0, 3)
    found = json.loads(capsys.readouterr().out)
    assert found["attack"] == "kkt"
    assert [arrival["kind"] for arrival in found["arrivals"]] == ["own", "held-out"]
    assert found["arrivals"][1]["after"] is None
    assert len(found["sentences"]) == 2


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ([], "only one start", "--images"),
        (["--images", "held.npz", "--attack", "noise"], "no attack noise that can begin", "bilevel, kkt"),
        (["--images", "members.npz", *SCORED], "--images and --members share 6 images", "--images"),
        (["--images", "controls.npz", *SCORED], "--images and --controls share 30 images", "--images"),
        (["--near", "controls.npz", *SCORED], "--near and --controls share 30 images", "--near"),
        (["--images", "nowhere"], "images: nowhere does not exist", "folder"),
        (["--near", "members.npz", "--noise", "-1"], "--noise", "--help"),
    ],
)
def test_what_cannot_be_compared_is_refused(capsys, words, error, hint):
    assert main(["starts", "model.safetensors", *words]) == policy.UNUSABLE
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert error in first
    assert hint in second


def test_where_nothing_was_established_the_exit_code_says_so(monkeypatch, capsys):
    monkeypatch.setattr("auditcli.auditing.load", lambda *_, **__: TARGET)
    empty = checked(made(lambda begun: begun, lambda begun: 0.99))
    monkeypatch.setattr(initialisation, "checked", lambda *_, **__: empty)
    assert main(["starts", "m.safetensors", "--images", "x"]) == policy.INCONCLUSIVE
    assert "explain next to nothing" in " ".join(capsys.readouterr().out.split())


def test_a_failed_start_has_its_row(capsys):
    def failing(begun):
        raise AttackError("fake \x1b[31mdiverged")

    broken = made(failing, lambda begun: 0.2)
    terminal.show_starts(terminal.stdout(), check(broken, TARGET, starts()[:2], BUDGET, seed=0))
    out = capsys.readouterr().out
    assert out.count("failed") == 2
    assert "\x1b" not in out


def test_a_wrong_sample_is_an_error_of_its_own():
    with pytest.raises(SampleError, match="share 6 images"):
        initialisation._reading._require_apart(MEMBERS, None, MEMBERS, None)
