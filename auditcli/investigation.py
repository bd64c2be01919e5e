"""Everything an audit does with a model and images: signals, attacks, evidence, controls, and what they amount to.

Public names: `Case`, `Docket`, `investigate`, `findings`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditcli import evidence, training
from auditcli.errors import AttackError, SampleError
from auditcli.membership import Signal, all_signals
from auditcli.outcomes import AttackOutcome, SignalOutcome, attempt, measure
from auditcli.positive import controls_for, matched_for
from auditcli.scoring.calibration import member_findings
from auditcli.scoring.findings import Findings
from auditcli.scoring.matching import Pooled, pool
from auditcli.scoring.significance import recovery
from auditcli.scoring.verdict import judge
from auditcli.types import Evidence, Level, PositiveControl, StopReason

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from auditcli.attacks import Attack
    from auditcli.effort import Effort
    from auditcli.types import Budget, Comparability, Sample, Target, Watcher

Outcome = AttackOutcome | SignalOutcome | Evidence | PositiveControl

_SIGNALLING = 0.25
"""Share of the time that is left which one signal may take."""
_ATTACKING = 0.4
"""Share of the time that is left which the attacks may take together; the rest is for what gives them a meaning."""
_SHADOWING = 0.4
"""Share of the time then left for the training of shadow models."""
_WEIGHING = 0.5
"""Share of the time then left for the shuffled weights."""
_MATCHING = 0.2
"""Share of the time then left for overfitting a copy of the model; the rest is for the positive controls."""


@dataclass(frozen=True, slots=True)
class Case:
    """Everything an audit works with."""

    target: Target
    members: Sample | None
    controls: Sample | None
    comparability: Comparability | None
    attacks: tuple[Attack, ...]
    unasked: tuple[Attack, ...]
    """Attacks that could be run on this model and run on request alone; the report names them as not run."""
    effort: Effort
    device: torch.device
    deadline: float
    seed: int
    watch: Watcher | None
    shadows: int = 0
    """Shadow models to train on half of the controls."""
    cache: Path | None = None
    """Where shadow models are kept."""

    def left(self, share: float = 1.0) -> float:
        """Seconds left, or a share of them."""
        return max(0.0, self.deadline - time.monotonic()) * share


@dataclass(frozen=True, slots=True)
class Docket:
    """What was found so far, by kind."""

    attacks: tuple[AttackOutcome, ...] = ()
    signals: tuple[SignalOutcome, ...] = ()
    evidence: Evidence | None = None
    positive: tuple[PositiveControl, ...] = ()
    interrupted: bool = False

    @property
    def scored(self) -> tuple[AttackOutcome, ...]:
        """Attacks that look at the weights and were compared with members."""
        return tuple(o for o in self.attacks if o.status == "scored" and not o.attack.negative_control)

    @property
    def ran(self) -> tuple[AttackOutcome, ...]:
        """Attacks that look at the weights and came to a result."""
        return tuple(o for o in self.attacks if o.found is not None and not o.attack.negative_control)


def investigate(case: Case) -> Docket:
    """Run everything; after Ctrl-C keep what there is."""
    found: list[Outcome] = []
    interrupted = True
    with suppress(KeyboardInterrupt):
        for outcome in _outcomes(case, found):
            found.append(outcome)
            if isinstance(outcome, AttackOutcome) and _was_interrupted(outcome):
                raise KeyboardInterrupt
        interrupted = False
    return _sorted(found, interrupted)


def findings(case: Case, docket: Docket) -> tuple[Findings, tuple[Pooled | None, Pooled | None]]:
    """What the verdict rests on, and the best similarity of each member and each control."""
    near = {o.attack.name: o.members for o in docket.scored if o.members is not None}
    far = {o.attack.name: o.controls for o in docket.scored if o.controls is not None}
    members, controls = pool(near) if near else None, pool(far) if far else None
    negative = next((o for o in docket.attacks if o.attack.negative_control and o.controls is not None), None)
    gathered = Findings(
        n_members=0 if case.members is None else len(case.members),
        n_controls=0 if case.controls is None else len(case.controls),
        applicable=len(docket.ran) + sum(o.status == "scored" for o in docket.signals),
        reconstruction=recovery(members.best, controls.best, seed=case.seed) if members and controls else None,
        members=member_findings(case.members.ids, members, controls) if case.members and members else (),
        best_control=max(controls.best) if controls else None,
        signals=tuple(o.finding for o in docket.signals if o.finding is not None),
        evidence=docket.evidence,
        negative=recovery(negative.members.best, negative.controls.best, seed=case.seed)
        if negative and negative.members and negative.controls
        else None,
        blind=case.comparability.blind if case.comparability else None,
        tells=case.comparability.tells if case.comparability else (),
        accuracy_members=case.comparability.accuracy_members if case.comparability else None,
        accuracy_controls=case.comparability.accuracy_controls if case.comparability else None,
        positive=docket.positive,
        interrupted=docket.interrupted,
        traits=case.target.profile.traits,
    )
    return gathered, (members, controls)


def _was_interrupted(outcome: AttackOutcome) -> bool:
    return outcome.found is not None and outcome.found.stopped_by is StopReason.INTERRUPTED


def _sorted(found: Sequence[Outcome], interrupted: bool = False) -> Docket:
    return Docket(
        attacks=tuple(o for o in found if isinstance(o, AttackOutcome)),
        signals=tuple(o for o in found if isinstance(o, SignalOutcome)),
        evidence=next((o for o in found if isinstance(o, Evidence)), None),
        positive=tuple(o for o in found if isinstance(o, PositiveControl)),
        interrupted=interrupted,
    )


def _outcomes(case: Case, found: Sequence[Outcome]) -> Iterator[Outcome]:
    """Signals and attacks; where they find nothing, what the weights alone say and whether a leak would be found.

    `found` is what was yielded so far, and grows meanwhile.
    """
    signals = all_signals()
    for signal in (signal for signal in signals if not signal.shadows):
        yield measure(
            *(signal, case.target, case.members, case.controls, case.device),
            seed=case.seed,
            seconds=case.left(_SIGNALLING),
        )
    ordered = sorted(case.attacks, key=lambda attack: not attack.negative_control)
    for index, attack in enumerate(ordered):
        sharing = 1 if attack.negative_control else len(ordered) - index
        budget = case.effort.budget(case.left(_ATTACKING / sharing))
        yield attempt(attack, case.target, budget, case.members, case.controls, seed=case.seed, watch=case.watch)
    for attack in case.unasked:
        yield AttackOutcome(attack, case.effort.budget(0.0), "skipped", "runs only where --attack names it")
    yield from _shadowed(case, [signal for signal in signals if signal.shadows])
    if not _leaks(case, found):
        yield from _evidence(case, _sorted(found))
    if not _leaks(case, found):
        yield from _positive(case, _sorted(found))


def _leaks(case: Case, found: Sequence[Outcome]) -> bool:
    level = judge(findings(case, _sorted(found))[0]).level
    return level not in (Level.NONE_DETECTED, Level.INCONCLUSIVE)


def _shadowed(case: Case, signals: Sequence[Signal]) -> Iterator[SignalOutcome]:
    """Signals that compare the target with models trained on half of the controls; the other half is compared."""
    compared, shadows = case.controls, None
    if case.shadows and case.members is not None and case.controls is not None:
        population, compared = training.split(case.controls, case.seed)
        try:
            shadows = training.shadows(
                *(case.target, population, case.shadows),
                seconds=case.left(_SHADOWING),
                seed=case.seed,
                cache=case.cache,
                watch=case.watch,
            )
        except AttackError as error:
            yield from (SignalOutcome(signal, "failed", error.message) for signal in signals)
            return
    for signal in signals:
        yield measure(
            *(signal, case.target, case.members, compared, case.device),
            seed=case.seed,
            seconds=case.left(_SIGNALLING),
            shadows=shadows,
        )


def _evidence(case: Case, docket: Docket) -> Iterator[Evidence]:
    for outcome in docket.ran:
        if outcome.found is None or not outcome.attack.weighable or len(outcome.found.candidates) < 2:
            continue
        with suppress(AttackError):
            yield evidence.weigh(
                outcome.attack,
                case.target,
                outcome.found,
                case.effort,
                seconds=case.left(_WEIGHING),
                seed=case.seed,
                watch=case.watch,
            )
        return


def _positive(case: Case, docket: Docket) -> Iterator[PositiveControl]:
    """The same procedure on shipped models that leak, and on a copy of this one that was made to."""
    attacks = [(o.attack, _allowed(o, case)) for o in docket.ran]
    signals = [o.signal for o in docket.signals if o.status == "scored" and not o.signal.shadows]
    yield from controls_for(case.target.profile, attacks, signals, case.device, seed=case.seed, watch=case.watch)
    if case.members is None or case.controls is None:
        return
    # Where no copy can be overfitted, the shipped models stand alone, and the report says that there is none.
    with suppress(AttackError, SampleError):
        yield from matched_for(
            *(case.target, case.controls, [(o.attack, _allowed(o, case)) for o in docket.ran], signals, case.device),
            seconds=case.left(_MATCHING),
            seed=case.seed,
            watch=case.watch,
        )


def _allowed(outcome: AttackOutcome, case: Case) -> Budget:
    """The budget the attack had, for its positive control: the seconds it was given, as far as they are left."""
    return case.effort.budget(min(outcome.budget.seconds, case.left()))
