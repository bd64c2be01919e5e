"""What every attack promises; a new one is found and held to it without an edit here."""

import ast
import inspect
import json
import re
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from tiny_targets import (
    binarised_target,
    cnn_target,
    convolution_target,
    dense_stack,
    dense_target,
    generator,
    headed_target,
    vit_target,
)

import auditcli
from auditcli.attacks import all_attacks, run
from auditcli.attacks import attack as make_attack
from auditcli.errors import SampleError, UsageError
from auditcli.outcomes import attempt
from auditcli.types import Budget, Step, StopReason

ATTACKS = all_attacks()
PACKAGE = Path(auditcli.__file__).parent
TARGETS = {
    "several classes": dense_target(dense_stack(64, 24, 16, 3)),
    "one logit": dense_target(dense_stack(64, 24, 1, activation="tanh", seed=1)),
    "no bias": dense_target(dense_stack(64, 24, 3, seed=2, bias=False)),
    "batch norm": cnn_target(),
    "convolution": convolution_target(),
    "signs": binarised_target(12, 3),
    "head": headed_target(dense_stack(144, 16, 3, seed=3)),
    "batch norm, one logit": cnn_target(outputs=1),
    "attention": vit_target(),
}
PAIRS = [
    pytest.param(attack, target, id=f"{attack.name}, {name}")
    for attack in ATTACKS
    for name, target in TARGETS.items()
    if not attack.missing(target.profile)
]
EACH = pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
SMALL = Budget(steps=4, seconds=60, candidates=5, restarts=2)


def same(one, other):
    return one.shape == other.shape and torch.equal(one, other)


@EACH
def test_it_runs_on_some_target_here(attack):
    assert any(not attack.missing(target.profile) for target in TARGETS.values())


@pytest.mark.parametrize(("attack", "target"), PAIRS)
def test_every_step_is_a_batch_of_images_and_an_objective_a_restart(attack, target):
    steps = list(islice(attack.start(target, SMALL, generator()), SMALL.steps))
    assert steps
    for step in steps:
        restarts, n, *shape = step.candidates.shape
        assert restarts == SMALL.restarts
        assert 1 <= n <= SMALL.candidates
        assert tuple(shape) == target.profile.input_shape
        assert step.candidates.isfinite().all()
        assert step.candidates.min() >= 0
        assert step.candidates.max() <= 1
        assert not step.candidates.requires_grad
        assert step.objective.shape == (SMALL.restarts,)
        assert step.objective.isfinite().all()


@pytest.mark.parametrize(("attack", "target"), PAIRS)
def test_restarts_are_independent(attack, target):
    candidates = run(attack, target, SMALL, seed=0).candidates
    assert not torch.equal(candidates[0], candidates[1])


@pytest.mark.parametrize(("attack", "target"), PAIRS)
def test_at_most_the_budget(attack, target):
    found = run(attack, target, SMALL, seed=0)
    assert 1 <= found.steps <= SMALL.steps
    assert found.stopped_by in (StopReason.STEPS, StopReason.EXHAUSTED)
    assert len(found.objective) == SMALL.restarts
    assert found.attack == attack.name


@pytest.mark.parametrize(("attack", "target"), PAIRS)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(attack, target):
    one, again, other = (run(attack, target, SMALL, seed=seed) for seed in (3, 3, 4))
    assert same(one.candidates, again.candidates)
    assert one.objective == again.objective
    assert one.trace == again.trace
    assert not same(one.candidates, other.candidates)


@pytest.mark.parametrize(("attack", "target"), PAIRS)
def test_it_draws_from_its_own_generator_alone(attack, target):
    before = torch.get_rng_state()
    run(attack, target, SMALL, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("attack", "target"), PAIRS)
def test_the_target_stays_as_it_was(attack, target):
    before = {name: value.clone() for name, value in target.module.state_dict().items()}
    stack = () if target.dense is None else (*target.dense.weights, *(b for b in target.dense.biases if b is not None))
    values = [value.clone() for value in stack]
    run(attack, target, SMALL, seed=0)
    after = target.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(value, now) for value, now in zip(values, stack, strict=True))
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in target.module.parameters())
    assert all(value.grad is None and not value.requires_grad for value in stack)
    assert not any(module.training for module in target.module.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in target.module.modules())


@pytest.mark.parametrize("budget", [Budget(1, 60, 5, 1), Budget(100, 0, 5, 2)], ids=["one step", "no seconds"])
@pytest.mark.parametrize(("attack", "target"), PAIRS)
def test_on_hardly_any_budget_it_gives_a_result_or_says_so(attack, target, budget):
    outcome = attempt(attack, target, budget, None, None, seed=0, watch=None)
    if outcome.found is None:
        assert outcome.status == "failed"
        assert attack.name in outcome.reason
    else:
        assert outcome.found.steps == 1
        assert outcome.found.candidates.shape[0] == budget.restarts
        assert outcome.found.candidates.isfinite().all()


@EACH
@pytest.mark.parametrize("name", TARGETS)
def test_what_it_needs_and_does_not_get_is_a_reason_to_skip_it(attack, name):
    target = TARGETS[name]
    outcome = attempt(attack, target, SMALL, None, None, seed=0, watch=None)
    missing = attack.requires - target.profile.traits
    assert attack.missing(target.profile) == missing
    assert (outcome.status == "skipped") is bool(missing)
    assert (outcome.found is None) is bool(missing)
    assert all(trait.value in outcome.reason for trait in missing)
    assert outcome.reason
    assert "\n" not in outcome.reason


@EACH
def test_it_is_documented(attack):
    text = inspect.getdoc(attack.steps)
    assert "\n\nArgs:\n" in text
    assert "\n\nYields:\n" in text
    for name in inspect.signature(attack.steps).parameters:
        assert re.search(rf"^    {name}: \S", text, re.MULTILINE), f"{name} is not in Args"
    assert attack.negative_control or re.search(r"arXiv:\d{4}\.\d{4,5}|doi:10\.", attack.paper)
    assert attack.name == attack.steps.__name__


@EACH
def test_its_summary_fits_a_line_of_the_table(attack):
    assert 20 < len(attack.summary) <= 100
    assert "\n" not in attack.summary
    assert attack.summary[0].isupper()
    assert not attack.summary.endswith(".")


@EACH
def test_its_settings_are_recorded_in_full(attack):
    keywords = [p for p in inspect.signature(attack.steps).parameters.values() if p.kind is p.KEYWORD_ONLY]
    keywords = [p for p in keywords if p.name != "initial"]
    assert dict(attack.settings) == {p.name: p.default for p in keywords}
    assert json.loads(json.dumps(dict(attack.settings))) == dict(attack.settings)


@EACH
def test_no_image_of_the_auditor_can_reach_it(attack):
    parameters = inspect.signature(attack.steps).parameters.values()
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == ["target", "budget", "rng"]
    assert all(isinstance(value, bool | int | float | str) for value in attack.settings.values())
    assert not re.search(r"member|control|reference|holdout|sample", " ".join(attack.settings))


@EACH
def test_the_one_door_for_images_is_closed_unless_it_is_opened(attack):
    door = inspect.signature(attack.steps).parameters.get("initial")
    assert attack.accepts_initial is (door is not None)
    assert door is None or (door.kind is door.KEYWORD_ONLY and door.default is None)
    assert not any(
        "Tensor" in str(p.annotation) for p in inspect.signature(attack.steps).parameters.values() if p != door
    )


def test_nor_the_driver():
    parameters = inspect.signature(run).parameters
    assert list(parameters) == ["attack", "target", "budget", "seed", "watch", "initial"]
    assert parameters["initial"].default is None
    assert not any("Sample" in str(p.annotation) for p in parameters.values())


OPENS_THE_DOOR = {"attacks/_attack.py", "attacks/_driver.py", "initialisation/_check.py"}
"""The driver's own modules, and the check that asks what an attack does with images: no audit runs it."""


def opens(module):
    """Whether a module hands images to the start of an attack, by name, by place, or in a way that cannot be seen."""
    for call in (node for node in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(node, ast.Call)):
        if ast.unparse(call.func).rpartition(".")[2].strip("_") not in ("run", "start", "steps", "shortened"):
            continue
        named = {keyword.arg for keyword in call.keywords}
        unseen = None in named or any(isinstance(argument, ast.Starred) for argument in call.args)
        if "initial" in named or unseen or len(call.args) > 3:
            return True
    return False


def test_no_module_of_an_audit_opens_it():
    found = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if opens(path)}
    assert found == OPENS_THE_DOOR
    text = {path: path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
    users = {path.relative_to(PACKAGE).as_posix() for path in text if "auditcli.initialisation" in text[path]}
    assert {name for name in users if not name.startswith("initialisation/")} == {
        "cli/starts.py",
        "terminal/_starts.py",
    }


@pytest.mark.parametrize(
    "call", ["run(a, t, b, seed=0, initial=x)", "run(a, t, b, seed=0, **more)", "run(*all)", "a.start(t, b, rng, x)"]
)
def test_an_opened_door_is_seen(call, tmp_path):
    module = tmp_path / "sly.py"
    module.write_text(call)
    assert opens(module)
    module.write_text("run(a, t, b, seed=0, watch=w)")
    assert not opens(module)


INITIAL = torch.rand(5, 1, 8, 8, generator=generator(8)) * 0.8 + 0.1
BEGINNING = [pair for pair in PAIRS if pair.values[0].accepts_initial]


@pytest.mark.parametrize(("attack", "target"), BEGINNING)
def test_one_that_can_begin_from_images_does(attack, target):
    (step,) = islice(attack.start(target, SMALL, generator(), INITIAL), 1)
    n = step.candidates.shape[1]
    assert n == len(INITIAL)
    assert (step.candidates - INITIAL).abs().max() < 0.01
    found = run(attack, target, SMALL, seed=0, initial=INITIAL)
    again = run(attack, target, SMALL, seed=0, initial=INITIAL)
    assert same(found.candidates, again.candidates)
    assert not torch.equal(found.candidates[0], found.candidates[1])
    assert not torch.equal(found.candidates, run(attack, target, SMALL, seed=0).candidates)


def test_images_to_begin_from_survive_a_change_of_pace():
    seen = []

    @make_attack(paper="none")
    def slow(target, budget, rng, *, initial=None):
        seen.append(initial)
        while True:
            time.sleep(0.002)
            yield Step(initial[None], torch.zeros(1))

    run(slow, TARGETS["no bias"], Budget(100_000, 0.3, 5, 1), seed=0, initial=INITIAL)
    assert len(seen) == 2
    assert all(initial is INITIAL for initial in seen)


@EACH
def test_what_cannot_begin_from_images_says_so(attack):
    target = next(target for target in TARGETS.values() if not attack.missing(target.profile))
    if attack.accepts_initial:
        for wrong in (INITIAL[:, :, :4], INITIAL[0], INITIAL[:0], INITIAL + 1, (INITIAL * 255).byte(), INITIAL / 0):
            with pytest.raises(SampleError, match=f"{attack.name} begins from"):
                run(attack, target, SMALL, seed=0, initial=wrong)
    else:
        with pytest.raises(UsageError, match=f"{attack.name} cannot begin") as caught:
            run(attack, target, SMALL, seed=0, initial=INITIAL)
        assert "bilevel" in caught.value.hint


def test_names_are_unlike_and_one_attack_is_the_negative_control():
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    assert sum(attack.negative_control for attack in ATTACKS) == 1


def test_the_negative_control_does_not_look_at_the_weights():
    (control,) = (attack for attack in ATTACKS if attack.negative_control)
    targets = [dense_target(dense_stack(64, 8, 3, seed=seed)) for seed in (0, 1)]
    one, other = (run(control, target, SMALL, seed=5).candidates for target in targets)
    assert torch.equal(one, other)
