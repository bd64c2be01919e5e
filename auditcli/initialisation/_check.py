"""Runs one attack from several starts and compares where it arrives.

Public names: `check`, `Run`, `runs`, `compared`.
"""

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
class Run:
    """From where to where; images are (n, c, h, w) in [0, 1] on the CPU."""

    begun: Tensor
    found: Reconstruction
    objective: float
    """At the first step."""

    @property
    def arrived(self) -> Tensor:
        """The images with the lowest objective."""
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
    found = runs(attack, target, starts, budget, seed=seed, watch=watch)
    return compared(attack, starts, found, seed=seed, members=members, controls=controls)


def runs(
    attack: Attack,
    target: Target,
    starts: Sequence[Start],
    budget: Budget,
    *,
    seed: int,
    watch: Watcher | None = None,
) -> list[Run | str]:
    """The runs of `check`, one a start, or why there is none."""
    if lacking := attack.missing(target.profile):
        raise UsageError(
            f"{attack.name} needs {', '.join(sorted(lacking))}; this model ({target.profile.family}) has not",
            hint="privaudit inspect MODEL shows what it has",
        )
    deadline = time.monotonic() + budget.seconds
    n, found = budget.candidates, list[Run | str]()
    for place, start in enumerate(starts):
        share = max(0.0, deadline - time.monotonic()) / (len(starts) - place)
        allowed = replace(budget, seconds=share, restarts=1, candidates=n)
        try:
            one = _run(attack, target, start, allowed, seed=seed, watch=watch)
        except AttackError as error:
            found.append(error.message)
            continue
        found.append(one)
        n = len(one.begun)  # an attack may guess fewer than it is allowed to, and all runs guess as many
    return found


def compared(
    attack: Attack,
    starts: Sequence[Start],
    found: Sequence[Run | str],
    *,
    seed: int,
    members: Sample | None = None,
    controls: Sample | None = None,
) -> InitialisationCheck:
    """What `check` says of runs that are done."""
    with one_thread():
        arrivals = tuple(_arrival(start, found, place, members, controls, seed) for place, start in enumerate(starts))
    return InitialisationCheck(
        attack=attack.name,
        paper=attack.paper,
        seed=seed,
        candidates=next((len(one.begun) for one in found if isinstance(one, Run)), 0),
        members=0 if members is None else len(members),
        controls=0 if controls is None else len(controls),
        arrivals=arrivals,
        sentences=sentences(arrivals),
    )


def _run(attack: Attack, target: Target, start: Start, budget: Budget, *, seed: int, watch: Watcher | None) -> Run:
    rng = torch.Generator().manual_seed(seed)
    initial = start.drawn(budget.candidates, target.profile.classes, rng)
    found = run(attack, target, budget, seed=seed, watch=watch, initial=initial)
    if found.stopped_by is StopReason.INTERRUPTED:
        raise KeyboardInterrupt
    # The same generator as in the run, so that the first step shows where it began.
    first = next(iter(attack.start(target, budget, torch.Generator().manual_seed(seed), initial)))
    begun = first.candidates[0].detach().cpu() if initial is None else initial
    return Run(begun, found, float(first.objective[0]))


def _arrival(
    start: Start,
    found: Sequence[Run | str],
    place: int,
    members: Sample | None,
    controls: Sample | None,
    seed: int,
) -> Arrival:
    own = found[place]
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
        shared=tuple(None if other is own or isinstance(other, str) else _shared(own, other) for other in found),
        before=_scores(own.begun, members, controls, seed),
        after=_scores(own.arrived, members, controls, seed),
        steps=own.found.steps,
        seconds=own.found.seconds,
        stopped_by=own.found.stopped_by,
    )


def _shared(one: Run, other: Run) -> float:
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
