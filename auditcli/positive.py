"""The positive control: does the same procedure, at the same budget, find the leak of a shipped leaky model?

If it does not, finding nothing on the target means nothing. Public names: `controls_for`, `Fixture`, `fixtures`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditcli.families import Options, build, identify
from auditcli.images import read_sample
from auditcli.loading import load
from auditcli.outcomes import attempt, measure
from auditcli.resources import resource
from auditcli.scoring.calibration import member_findings
from auditcli.scoring.matching import pool
from auditcli.scoring.significance import recovery
from auditcli.types import PositiveControl, StopReason

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from auditcli.attacks import Attack
    from auditcli.membership import Signal
    from auditcli.types import Budget, Profile, Sample, Target, Watcher

ALPHA = 0.01
"""At which the leak of the fixture must be significant."""
RATE = 0.01
"""False-positive rate at which members of the fixture are counted as found by a signal."""


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
    for attack, budget in attacks:
        for fixture in [fixture for fixture in alike if attack.name in fixture.methods][:1]:
            yield _reconstruction(attack, budget, fixture, device, seed, watch)
    for signal in signals:
        for fixture in [fixture for fixture in alike if signal.name in fixture.methods][:1]:
            yield _membership(signal, fixture, device, seed)


def _reconstruction(
    attack: Attack, budget: Budget, fixture: Fixture, device: torch.device, seed: int, watch: Watcher | None
) -> PositiveControl:
    target, members, controls = fixture.open(device)
    outcome = attempt(attack, target, budget, members, controls, seed=seed, watch=watch)
    if outcome.found is not None and outcome.found.stopped_by is StopReason.INTERRUPTED:
        raise KeyboardInterrupt
    if outcome.members is None or outcome.controls is None:
        return PositiveControl(
            "reconstruction", attack.name, fixture.name, 0, len(members), passed=False, detail=outcome.reason
        )
    test = recovery(outcome.members.best, outcome.controls.best, seed=seed)
    near, far = pool({attack.name: outcome.members}), pool({attack.name: outcome.controls})
    leaked = sum(finding.leaked for finding in member_findings(members.ids, near, far))
    return PositiveControl(
        kind="reconstruction",
        method=attack.name,
        fixture=fixture.name,
        recovered=leaked,
        of=len(members),
        passed=test.p_value <= ALPHA and leaked > 0,
        detail=(
            f"best member at SSIM {max(near.best):.2f}, best of {len(controls)} controls at {max(far.best):.2f}, "
            f"p = {test.p_value:.2g}"
        ),
    )


def _membership(signal: Signal, fixture: Fixture, device: torch.device, seed: int) -> PositiveControl:
    target, members, controls = fixture.open(device)
    outcome = measure(signal, target, members, controls, device, seed=seed)
    if outcome.finding is None:
        return PositiveControl(
            "membership", signal.name, fixture.name, 0, len(members), passed=False, detail=outcome.reason
        )
    finding = outcome.finding
    at_rate = next((interval for rate, interval in finding.tpr_at_fpr if rate == RATE), None)
    return PositiveControl(
        kind="membership",
        method=signal.name,
        fixture=fixture.name,
        recovered=0 if at_rate is None else round(at_rate.value * len(members)),
        of=len(members),
        passed=finding.test.p_value <= ALPHA,
        detail=f"AUC {finding.auc.value:.2f} ({finding.auc.low:.2f} to {finding.auc.high:.2f}), at 1% false alarms",
    )
