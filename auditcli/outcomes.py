"""One attack or one signal, run and compared: scored, unscored, skipped or failed, and never an exception.

Public names: `AttackOutcome`, `SignalOutcome`, `attempt`, `measure`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from auditcli.attacks import run
from auditcli.errors import AttackError
from auditcli.membership import Query
from auditcli.scoring.matching import similarity
from auditcli.scoring.membership import signal_finding
from auditcli.threads import one_thread

if TYPE_CHECKING:
    from auditcli.attacks import Attack
    from auditcli.membership import Signal
    from auditcli.types import (
        Budget,
        Reconstruction,
        Sample,
        Shadows,
        SignalFinding,
        Similarity,
        Target,
        Trait,
        Watcher,
    )


@dataclass(frozen=True, slots=True)
class AttackOutcome:
    """What became of an attack."""

    attack: Attack
    budget: Budget
    status: Literal["scored", "unscored", "skipped", "failed"]
    reason: str = ""
    found: Reconstruction | None = None
    members: Similarity | None = None
    controls: Similarity | None = None


@dataclass(frozen=True, slots=True)
class SignalOutcome:
    """What became of a membership signal."""

    signal: Signal
    status: Literal["scored", "skipped", "failed"]
    reason: str = ""
    finding: SignalFinding | None = None
    members: tuple[float, ...] = ()
    """Score of each member, in the order of the sample."""
    controls: tuple[float, ...] = ()
    """Score of each control that was compared, in the order of `compared`."""
    compared: tuple[str, ...] = ()
    """Ids of those controls: the others trained shadow models."""


def attempt(
    attack: Attack,
    target: Target,
    budget: Budget,
    members: Sample | None,
    controls: Sample | None,
    *,
    seed: int,
    watch: Watcher | None,
) -> AttackOutcome:
    """Run an attack, and only then compare what it found with the images.

    Args:
        attack: What to run.
        target: What to run it on.
        budget: Of the run.
        members: Images to compare with, or None.
        controls: The same.
        seed: Of the run.
        watch: Told its progress.

    Returns:
        `skipped` where the model lacks what the attack needs, `failed` where it diverged or had too little memory or
        time, `unscored` where there are no members to compare with.
    """
    if lacking := attack.missing(target.profile):
        return AttackOutcome(attack, budget, "skipped", _needs(lacking, target))
    try:
        found = run(attack, target, budget, seed=seed, watch=watch)
    except AttackError as error:
        return AttackOutcome(attack, budget, "failed", error.message)
    if members is None:
        return AttackOutcome(attack, budget, "unscored", "no members were given to compare with", found)
    candidates = found.candidates.flatten(0, 1).cpu()
    return AttackOutcome(
        attack,
        budget,
        "scored",
        found=found,
        members=similarity(candidates, members.images),
        controls=None if controls is None else similarity(candidates, controls.images),
    )


def measure(
    signal: Signal,
    target: Target,
    members: Sample | None,
    controls: Sample | None,
    device: torch.device,
    *,
    seed: int,
    seconds: float = math.inf,
    shadows: Shadows | None = None,
) -> SignalOutcome:
    """Score members and controls by a signal, and say how well it tells them apart.

    Labels are used only where both samples have them: else labelled members and unlabelled controls would be scored by
    two different rules.

    Args:
        signal: What to measure.
        target: What to measure it on.
        members: Images it was trained on, or None.
        controls: Images it never saw, or None; no shadow model was trained on them either.
        device: Of the target.
        seed: Of the order in which the signal sees the images, and of its own draws.
        seconds: Ceiling; a signal that is not done by then has failed.
        shadows: Shadow models, or None.

    Returns:
        `skipped` where the model lacks what the signal needs, or one of the samples or the shadow models are missing.
    """
    if lacking := signal.missing(target.profile):
        return SignalOutcome(signal, "skipped", _needs(lacking, target))
    if signal.shadows and shadows is None:
        return SignalOutcome(signal, "skipped", "needs shadow models, which --shadows K trains")
    if members is None or controls is None:
        missing = " and ".join(
            name for name, sample in (("members", members), ("controls", controls)) if sample is None
        )
        return SignalOutcome(signal, "skipped", f"needs members and controls; no {missing} were given")
    try:
        with one_thread():
            near, far = _scores(signal, target, (members, controls), device, seed, seconds, shadows)
        finding = signal_finding(signal.name, near, far, ids=members.ids, seed=seed)
    except AttackError as error:
        return SignalOutcome(signal, "failed", error.message)
    return SignalOutcome(
        signal, "scored", finding=finding, members=tuple(near), controls=tuple(far), compared=controls.ids
    )


def _scores(
    signal: Signal,
    target: Target,
    samples: tuple[Sample, Sample],
    device: torch.device,
    seed: int,
    seconds: float,
    shadows: Shadows | None,
) -> tuple[list[float], list[float]]:
    """One score an image of each sample; the signal sees the images of both in one random order."""
    images = torch.cat([sample.images for sample in samples])
    known = [sample.labels for sample in samples if sample.labels is not None]
    labels = torch.cat(known) if len(known) == len(samples) else None
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    query = Query(
        target=target,
        images=images[order].to(device),
        labels=None if labels is None else labels[order],
        seed=seed,
        seconds=seconds,
        shadows=shadows if signal.shadows else None,
    )
    scores = torch.empty(len(images), dtype=torch.float64)
    scores[order] = signal.scores(query).double().cpu()
    near, far = scores.split([len(sample) for sample in samples])
    return near.tolist(), far.tolist()


def _needs(lacking: frozenset[Trait], target: Target) -> str:
    traits = ", ".join(sorted(lacking))
    return f"needs {traits}; this model ({target.profile.family}) does not have that"
