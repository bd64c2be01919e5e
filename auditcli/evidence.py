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
from auditcli.verification import verify

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.attacks import Attack
    from auditcli.effort import Effort
    from auditcli.types import Reconstruction, Target, Watcher

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
ELSEWHERE = 3
"""How many times as large the starting images of another kind of start are, see `_persistent`."""


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

    def trial(self, target: Target, number: int) -> float:
        """Share of the first layer that a short run on these weights explains."""
        found = run(self.attack, target, self.effort.trial(self.left), seed=self.seed + number, watch=self.watch)
        return _explained(target, _finished(found).candidates[0])

    def restarts(self, target: Target) -> Reconstruction:
        """A run on these weights with the attack's own budget."""
        return _finished(run(self.attack, target, self.effort.budget(self.left), seed=self.seed, watch=self.watch))

    def elsewhere(self, target: Target) -> Reconstruction | None:
        """One restart from another kind of start, or None of an attack that has no such setting."""
        if "start" not in self.attack.settings:
            return None
        attack = self.attack.with_settings(start=ELSEWHERE * self.attack.settings["start"])
        budget = replace(self.effort.budget(self.left), restarts=1)
        return _finished(run(attack, target, budget, seed=self.seed + 1, watch=self.watch))


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
        spanned = replace(target, span=weights.span_of(target, at_least=2 * target.profile.classes))
        return _decided(_gathered(runner, spanned, found))


def _gathered(runner: _Runner, target: Target, found: Reconstruction) -> Evidence:
    """The evidence before anything is concluded from it; the target has its span."""
    rng = torch.Generator().manual_seed(runner.seed)
    copies = [weights.shuffled_target(target, rng) for _ in range(runner.effort.shuffles)]
    own = runner.trial(target, 0)
    null = [runner.trial(copy, n) for n, copy in enumerate(copies, start=1) if runner.left > 0]
    complete = len(null) == len(copies) and runner.left > 0
    test = Test("permutation of the first layer's rows", own, _rank(own, null)) if complete else None
    explained = min(_explained(target, images) for images in found.candidates)
    # Where the images explain little, nothing that the shuffled weights say changes the answer.
    strangers = runner.restarts(copies[0]) if complete and explained >= EXPLAINED else None
    evidence = Evidence(
        attack=runner.attack.name,
        agreement=tuple(agreement(found.candidates)[0].tolist()),
        reproduced=len(_reproduced(found)),
        threshold=AGREEMENT,
        explained=explained,
        shuffled_reproduced=() if strangers is None else (len(_reproduced(strangers)),),
        shuffled_explained=tuple(null),
        test=test,
        significant=False,
        directions=0 if target.span is None else target.span.rank,
    )
    if strangers is None or evidence.reproduced == 0:
        return evidence
    return replace(
        evidence,
        persistent=_persistent(runner, target, found),
        shuffled_persistent=_persistent(runner, copies[0], strangers),
        verified=_verified(target, found, strangers, runner.seed),
    )


def _persistent(runner: _Runner, target: Target, found: Reconstruction) -> int | None:
    """Reproduced images that a run from larger starting images finds too.

    An image that moves with the start is no evidence (Runkel et al. 2024). None where there was no time to ask, or the
    attack has no such setting.
    """
    chosen = list(_reproduced(found))
    if not chosen:
        return 0
    other = runner.elsewhere(target) if runner.left > 0 else None
    if other is None:
        return None
    images = found.candidates.flatten(0, 1)[chosen]
    return sum(float(agreement(_pair(image, other.candidates[0]))[0, 0]) >= AGREEMENT for image in images)


def _pair(image: Tensor, candidates: Tensor) -> Tensor:
    """An image and the candidates as two restarts of the same size."""
    return torch.stack([image.expand_as(candidates), candidates])


def _verified(target: Target, found: Reconstruction, strangers: Reconstruction, seed: int) -> int:
    """Reproduced images that the first layer cannot do without, by more than any decoy."""
    chosen = list(_reproduced(found))
    images, labels = _labelled(target, found)
    return sum(verify(target, images[chosen], labels[chosen], *_labelled(target, strangers), seed=seed).verified)


def _labelled(target: Target, found: Reconstruction) -> tuple[Tensor, Tensor]:
    """Candidates of all restarts, and the class each was guessed for."""
    restarts, n = found.candidates.shape[:2]
    return found.candidates.flatten(0, 1), weights.Sides.balanced(n, target.profile.classes).labels.repeat(restarts)


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


def _reproduced(found: Reconstruction) -> tuple[int, ...]:
    """One index, over restart and candidate, an image that restarts agree on."""
    return distinct(found.candidates, agreement(found.candidates), AGREEMENT)


def _explained(target: Target, images: Tensor) -> float:
    """Share of the first layer that images (n, c, h, w), balanced over the classes, explain."""
    profile, dense, span = target.profile, target.dense, target.span
    if dense is None or span is None:
        raise TypeError("the target of the evidence has a dense stack and its span")
    inputs = weights.flat_inputs(dense, profile.normalisation, images)
    return weights.explained(dense, span, inputs, weights.Sides.balanced(len(images), profile.classes))
