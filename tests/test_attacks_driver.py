"""The driver, on attacks of a few lines."""

import time

import pytest
import torch

from auditcli.attacks import attack, run
from auditcli.attacks._driver import CHECK_EVERY
from auditcli.errors import AttackError
from auditcli.types import Budget, Step, StopReason

LONG = Budget(steps=1000, seconds=60, candidates=3, restarts=2)


def step(value, *objectives):
    """Candidates that are all of one grey, so that a result says which step it is from."""
    grey = torch.as_tensor(value, dtype=torch.float32).expand(len(objectives))
    return Step(grey[:, None, None, None, None].expand(-1, 3, 1, 2, 2).clone(), torch.tensor(objectives))


def fake(steps):
    """An attack that yields these steps, whatever it is run on."""

    def scripted(target, budget, rng):
        """Yields what it was told to."""
        yield from steps

    return attack(paper="none")(scripted)


def falling(last):
    return (step(number / last, 1 / number, 1 / number) for number in range(1, last + 1))


def test_steps_are_the_limit():
    found = run(fake(falling(1000)), None, Budget(60, 60, 3, 2), seed=0)
    assert (found.steps, found.stopped_by) == (60, StopReason.STEPS)
    assert found.objective == pytest.approx((1 / 60, 1 / 60))
    assert found.candidates.unique().tolist() == pytest.approx([60 / 1000])


def test_no_step_is_taken_beyond_the_limit():
    taken = []

    def counted():
        for number in range(1000):
            taken.append(number)
            yield step(0, 1.0)

    run(fake(counted()), None, Budget(7, 60, 3, 1), seed=0)
    assert len(taken) == 7


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless an attack moves it: `clock[0]` seconds."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def timed(clock, seconds):
    """An attack whose steps take so many seconds each, and that notes how many steps it was told to plan for."""
    planned = []

    def slow(target, budget, rng):
        """Takes its time."""
        planned.append(budget.steps)
        for number in range(1, 10**6):
            clock[0] += seconds
            yield step(0.5, 1 / number, 1 / number)

    return attack(paper="none")(slow), planned


def test_seconds_are_the_ceiling(clock):
    slow, _ = timed(clock, 1.0)
    found = run(slow, None, Budget(1000, 10, 3, 2), seed=0)
    assert (found.steps, found.stopped_by, found.seconds) == (10, StopReason.SECONDS, 10)
    assert found.objective == pytest.approx((0.1, 0.1))


def test_a_run_that_cannot_end_in_time_is_planned_anew_for_the_steps_that_fit(clock):
    slow, planned = timed(clock, 1.0)
    found = run(slow, None, Budget(1000, 100, 3, 2), seed=0)
    assert len(planned) == 2
    assert planned[0] == 1000
    assert 60 <= planned[1] <= 80
    assert (found.steps, found.stopped_by) == (planned[1], StopReason.SECONDS)
    assert found.seconds == 20 + planned[1] <= 100


def test_a_run_that_ends_in_time_is_left_alone(clock):
    slow, planned = timed(clock, 1.0)
    found = run(slow, None, Budget(100, 100, 3, 2), seed=0)
    assert planned == [100]
    assert (found.steps, found.stopped_by) == (100, StopReason.STEPS)


@pytest.mark.parametrize("last", [1, 2, 10, CHECK_EVERY, CHECK_EVERY + 1, CHECK_EVERY + 2])
def test_an_attack_may_end_and_its_last_step_counts(last):
    found = run(fake(falling(last)), None, LONG, seed=0)
    assert (found.steps, found.stopped_by) == (last, StopReason.EXHAUSTED)
    assert found.objective == pytest.approx((1 / last, 1 / last))
    assert [number for number, _ in found.trace] == sorted({number for number, _ in found.trace})


def test_the_best_of_each_restart_is_kept_though_later_steps_are_worse():
    script = {1: step(0.1, 0.5, 0.9), 26: step(0.2, 0.7, 0.3), 51: step(0.3, 0.6, 0.4)}
    worse = step(1.0, 9.0, 9.0)
    found = run(fake([script.get(number, worse) for number in range(1, 61)]), None, LONG, seed=0)
    assert found.objective == pytest.approx((0.5, 0.3))
    assert found.candidates[:, 0, 0, 0, 0].tolist() == pytest.approx([0.1, 0.2])
    assert [number for number, _ in found.trace] == [1, 26, 51, 60]
    assert [value for _, value in found.trace] == pytest.approx([0.5, 0.3, 0.3, 0.3])


def test_what_is_kept_is_a_copy():
    candidates = torch.zeros(1, 3, 1, 2, 2)

    def in_place():
        for number in range(30):
            candidates.fill_(number / 30)
            yield Step(candidates, torch.tensor([float(number)]))

    assert run(fake(in_place()), None, LONG, seed=0).candidates.unique().tolist() == [0]


@pytest.mark.parametrize(
    "bad", [step(0.5, float("nan"), 1.0), step(0.5, 1.0, float("inf")), step(float("nan"), 1.0, 1.0)]
)
def test_what_is_not_finite_is_an_error_that_names_the_step(bad):
    steps = [bad if number == 26 else step(0.5, 1.0, 1.0) for number in range(1, 60)]
    with pytest.raises(AttackError, match=r"scripted diverged at step 26\b") as caught:
        run(fake(steps), None, LONG, seed=0)
    assert "--seed" in caught.value.hint


def test_no_result_is_an_error():
    with pytest.raises(AttackError, match="scripted ended before its first result") as caught:
        run(fake([]), None, LONG, seed=0)
    assert "--budget" in caught.value.hint


def test_out_of_memory_is_an_error_that_says_what_was_too_much():
    def greedy():
        yield step(0.5, 1.0)
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(AttackError, match="scripted ran out of memory on 2 restarts of 3 candidates") as caught:
        run(fake(greedy()), None, LONG, seed=0)
    assert "--profile quick" in caught.value.hint


def test_any_other_error_is_a_bug_and_passes_through():
    def broken():
        yield step(0.5, 1.0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(fake(broken()), None, LONG, seed=0)


def interrupted(after):
    for number in range(1, after + 1):
        yield step(0.25, 1 / number)
    raise KeyboardInterrupt


def test_ctrl_c_in_an_attack_keeps_the_best():
    found = run(fake(interrupted(30)), None, LONG, seed=0)
    assert found.stopped_by is StopReason.INTERRUPTED
    assert found.objective == pytest.approx((1 / 26,))
    assert found.candidates.unique().tolist() == [0.25]


def test_ctrl_c_before_the_first_result_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt):
        run(fake(interrupted(0)), None, LONG, seed=0)


def test_ctrl_c_in_the_watcher_keeps_the_best_too():
    def watch(progress):
        if progress.step > 1:
            raise KeyboardInterrupt

    found = run(fake(falling(100)), None, LONG, seed=0, watch=watch)
    assert (found.stopped_by, found.steps) == (StopReason.INTERRUPTED, 26)
    assert found.objective == pytest.approx((1 / 26, 1 / 26))


def test_the_watcher_is_told():
    told = []
    run(fake(falling(1000)), None, Budget(60, 600, 3, 2), seed=0, watch=told.append)
    assert [progress.step for progress in told] == [1, 26, 51, 60]
    assert {(progress.attack, progress.steps) for progress in told} == {("scripted", 60)}
    assert [progress.objective for progress in told] == pytest.approx([1, 1 / 26, 1 / 51, 1 / 60])
    assert all(0 <= progress.seconds_left <= 600 - progress.seconds for progress in told)


def test_the_seed_reaches_the_attack():
    @attack(paper="none")
    def random(target, budget, rng):
        """Yields one random image."""
        yield Step(torch.rand(1, 1, 1, 2, 2, generator=rng), torch.zeros(1))

    one, again, other = (run(random, None, LONG, seed=seed).candidates for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
