"""Runs one attack from several starts and compares where it arrives. Public name: `check`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auditcli.attacks import run
from auditcli.errors import AttackError, UsageError
from auditcli.initialisation._result import Arrival, InitialisationCheck, Scores
from auditcli.initialisation._wording import sentences
from auditcli.scoring.agreement import agreement, unit_rows
from auditcli.scoring.matching import similarity
from auditcli.scoring.significance import recovery
from auditcli.threads import one_thread
from auditcli.types import StopReason

if TYPE_CHECKING:
    from auditcli.attacks import Attack
    from auditcli.initialisation._starts import Start
    from auditcli.types import Budget, Reconstruction, Sample, Target, Watcher

ALIKE = 0.9
"""Centred cosine from which two images are said to be the same, as in the evidence of an audit."""
OVER_HALF = 0.5
"""SSIM from which an image counts as found."""


@dataclass(frozen=True, slots=True)
class _Run:
    """From where to where; images are (n, c, h, w) on the CPU."""

    begun: Tensor
    found: Reconstruction
    objective: float
    """At the first look."""

    @property
    def arrived(self) -> Tensor:
        return self.found.candidates[0].cpu()


def check(
    attack: Attack,
    target: Target,
    starts: Sequence[Start],
    budget: Budget,
    *,
    seed: int,
    members: Sample | None = None,
    controls: Sample | None = None,
    watch: Watcher | None = None,
) -> InitialisationCheck:
    """Run an attack from each of several starts, with one seed and one budget, and compare what came out.

    Args:
        attack: One that `accepts_initial`.
        target: What to run it on.
        starts: Where to begin; the attack's own start first.
        budget: Steps and candidates of each run, of which only the first restart is used; the seconds are for all runs
            together.
        seed: Of the attack's draws, the same in every run, and of the noise.
        members: For scoring alone, after all runs: never for choosing.
        controls: The same.
        watch: Told the progress of the runs.

    Returns:
        One arrival a start; a run that diverged or had no time is a failed one.

    Raises:
        UsageError: the attack cannot begin from images, or lacks what it needs.
        KeyboardInterrupt: on Ctrl-C.
    """
    if lacking := attack.missing(target.profile):
        raise UsageError(
            f"{attack.name} needs {', '.join(sorted(lacking))}; this model ({target.profile.family}) does not have that",
            hint="privaudit inspect MODEL shows what it has",
        )
    runs = _runs(attack, target, starts, budget, seed=seed, watch=watch)
    kept = [one for one in runs if isinstance(one, _Run)]
    with one_thread():
        arrivals = tuple(
            _arrival(start, runs, place, members, controls, seed) for place, start in enumerate(starts)
        )
    return InitialisationCheck(
        attack=attack.name,
        paper=attack.paper,
        seed=seed,
        candidates=len(kept[0].begun) if kept else 0,
        members=0 if members is None else len(members),
        controls=0 if controls is None else len(controls),
        arrivals=arrivals,
        sentences=sentences(arrivals),
    )


def _runs(
    attack: Attack, target: Target, starts: Sequence[Start], budget: Budget, *, seed: int, watch: Watcher | None
) -> list[_Run | str]:
    """A run a start, or why there is none."""
    deadline = time.monotonic() + budget.seconds
    n, runs = budget.candidates, list[_Run | str]()
    for place, start in enumerate(starts):
        share = max(0.0, deadline - time.monotonic()) / (len(starts) - place)
        allowed = replace(budget, seconds=share, restarts=1, candidates=n)
        try:
            runs.append(_run(attack, target, start, allowed, seed=seed, watch=watch))
        except AttackError as error:
            runs.append(error.message)
            continue
        n = len(runs[-1].begun)  # an attack may guess fewer than it is allowed to, and all runs guess as many
    return runs


def _run(attack: Attack, target: Target, start: Start, budget: Budget, *, seed: int, watch: Watcher | None) -> _Run:
    rng = torch.Generator().manual_seed(seed)
    initial = start.drawn(budget.candidates, target.profile.classes, rng)
    # The same generator as in the run, so that the first step shows where it begins.
    first = next(iter(attack.start(target, budget, torch.Generator().manual_seed(seed), initial)))
    found = run(attack, target, budget, seed=seed, watch=watch, initial=initial)
    if found.stopped_by is StopReason.INTERRUPTED:
        raise KeyboardInterrupt
    begun = first.candidates[0].detach().cpu() if initial is None else initial
    return _Run(begun, found, float(first.objective[0]))


def _arrival(
    start: Start,
    runs: Sequence[_Run | str],
    place: int,
    members: Sample | None,
    controls: Sample | None,
    seed: int,
) -> Arrival:
    own = runs[place]
    if isinstance(own, str):
        return Arrival(start.name, start.kind, failed=own)
    likeness = (unit_rows(own.begun) * unit_rows(own.arrived)).sum(dim=1)
    return Arrival(
        start.name,
        start.kind,
        objective=own.found.objective[0],
        first_objective=own.objective,
        likeness=float(likeness.median()),
        stayed=float((likeness >= ALIKE).double().mean()),
        shared=tuple(None if other is own or isinstance(other, str) else _shared(own, other) for other in runs),
        before=_scores(own.begun, members, controls, seed),
        after=_scores(own.arrived, members, controls, seed),
        steps=own.found.steps,
        seconds=own.found.seconds,
        stopped_by=own.found.stopped_by,
    )


def _shared(one: _Run, other: _Run) -> float:
    """Share of what one run came to that the other came to as well."""
    return float((agreement(torch.stack([one.arrived, other.arrived]))[0] >= ALIKE).double().mean())


def _scores(images: Tensor, members: Sample | None, controls: Sample | None, seed: int) -> Scores | None:
    if members is None or controls is None:
        return None
    rows = unit_rows(images)
    near, far = (rows @ unit_rows(sample.images).T for sample in (members, controls))
    ours, theirs = (similarity(images, sample.images).best for sample in (members, controls))
    return Scores(
        nearer=float((near.amax(dim=1) > far.amax(dim=1)).double().mean()),
        expected=len(members) / (len(members) + len(controls)),
        members_over_half=sum(score >= OVER_HALF for score in ours),
        controls_over_half=sum(score >= OVER_HALF for score in theirs),
        best_member=max(ours),
        best_control=max(theirs),
        test=recovery(ours, theirs, seed=seed),
    )
