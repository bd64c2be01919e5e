"""The one left-to-right function: load, identify, attack, compare, judge, report. Public names: `audit`, `load`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from auditcli import device as devices
from auditcli import evidence, gallery, inspection
from auditcli.assembly import Session, assemble
from auditcli.attacks import Attack, all_attacks
from auditcli.effort import EFFORTS, Effort, ProfileName
from auditcli.errors import AttackError, SampleError, UsageError
from auditcli.families import Options, build
from auditcli.hypotheses import resolve
from auditcli.images import read_sample, require_disjoint
from auditcli.loading import load as read_checkpoint
from auditcli.membership import all_signals
from auditcli.outcomes import AttackOutcome, SignalOutcome, attempt, measure
from auditcli.positive import controls_for
from auditcli.scoring.calibration import member_findings
from auditcli.scoring.findings import Findings
from auditcli.scoring.matching import Pooled, pool
from auditcli.scoring.significance import recovery
from auditcli.scoring.verdict import judge
from auditcli.types import Evidence, Level, PositiveControl, Profile, Sample, StopReason, Target, Trait

if TYPE_CHECKING:
    from auditcli.report.schema import Report
    from auditcli.types import Budget, Checkpoint, Watcher

Outcome = AttackOutcome | SignalOutcome | Evidence | PositiveControl

_ATTACKING = 0.4
"""Share of the time that is left which the attacks may take together; the rest is for what gives them a meaning."""
_WEIGHING = 0.5
"""Share of the time then left for the shuffled weights; the rest is for the positive controls."""
_RESOLVING = 0.2
"""Share of the budget for what images can say about the model."""


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything an audit works with."""

    target: Target
    members: Sample | None
    controls: Sample | None
    attacks: tuple[Attack, ...]
    effort: Effort
    device: torch.device
    deadline: float
    seed: int
    watch: Watcher | None

    def left(self, share: float = 1.0) -> float:
        """Seconds left, or a share of them."""
        return max(0.0, self.deadline - time.monotonic()) * share


@dataclass(frozen=True, slots=True)
class _Docket:
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


def load(
    path: str | Path,
    *,
    device: str = "auto",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    assume: Mapping[str, str] | None = None,
    arch: str = "",
    arch_arguments: Mapping[str, Any] | None = None,
) -> Target:
    """Load, identify and build a model, without running anybody's code.

    Args:
        path: A `.safetensors` or `.onnx` file, a Hugging Face folder, or `hf://owner/name[@revision]`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        mean: Of inputs in [0, 1], one a channel or one for all; None for what the model says.
        std: The same.
        input_shape: (c, h, w), where the model does not say.
        assume: What else the model does not say, e.g. `{"activation": "gelu"}`.
        arch: `module:callable` of your own code that builds the network. This runs that code; nothing else does.
        arch_arguments: Keyword arguments of that callable.

    Returns:
        `target(images)` maps float images (n, c, h, w) in [0, 1] to logits; `target.profile` says what it is.

    Raises:
        AuditError: the file cannot be read or identified; the message has a hint.
    """
    options = Options(
        input_shape=input_shape,
        mean=mean,
        std=std,
        assume=assume or {},
        arch=arch,
        arch_arguments=arch_arguments or {},
    )
    return _open(path, options, devices.resolve(device))[2]


def audit(
    path: str | Path,
    *,
    reference: str | Path | None = None,
    controls: str | Path | None = None,
    budget: float = 600.0,
    profile: ProfileName = "standard",
    attacks: Sequence[str] = (),
    device: str = "auto",
    seed: int = 0,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    assume: Mapping[str, str] | None = None,
    arch: str = "",
    arch_arguments: Mapping[str, Any] | None = None,
    include_images: bool = False,
    redact: bool = False,
    watch: Watcher | None = None,
    command: str = "",
) -> Report:
    """Audit a model: how much of its training data can be got back out of it?

    Args:
        path: A `.safetensors` or `.onnx` file, a Hugging Face folder, or `hf://owner/name[@revision]`.
        reference: Images it was trained on (members): a folder, or an `.npz` with `images` and optional `labels`.
        controls: Images of the same kind that it never saw, likewise.
        budget: Ceiling for the whole audit, in seconds.
        profile: `quick`, `standard` or `deep`: steps, restarts and candidates of the attacks.
        attacks: Names of attacks to run; all whose needs are met unless given.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        seed: The same seed on the same machine gives the same report but for times.
        mean: Of inputs in [0, 1]; None for what the model says.
        std: The same.
        input_shape: (c, h, w), where the model does not say.
        assume: What else the model does not say.
        arch: As for `load`.
        arch_arguments: The same.
        include_images: Show the auditor's images in the report.
        redact: Show no picture at all.
        watch: Told the progress of the attacks.
        command: Command line, for the manifest.

    Returns:
        The report; `report.verdict.level` is the answer, `report.save(directory)` writes it. After Ctrl-C it is marked
        interrupted and holds what was found up to then.

    Raises:
        AuditError: an option, the model or the images cannot be used; nothing was attacked yet.
    """
    started, began = datetime.now(UTC), time.monotonic()
    chosen, where = _chosen(attacks), devices.resolve(device)
    if profile not in EFFORTS:
        raise UsageError(f"there is no profile {profile!r}", hint=f"--profile {', '.join(EFFORTS)}")
    options = Options(
        input_shape=input_shape,
        mean=mean,
        std=std,
        assume=assume or {},
        arch=arch,
        arch_arguments=arch_arguments or {},
    )
    samples = [None if sample is None else Path(sample) for sample in (reference, controls)]
    checkpoint, described, target = _open(path, options, where, *samples, seconds=_RESOLVING * budget)
    members, holdout = _samples(reference, controls, described)
    case = _Case(
        target=target,
        members=members,
        controls=holdout,
        attacks=chosen,
        effort=EFFORTS[profile],
        device=where,
        deadline=began + budget,
        seed=seed,
        watch=watch,
    )
    docket = _investigate(case)
    findings, best = _findings(case, docket)
    seconds = time.monotonic() - began
    return assemble(
        model=inspection.describe(checkpoint, described),
        verdict=judge(findings),
        findings=findings,
        attacks=docket.attacks,
        signals=docket.signals,
        members=members,
        controls=holdout,
        best=(best[0].best if best[0] else (), best[1].best if best[1] else ()),
        gallery=_gallery(case, docket, findings, include_images=include_images, redact=redact),
        session=Session(
            started=started,
            finished=datetime.now(UTC),
            seconds=budget,
            seconds_used=seconds,
            device=devices.describe(where),
            profile=profile,
            seed=seed,
            command=command,
            stopped_by=_stopped_by(docket),
            interrupted=docket.interrupted,
            redacted=redact,
        ),
    )


def _open(
    path: str | Path, options: Options, device: torch.device, *samples: Path | None, seconds: float = 0.0
) -> tuple[Checkpoint, Profile, Target]:
    """Load, identify (for so many seconds with members and controls, where there are some) and build."""
    checkpoint = read_checkpoint(path)
    profile, options = resolve(checkpoint, options, *samples, seconds=seconds)
    target = build(checkpoint, profile, options, device)
    return checkpoint, target.profile, target


def _chosen(names: Sequence[str]) -> tuple[Attack, ...]:
    """The attacks of these names, or all; the negative control always runs, for it checks the images."""
    known = all_attacks()
    if unknown := set(names) - {attack.name for attack in known}:
        raise UsageError(
            f"there is no attack {', '.join(sorted(unknown))}; there is {', '.join(attack.name for attack in known)}",
            hint="privaudit attacks lists them",
        )
    return tuple(attack for attack in known if not names or attack.name in names or attack.negative_control)


def _samples(
    reference: str | Path | None, controls: str | Path | None, profile: Profile
) -> tuple[Sample | None, Sample | None]:
    members, holdout = (
        None if path is None else read_sample(Path(path), profile.input_shape, profile.labels, role=role)
        for path, role in ((reference, "members"), (controls, "controls"))
    )
    for sample, role in ((members, "members"), (holdout, "controls")):
        if sample is None or sample.labels is None:
            continue
        if int(sample.labels.max()) >= profile.classes or int(sample.labels.min()) < 0:
            raise SampleError(
                f"{role}: label {int(sample.labels.max())} was found, but the model has {profile.classes} classes",
                hint=f"labels count from 0 to {profile.classes - 1}; leave them out if they are not the model's",
            )
    if members is not None and holdout is not None:
        require_disjoint(members, holdout)
    return members, holdout


def _investigate(case: _Case) -> _Docket:
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


def _was_interrupted(outcome: AttackOutcome) -> bool:
    return outcome.found is not None and outcome.found.stopped_by is StopReason.INTERRUPTED


def _sorted(found: Sequence[Outcome], interrupted: bool) -> _Docket:
    return _Docket(
        attacks=tuple(o for o in found if isinstance(o, AttackOutcome)),
        signals=tuple(o for o in found if isinstance(o, SignalOutcome)),
        evidence=next((o for o in found if isinstance(o, Evidence)), None),
        positive=tuple(o for o in found if isinstance(o, PositiveControl)),
        interrupted=interrupted,
    )


def _outcomes(case: _Case, found: Sequence[Outcome]) -> Iterator[Outcome]:
    """Signals, attacks, evidence where images cannot calibrate, positive controls where nothing was found.

    `found` is what was yielded so far, and grows meanwhile.
    """
    for signal in all_signals():
        yield measure(signal, case.target, case.members, case.controls, case.device, seed=case.seed)
    ordered = sorted(case.attacks, key=lambda attack: not attack.negative_control)
    for index, attack in enumerate(ordered):
        sharing = 1 if attack.negative_control else len(ordered) - index
        budget = case.effort.budget(case.left(_ATTACKING / sharing))
        yield attempt(attack, case.target, budget, case.members, case.controls, seed=case.seed, watch=case.watch)
    docket = _sorted(found, interrupted=False)
    if case.members is None or case.controls is None:
        yield from _evidence(case, docket)
    docket = _sorted(found, interrupted=False)
    if judge(_findings(case, docket)[0]).level in (Level.NONE_DETECTED, Level.INCONCLUSIVE):
        yield from controls_for(
            case.target.profile,
            [(o.attack, _allowed(o, case)) for o in docket.ran],
            [o.signal for o in docket.signals if o.status == "scored"],
            case.device,
            seed=case.seed,
            watch=case.watch,
        )


def _evidence(case: _Case, docket: _Docket) -> Iterator[Evidence]:
    for outcome in docket.ran:
        if outcome.found is None or Trait.DENSE not in outcome.attack.requires or len(outcome.found.candidates) < 2:
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


def _allowed(outcome: AttackOutcome, case: _Case) -> Budget:
    """The budget the attack had, for its positive control: the seconds it was given, as far as they are left."""
    return case.effort.budget(min(outcome.budget.seconds, case.left()))


def _findings(case: _Case, docket: _Docket) -> tuple[Findings, tuple[Pooled | None, Pooled | None]]:
    near = {o.attack.name: o.members for o in docket.scored if o.members is not None}
    far = {o.attack.name: o.controls for o in docket.scored if o.controls is not None}
    members, controls = pool(near) if near else None, pool(far) if far else None
    negative = next((o for o in docket.attacks if o.attack.negative_control and o.controls is not None), None)
    findings = Findings(
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
        positive=docket.positive,
        interrupted=docket.interrupted,
    )
    return findings, (members, controls)


def _gallery(
    case: _Case, docket: _Docket, findings: Findings, *, include_images: bool, redact: bool
) -> gallery.Gallery:
    if case.members is not None and findings.members:
        return gallery.pairs(
            docket.scored,
            findings.members,
            case.members,
            case.controls,
            case.target,
            include_images=include_images,
            redact=redact,
        )
    for outcome in docket.ran:
        if outcome.found is not None and len(outcome.found.candidates) > 1:
            return gallery.agreed(outcome.found, case.target, redact=redact)
    return gallery.Gallery()


def _stopped_by(docket: _Docket) -> StopReason:
    if docket.interrupted:
        return StopReason.INTERRUPTED
    reasons = {o.found.stopped_by for o in docket.ran if o.found is not None}
    return StopReason.SECONDS if StopReason.SECONDS in reasons else StopReason.STEPS
