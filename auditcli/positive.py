"""The positive control: does the same procedure, at the same budget, find the leak of a model that leaks?

If it does not, finding nothing on the target means nothing. The model is a shipped one, or a copy of the target that
was overfitted. Public names: `controls_for`, `matched_for`, `Fixture`, `fixtures`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch

from auditcli.errors import AttackError, SampleError
from auditcli.families import Options, build, identify
from auditcli.images import read_sample
from auditcli.loading import load
from auditcli.outcomes import attempt, measure
from auditcli.resources import resource
from auditcli.scoring.calibration import member_findings
from auditcli.scoring.matching import pool
from auditcli.scoring.significance import recovery
from auditcli.training import Recipe, fit, part, predicted
from auditcli.types import PositiveControl, StopReason

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from auditcli.attacks import Attack
    from auditcli.membership import Signal
    from auditcli.types import Budget, Profile, Sample, Shadows, SignalFinding, Target, Watcher

ALPHA = 0.01
"""At which the leak of the fixture must be significant."""
RATE = 0.01
"""False-positive rate at which members of the fixture are counted as found by a signal."""
_INTO_THE_FIRST_LAYER = Recipe(
    steps=1500, loss=0.0, rate=0.1, optimiser="sgd", weight_decay=2e-3, drops=(0.7, 0.9), first_scale=0.01
)
"""For dense networks: weight decay and a small start leave images in the first layer, and little else."""
_BY_HEART = Recipe(steps=2000, loss=0.01, rate=1e-3, optimiser="adam", batch=50)
"""For all others, to which only signals of membership apply."""
_MOST_DENSE, _MOST = 40, 100
"""Images that a copy is trained on: the fewer, the more of them a first layer gives back."""
_LEAST = 20
"""Controls below which half of them, against the other half, cannot show a leak at `ALPHA` with a margin."""
_LEARNT = 0.1
"""Mean loss in nats at which a copy knows its images by heart."""


@dataclass(frozen=True, slots=True)
class Fixture:
    """A shipped model whose leak was measured when it was made."""

    name: str
    family: str
    outputs: int
    model: Path
    members: Path
    controls: Path
    methods: tuple[str, ...]
    """Attacks and signals that find its leak."""

    def open(self, device: torch.device) -> tuple[Target, Sample, Sample]:
        """The model, its members and its controls."""
        checkpoint = load(self.model)
        options = Options()
        profile = identify(checkpoint, options)
        target = build(checkpoint, profile, options, device)
        members = read_sample(self.members, profile.input_shape, profile.labels, role="members")
        controls = read_sample(self.controls, profile.input_shape, profile.labels, role="controls")
        return target, members, controls


def fixtures() -> tuple[Fixture, ...]:
    """The shipped models that leak."""
    root = resource("fixtures")
    index = json.loads((root / "fixtures.json").read_text(encoding="utf-8"))
    return tuple(
        Fixture(
            name=entry["name"],
            family=entry["family"],
            outputs=entry["outputs"],
            model=root / entry["model"],
            members=root / entry["members"],
            controls=root / entry["controls"],
            methods=tuple(entry["methods"]),
        )
        for entry in index["fixtures"]
        if entry["leak"] != "none"
    )


def controls_for(
    profile: Profile,
    attacks: Sequence[tuple[Attack, Budget]],
    signals: Sequence[Signal],
    device: torch.device,
    *,
    seed: int,
    watch: Watcher | None,
) -> Iterator[PositiveControl]:
    """Check everything that ran on the target on the shipped model most like it.

    Args:
        profile: Of the target; the fixture is of its family, and binary where it is, as far as there is one.
        attacks: Those that ran, each with the budget it had.
        signals: Those that ran.
        device: The same device.
        seed: The same seed.
        watch: Told the progress of the attacks.

    Yields:
        One control a method; none for a method that no shipped model of the family is known to leak to.

    Raises:
        KeyboardInterrupt: on Ctrl-C, for an attack that was cut short says nothing about the procedure.
    """
    alike = sorted(
        (fixture for fixture in fixtures() if fixture.family == profile.family),
        key=lambda fixture: (fixture.outputs == 1) != (profile.outputs == 1),
    )
    opened = cache(lambda fixture: _opened(fixture, device))
    for attack, budget in attacks:
        for fixture in [fixture for fixture in alike if attack.name in fixture.methods][:1]:
            yield _reconstruction(attack, budget, opened(fixture), seed, watch)
    for signal in signals:
        for fixture in [fixture for fixture in alike if signal.name in fixture.methods][:1]:
            yield _membership(signal, opened(fixture), device, seed)


def matched_for(
    target: Target,
    controls: Sample,
    attacks: Sequence[tuple[Attack, Budget]],
    signals: Sequence[Signal],
    device: torch.device,
    *,
    seconds: float,
    seed: int,
    watch: Watcher | None,
    shadows: Shadows | None = None,
) -> Iterator[PositiveControl]:
    """Check everything that ran on the target on a copy of it that was overfitted on some of the controls.

    A shipped model is another network on other images. The copy has the target's architecture and learns the auditor's
    images by heart, in a way that leaks: where it does not leak to a method, the method could not have found a leak of
    the target.

    Args:
        target: Its architecture is copied, and nothing that it learnt.
        controls: Part of them are trained on, and found again among the others.
        attacks: Those that ran, each with the budget it had.
        signals: Those that ran; those that need shadow models are left out where there are none.
        device: Of the target.
        seconds: Ceiling for training the copy; the attacks have their budgets.
        seed: Of the draw, the training, the attacks and the signals.
        watch: Told the progress of the training and the attacks.
        shadows: Shadow models of the target; they never saw these controls, and so are strangers to the copy as well.

    Yields:
        One control a method, with `matched` set.

    Raises:
        SampleError: there are too few controls to train on some and compare with the others.
        AttackError: the copy could not be overfitted in time.
        KeyboardInterrupt: on Ctrl-C.
    """
    leaky = _overfitted(target, controls, seconds=seconds, seed=seed, watch=watch)
    for attack, budget in attacks:
        yield _reconstruction(attack, budget, leaky, seed, watch)
    for signal in signals:
        if shadows is not None or not signal.shadows:
            yield _membership(signal, leaky, device, seed, shadows)


@dataclass(frozen=True, slots=True)
class _Leaky:
    """A model with a leak, and the images that show it."""

    name: str
    target: Target
    members: Sample
    controls: Sample
    matched: bool = False

    def failed(self, kind: str, method: str, reason: str) -> PositiveControl:
        """The control of a method that came to no result on it."""
        return PositiveControl(
            kind, method, self.name, 0, len(self.members), passed=False, detail=reason, matched=self.matched
        )


def _opened(fixture: Fixture, device: torch.device) -> _Leaky:
    return _Leaky(fixture.name, *fixture.open(device))


def _overfitted(target: Target, controls: Sample, *, seconds: float, seed: int, watch: Watcher | None) -> _Leaky:
    most, recipe = (_MOST, _BY_HEART) if target.dense is None else (_MOST_DENSE, _INTO_THE_FIRST_LAYER)
    if len(controls) < _LEAST:
        raise SampleError(
            f"{len(controls)} controls are too few to overfit a copy of the model on some of them",
            hint=f"give at least {_LEAST} controls, better a few hundred",
        )
    order = torch.randperm(len(controls), generator=torch.Generator().manual_seed(seed))
    count = min(most, len(controls) // 2)
    near, far = part(controls, order[:count]), part(controls, order[count:])
    name = f"a copy of this model, overfitted on {count} controls"
    labels = _labels(target, near, seed)
    fitted = fit(target, near.images, labels, recipe, seed=seed, seconds=seconds, watch=watch, name="positive control")
    if not fitted.loss <= _LEARNT:
        raise AttackError(
            f"a copy of the model could not be overfitted on {count} controls: its loss was {fitted.loss:.2g} after "
            f"{fitted.steps} steps in {fitted.seconds:.0f} seconds",
            hint="a larger --budget",
        )
    return _Leaky(name, fitted.target, near, far, matched=True)


def _labels(target: Target, sample: Sample, seed: int) -> Tensor:
    """Classes to learn: those known, else those the target sees, else, where it sees one alone, any."""
    if sample.labels is not None:
        return sample.labels
    seen = predicted(target, sample.images)
    if len(seen.unique()) > 1:
        return seen
    drawn = torch.randperm(len(sample), generator=torch.Generator().manual_seed(seed))
    return drawn % target.profile.classes


def _reconstruction(attack: Attack, budget: Budget, leaky: _Leaky, seed: int, watch: Watcher | None) -> PositiveControl:
    members, controls = leaky.members, leaky.controls
    outcome = attempt(attack, leaky.target, budget, members, controls, seed=seed, watch=watch)
    if outcome.found is not None and outcome.found.stopped_by is StopReason.INTERRUPTED:
        raise KeyboardInterrupt
    if outcome.members is None or outcome.controls is None:
        return leaky.failed("reconstruction", attack.name, outcome.reason)
    test = recovery(outcome.members.best, outcome.controls.best, seed=seed)
    near, far = pool({attack.name: outcome.members}), pool({attack.name: outcome.controls})
    leaked = sum(finding.leaked for finding in member_findings(members.ids, near, far))
    return PositiveControl(
        kind="reconstruction",
        method=attack.name,
        fixture=leaky.name,
        recovered=leaked,
        of=len(members),
        passed=test.p_value <= ALPHA and leaked > 0,
        detail=(
            f"best member at SSIM {max(near.best):.2f}, best of {len(controls)} controls at {max(far.best):.2f}, "
            f"p = {test.p_value:.2g}"
        ),
        matched=leaky.matched,
    )


def _membership(
    signal: Signal, leaky: _Leaky, device: torch.device, seed: int, shadows: Shadows | None = None
) -> PositiveControl:
    members = leaky.members
    outcome = measure(signal, leaky.target, members, leaky.controls, device, seed=seed, shadows=shadows)
    if outcome.finding is None:
        return leaky.failed("membership", signal.name, outcome.reason)
    finding = outcome.finding
    found, where = _found(finding)
    return PositiveControl(
        kind="membership",
        method=signal.name,
        fixture=leaky.name,
        recovered=found,
        of=len(members),
        passed=finding.test.p_value <= ALPHA,
        detail=f"AUC {finding.auc.value:.2f} ({finding.auc.low:.2f} to {finding.auc.high:.2f}), {where}",
        matched=leaky.matched,
    )


def _found(finding: SignalFinding) -> tuple[int, str]:
    """Members found at `RATE`, or above every control where there are too few controls to resolve that."""
    at_rate = next((interval for rate, interval in finding.tpr_at_fpr if rate == RATE), None)
    if at_rate is not None:
        return round(at_rate.value * finding.n_members), f"counted at {RATE:.0%} false alarms"
    highest = max(share for alarms, share in finding.roc if alarms == 0)
    return round(highest * finding.n_members), "counted above every control"
