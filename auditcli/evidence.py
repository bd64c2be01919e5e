"""What can be said without any image: restarts that agree, against the same weights shuffled. Public name: `weigh`.

Three things must come together. Training ties each row of the first layer to the layers that read it, so images found
on the true weights explain more of the layer than images found on the same weights with the rows shuffled (a
permutation test). An honest model passes that too, for it was trained as well; but a few images explain only part of
what many thousands wrote, and nearly all of what a few wrote. And independent restarts must arrive at the same images,
more of them than the prototypes of the classes: no fewer than a share of the directions found in the layer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from auditcli import weights
from auditcli.attacks import run
from auditcli.errors import AttackError
from auditcli.scoring.agreement import agreement, distinct
from auditcli.threads import one_thread
from auditcli.types import Evidence, StopReason, Test

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.attacks import Attack
    from auditcli.effort import Effort
    from auditcli.types import DenseStack, Reconstruction, Target, Watcher

AGREEMENT = 0.9
"""Centred cosine from which two restarts are said to have found the same image."""
EXPLAINED = 0.75
"""Share of the first layer that the images must explain; `benchmarks/evidence.py` measures both sides of it."""
COVERAGE = 1 / 3
"""Least number of reproduced images for each direction that training wrote into the first layer.

Strong weight decay makes even an honest model explainable by few images, the prototypes of its classes, and restarts
agree on them. But many thousands of images leave many more directions than there are prototypes.
"""
ALPHA = 0.05
"""Of the permutation test."""


@dataclass(frozen=True, slots=True)
class _Runner:
    """Runs one attack again and again until a deadline."""

    attack: Attack
    effort: Effort
    seed: int
    deadline: float
    watch: Watcher | None

    @property
    def left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def trial(self, target: Target, dense: DenseStack, number: int) -> float:
        """Share of the first layer that a short run on these weights explains."""
        budget, copy = self.effort.trial(self.left), replace(target, dense=dense)
        found = _finished(run(self.attack, copy, budget, seed=self.seed + number, watch=self.watch))
        return _explained(target, dense, found.candidates[0])

    def reproduced(self, target: Target, dense: DenseStack) -> int:
        """Distinct images that the restarts of a run on these weights agree on, with the attack's own budget."""
        budget, copy = self.effort.budget(self.left), replace(target, dense=dense)
        return _reproduced(_finished(run(self.attack, copy, budget, seed=self.seed, watch=self.watch)))


def weigh(
    attack: Attack,
    target: Target,
    found: Reconstruction,
    effort: Effort,
    *,
    seconds: float,
    seed: int,
    watch: Watcher | None = None,
) -> Evidence:
    """Evidence that an attack's images are training images, from the weights alone.

    Args:
        attack: A KKT attack on a dense network.
        target: What it was run on.
        found: What it found, with at least two restarts.
        effort: Of the permutation test.
        seconds: Ceiling of all further runs; where it ends the permutation test early, there is none.
        seed: Of the shuffles and of the runs on them.
        watch: Told the progress of the runs.

    Returns:
        The evidence; `significant` only where the permutation test, the explained share and the agreement all hold.

    Raises:
        AttackError: the target is no dense network, or an attack diverged on shuffled weights.
        KeyboardInterrupt: on Ctrl-C, for half of a permutation test is none.
    """
    dense = target.dense
    if dense is None:
        raise AttackError(f"{attack.name} left nothing to weigh: the model is no dense network")
    runner = _Runner(attack, effort, seed, time.monotonic() + seconds, watch)
    with one_thread():
        return _decided(_gathered(runner, target, dense, found))


def _gathered(runner: _Runner, target: Target, dense: DenseStack, found: Reconstruction) -> Evidence:
    """The evidence before anything is concluded from it."""
    rng = torch.Generator().manual_seed(runner.seed)
    copies = [weights.shuffled(dense, rng) for _ in range(runner.effort.shuffles)]
    own = runner.trial(target, dense, 0)
    null = [runner.trial(target, copy, n) for n, copy in enumerate(copies, start=1) if runner.left > 0]
    complete = len(null) == len(copies) and runner.left > 0
    test = Test("permutation of the first layer's rows", own, _rank(own, null)) if complete else None
    return Evidence(
        attack=runner.attack.name,
        agreement=tuple(agreement(found.candidates)[0].tolist()),
        reproduced=_reproduced(found),
        threshold=AGREEMENT,
        explained=min(_explained(target, dense, images) for images in found.candidates),
        shuffled_reproduced=(runner.reproduced(target, copies[0]),) if complete else (),
        shuffled_explained=tuple(null),
        test=test,
        significant=False,
        directions=weights.span(dense).rank,
    )


def _finished(found: Reconstruction) -> Reconstruction:
    """The driver keeps what an interrupted attack found; here it ends the audit, and not just one run of many."""
    if found.stopped_by is StopReason.INTERRUPTED:
        raise KeyboardInterrupt
    return found


def _decided(evidence: Evidence) -> Evidence:
    """The evidence with what follows from it: a finding, nothing, or neither."""
    few, covered = _explained_by_few(evidence), _covered(evidence)
    return replace(evidence, significant=few and covered, unclear=few and not covered)


def _rank(own: float, null: Sequence[float]) -> float:
    return (1 + sum(value >= own for value in null)) / (len(null) + 1)


def _explained_by_few(evidence: Evidence) -> bool:
    """Whether the images explain more than they do where the weights are shuffled, and more than of ordinary models."""
    return evidence.test is not None and evidence.test.p_value <= ALPHA and evidence.explained >= EXPLAINED


def _covered(evidence: Evidence) -> bool:
    """Whether restarts agree on enough images to rule out that they are the prototypes of classes."""
    return (
        evidence.reproduced > max(evidence.shuffled_reproduced, default=0)
        and evidence.reproduced >= COVERAGE * evidence.directions
    )


def _reproduced(found: Reconstruction) -> int:
    return len(distinct(found.candidates, agreement(found.candidates), AGREEMENT))


def _explained(target: Target, dense: DenseStack, images: Tensor) -> float:
    """Share of the first layer that images (n, c, h, w), balanced over the classes, explain."""
    profile = target.profile
    inputs = weights.flat_inputs(dense, profile.normalisation, images)
    found = weights.span(dense, at_least=2 * profile.classes)
    return weights.explained(dense, found, inputs, weights.Sides.balanced(len(images), profile.classes))
