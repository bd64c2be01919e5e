"""Runs an attack within its budget: steps, clock, best so far, NaN, progress and Ctrl-C are here and nowhere else.

Public name: `run`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from auditcli.attacks._attack import all_attacks
from auditcli.errors import AttackError, SampleError, UsageError
from auditcli.threads import one_thread
from auditcli.types import Progress, Reconstruction, Step, StopReason

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.attacks._attack import Attack
    from auditcli.types import Budget, Target, Watcher

CHECK_EVERY = 25
"""Steps between two looks at the objective: on a GPU each look waits for all that was queued."""
PACE_STEPS = 20
"""Steps after which the driver knows how long a step takes."""
_SLACK = 0.9
"""Share of the time left that a shortened run plans with."""


@dataclass(slots=True)
class _Best:
    """The best of each restart; grows while an attack runs and never leaves this module."""

    candidates: Tensor | None = None
    objective: Tensor | None = None
    figures: dict[str, Tensor] = field(default_factory=dict)
    trace: list[tuple[int, float]] = field(default_factory=list)

    def look(self, step: Step, number: int, name: str) -> None:
        objective = step.objective.detach().float().cpu()
        if not objective.isfinite().all() or not step.candidates.isfinite().all():
            raise AttackError(
                f"{name} diverged at step {number}: its objective or its candidates are not finite",
                hint="another --seed starts elsewhere; privaudit inspect shows whether the model is what you think",
            )
        if self.candidates is None or self.objective is None:
            self.candidates, self.objective = step.candidates.detach().clone(), objective
            self.figures = {figure: value.float().cpu() for figure, value in step.figures.items()}
        else:
            better = objective < self.objective
            self.objective = torch.where(better, objective, self.objective)
            where = better.to(self.candidates.device)[:, None, None, None, None]
            self.candidates = torch.where(where, step.candidates.detach(), self.candidates)
            for figure, value in step.figures.items():
                self.figures[figure] = torch.where(better, value.float().cpu(), self.figures[figure])
        self.trace.append((number, float(self.objective.min())))


def run(
    attack: Attack,
    target: Target,
    budget: Budget,
    *,
    seed: int,
    watch: Watcher | None = None,
    initial: Tensor | None = None,
) -> Reconstruction:
    """Run one attack until its steps or its seconds are used up, or it has nothing more to try.

    Args:
        attack: What to run.
        target: What to run it on.
        budget: Steps are the limit and make a run reproducible; seconds are the ceiling. Where the first steps show
            that the ceiling comes first, the run starts again, planned for the steps that fit.
        seed: Of all its random draws, which are made on the CPU, so that one seed starts alike on every device.
        watch: Told the progress now and then.
        initial: Images (n, c, h, w) in [0, 1] to begin from, of an attack that `accepts_initial`. This is the one door
            for images, and no audit opens it: an attack that has seen the auditor's images proves nothing by
            returning them. `initialisation` opens it to show just that.

    Returns:
        For each restart the candidates with the lowest objective seen. On Ctrl-C what was found up to then, marked
        `StopReason.INTERRUPTED`.

    Raises:
        AttackError: it diverged, ran out of memory, or ended before its first result.
        UsageError: images to begin from were given to an attack that cannot.
        SampleError: they are no images that fit the model.
        KeyboardInterrupt: on Ctrl-C before the first result, when there is nothing to keep.
    """
    _check(attack, target, initial)
    with one_thread():
        return _run(attack, target, budget, seed=seed, watch=watch, initial=initial)


def _check(attack: Attack, target: Target, initial: Tensor | None) -> None:
    if initial is None:
        return
    if not attack.accepts_initial:
        raise UsageError(
            f"{attack.name} cannot begin from given images",
            hint=f"{', '.join(one.name for one in all_attacks() if one.accepts_initial)} can",
        )
    shape = target.profile.input_shape
    if initial.ndim != 4 or len(initial) == 0 or tuple(initial.shape[1:]) != shape:
        raise SampleError(
            f"{attack.name} begins from images (n, {', '.join(map(str, shape))}), got {tuple(initial.shape)}",
            hint="privaudit inspect MODEL shows the input size",
        )
    if not initial.is_floating_point() or not bool(((initial >= 0) & (initial <= 1)).all()):
        raise SampleError(
            f"{attack.name} begins from pixels in [0, 1], the images given hold others",
            hint="divide uint8 pixels by 255, and clamp what noise was added to",
        )


def _run(
    attack: Attack,
    target: Target,
    budget: Budget,
    *,
    seed: int,
    watch: Watcher | None,
    initial: Tensor | None,
) -> Reconstruction:
    rng = torch.Generator().manual_seed(seed)
    began = first = time.monotonic()
    best, number, stopped_by = _Best(), 0, StopReason.EXHAUSTED
    try:
        for number, step in enumerate(attack.start(target, budget, rng, initial), start=1):
            now = time.monotonic()
            first = now if number == 1 else first
            if number == PACE_STEPS and (steps := _affordable(budget, began, first, now)) < budget.steps:
                return _shortened(attack, target, budget, steps, began, seed=seed, watch=watch, initial=initial)
            out_of_steps, out_of_time = number >= budget.steps, now - began >= budget.seconds
            if number % CHECK_EVERY == 1 or out_of_steps or out_of_time:
                best.look(step, number, attack.name)
                _tell(watch, attack, budget, number, now - began, best)
            if out_of_steps or out_of_time:
                stopped_by = StopReason.STEPS if out_of_steps else StopReason.SECONDS
                break
        else:
            if number and number % CHECK_EVERY != 1:  # the last step of an attack that ends between two looks
                best.look(step, number, attack.name)
    except KeyboardInterrupt:
        stopped_by = StopReason.INTERRUPTED
    except torch.OutOfMemoryError as error:
        raise AttackError(
            f"{attack.name} ran out of memory on {budget.restarts} restarts of {budget.candidates} candidates",
            hint="--profile quick takes fewer candidates; --device cpu has more memory",
        ) from error
    if best.candidates is None or best.objective is None:
        if stopped_by is StopReason.INTERRUPTED:
            raise KeyboardInterrupt
        raise AttackError(f"{attack.name} ended before its first result", hint="a larger --budget")
    return Reconstruction(
        attack=attack.name,
        candidates=best.candidates,
        objective=tuple(best.objective.tolist()),
        trace=tuple(best.trace),
        steps=number,
        seconds=time.monotonic() - began,
        stopped_by=stopped_by,
        figures={figure: tuple(value.tolist()) for figure, value in best.figures.items()},
    )


def _affordable(budget: Budget, began: float, first: float, now: float) -> int:
    """Steps a fresh run can take in the time left, at the pace so far; never fewer than were needed to know it."""
    pace = (now - first) / (PACE_STEPS - 1)
    left = budget.seconds - (now - began)
    if pace * (budget.steps - PACE_STEPS) <= left:
        return budget.steps
    return max(PACE_STEPS, int(_SLACK * left / pace))


def _shortened(
    attack: Attack,
    target: Target,
    budget: Budget,
    steps: int,
    began: float,
    *,
    seed: int,
    watch: Watcher | None,
    initial: Tensor | None,
) -> Reconstruction:
    """A run planned for fewer steps: an attack that anneals over its steps is worth little where it is cut off."""
    shorter = replace(budget, steps=steps, seconds=budget.seconds - (time.monotonic() - began))
    found = _run(attack, target, shorter, seed=seed, watch=watch, initial=initial)
    stopped_by = StopReason.SECONDS if found.stopped_by is StopReason.STEPS else found.stopped_by
    return replace(found, stopped_by=stopped_by, seconds=time.monotonic() - began)


def _tell(watch: Watcher | None, attack: Attack, budget: Budget, number: int, seconds: float, best: _Best) -> None:
    if watch is None:
        return
    watch(
        Progress(
            attack=attack.name,
            step=number,
            steps=budget.steps,
            seconds=seconds,
            seconds_left=max(0.0, budget.seconds - seconds),
            objective=best.trace[-1][1],
        )
    )
