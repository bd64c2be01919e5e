"""The one left-to-right function: load, identify, attack, compare, judge, report. Public names: `audit`, `load`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from auditcli import device as devices
from auditcli import gallery, inspection, naming
from auditcli.assembly import Session, assemble
from auditcli.attacks import Attack, all_attacks
from auditcli.comparability import blind, vet
from auditcli.effort import EFFORTS, ProfileName
from auditcli.errors import SampleError, UsageError
from auditcli.families import Options
from auditcli.images import read_sample, require_disjoint
from auditcli.investigation import Case, Docket, findings, investigate
from auditcli.lineage import based
from auditcli.loading import load as read_checkpoint
from auditcli.membership import all_signals
from auditcli.opening import opened
from auditcli.report import redaction
from auditcli.scoring.findings import Findings
from auditcli.scoring.plan import plan
from auditcli.scoring.verdict import judge
from auditcli.threads import one_thread
from auditcli.training import predicted
from auditcli.types import Comparability, Plan, Profile, Sample, StopReason, Target

if TYPE_CHECKING:
    from auditcli.report.marks import Role
    from auditcli.report.redaction import Shown
    from auditcli.report.schema import Report
    from auditcli.types import Checkpoint, Watcher

_RESOLVING = 0.2
"""Share of the budget for what images can say about the model."""


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
    base: str | Path | None = None,
    backbone: str | Path | None = None,
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
        base: The public model that this one was fine-tuned from, read with the same options: attacks and signals that
            read the first layer then read the difference.
        backbone: Where the file holds a head alone, the model whose features it reads: a path or a hub id, as above.

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
    return _open(path, options, devices.resolve(device), base=base, backbone=backbone)[2]


def audit(
    path: str | Path,
    *,
    reference: str | Path | None = None,
    controls: str | Path | None = None,
    budget: float = 600.0,
    profile: ProfileName = "standard",
    attacks: Sequence[str] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "auto",
    seed: int = 0,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    assume: Mapping[str, str] | None = None,
    arch: str = "",
    arch_arguments: Mapping[str, Any] | None = None,
    base: str | Path | None = None,
    backbone: str | Path | None = None,
    names: bool = False,
    reconstructions: Shown = "blurred",
    include_images: bool = False,
    redact: bool = False,
    shadows: int = 0,
    shadow_cache: str | Path | None = None,
    announce: Callable[[Plan], None] | None = None,
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
        attacks: Names of attacks to run; unless given, all whose needs are met but those that run on request alone.
        settings: Of these attacks, where they are not to be the defaults, e.g. `{"inversion": {"kl": 0}}`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        seed: The same seed on the same machine gives the same report but for times.
        mean: Of inputs in [0, 1]; None for what the model says.
        std: The same.
        input_shape: (c, h, w), where the model does not say.
        assume: What else the model does not say.
        arch: As for `load`.
        arch_arguments: The same.
        base: The same.
        backbone: The same.
        names: Show the file names of the auditor's images in the report, and not ids.
        reconstructions: Show them `sharp`, `blurred` or not at all (`none`).
        include_images: Show the auditor's images in the report.
        redact: Show no picture at all, and no name.
        shadows: Models of the same architecture to train on half of the controls, for the signals that compare with
            such; 0 for none.
        shadow_cache: Folder where they are kept and found again; they are weights trained on the controls.
        announce: Told, before anything is attacked, what so many members and controls can establish at best.
        watch: Told the progress of the attacks.
        command: Command line, for the manifest.

    Returns:
        The report; `report.verdict.level` is the answer, `report.save(directory)` writes it. After Ctrl-C it is marked
        interrupted and holds what was found up to then.

    Raises:
        AuditError: an option, the model or the images cannot be used; nothing was attacked yet.
    """
    started, began = datetime.now(UTC), time.monotonic()
    shown = redaction.wanted(names=names, reconstructions=reconstructions, include_images=include_images, redact=redact)
    chosen, where = _chosen(attacks, settings or {}), devices.resolve(device)
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
    checkpoint, described, target = _open(
        path, options, where, *samples, seconds=_RESOLVING * budget, base=base, backbone=backbone
    )
    members, holdout = _sample(samples[0], "member", target.profile), _sample(samples[1], "control", target.profile)
    aliases = naming.aliases_of(members, holdout)
    members, holdout, compared = _compared(members, holdout, target, seed=seed)
    members, holdout = naming.by_id("member", members, aliases), naming.by_id("control", holdout, aliases)
    prospect = _prospect(target.profile, members, holdout, shadows=shadows)
    if announce is not None:
        announce(prospect)
    case = Case(
        target=target,
        members=members,
        controls=holdout,
        comparability=compared,
        attacks=chosen,
        unasked=() if attacks else _unasked(target.profile),
        effort=EFFORTS[profile],
        device=where,
        deadline=began + budget,
        seed=seed,
        watch=watch,
        shadows=shadows,
        cache=None if shadow_cache is None else Path(shadow_cache),
    )
    docket = investigate(case)
    found, best = findings(case, docket)
    seconds = time.monotonic() - began
    report = assemble(
        model=inspection.describe(checkpoint, described),
        verdict=judge(found),
        findings=found,
        prospect=prospect,
        comparability=compared,
        attacks=docket.attacks,
        signals=docket.signals,
        members=members,
        controls=holdout,
        best=(best[0].best if best[0] else (), best[1].best if best[1] else ()),
        gallery=_gallery(case, docket, found),
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
        ),
    )
    return redaction.redact(report, shown, aliases)


def _open(
    path: str | Path,
    options: Options,
    device: torch.device,
    reference: Path | None = None,
    controls: Path | None = None,
    *,
    seconds: float = 0.0,
    base: str | Path | None = None,
    backbone: str | Path | None = None,
) -> tuple[Checkpoint, Profile, Target]:
    """Load, identify (for so many seconds with members and controls, where there are some) and build; then its base."""
    checkpoint = read_checkpoint(path)
    target, options = opened(
        checkpoint, options, device, reference=reference, controls=controls, seconds=seconds, backbone=backbone
    )
    if base is not None:
        start = read_checkpoint(base)
        target = based(target, opened(start, options, device, backbone=backbone)[0], start)
    return checkpoint, target.profile, target


def _chosen(
    names: Sequence[str], settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> tuple[Attack, ...]:
    """The attacks of these names, or all but those on request; the negative control always, to check the images."""
    known = all_attacks()
    if unknown := set(names) - {attack.name for attack in known}:
        raise UsageError(
            f"there is no attack {', '.join(sorted(unknown))}; there is {', '.join(attack.name for attack in known)}",
            hint="privaudit attacks lists them",
        )
    wanted = names or [attack.name for attack in known if not attack.on_request]
    chosen = tuple(attack for attack in known if attack.name in wanted or attack.negative_control)
    if idle := settings.keys() - {attack.name for attack in chosen}:
        name = min(idle)
        there = name in {attack.name for attack in known}
        raise UsageError(
            f"--set is for {name}, which {'is not run' if there else 'is no attack'}",
            hint=f"add --attack {name}" if there else "privaudit attacks lists them",
        )
    return tuple(attack.with_settings(**settings.get(attack.name, {})) for attack in chosen)


def _unasked(profile: Profile) -> tuple[Attack, ...]:
    """The attacks on request that this model has what they need for."""
    return tuple(attack for attack in all_attacks() if attack.on_request and not attack.missing(profile))


def _sample(path: Path | None, role: Role, profile: Profile) -> Sample | None:
    """Members or controls."""
    if path is None:
        return None
    sample = read_sample(path, profile.input_shape, profile.labels, role=f"{role}s")
    _require_classes(sample, f"{role}s", profile)
    return sample


def _compared(
    members: Sample | None, controls: Sample | None, target: Target, *, seed: int
) -> tuple[Sample | None, Sample | None, Comparability | None]:
    """Members, controls, and whether they can be compared; what would be counted twice is left out."""
    if members is None or controls is None:
        return members, controls, None
    require_disjoint(members, controls)
    vetted = vet(members, controls)
    with one_thread():
        found = blind(vetted.members, vetted.controls, seed=seed)
    compared = Comparability(
        blind=found.test,
        auc=found.auc,
        tells=tuple(difference.what for difference in found.differences),
        left_out=vetted.left_out,
        accuracy_members=_accuracy(target, vetted.members),
        accuracy_controls=_accuracy(target, vetted.controls),
        has_power=found.has_power,
    )
    return vetted.members, vetted.controls, compared


def _require_classes(sample: Sample, role: str, profile: Profile) -> None:
    if sample.labels is None:
        return
    if int(sample.labels.max()) >= profile.classes or int(sample.labels.min()) < 0:
        raise SampleError(
            f"{role}: label {int(sample.labels.max())} was found, but the model has {profile.classes} classes",
            hint=f"labels count from 0 to {profile.classes - 1}; leave them out if they are not the model's",
        )


def _accuracy(target: Target, sample: Sample) -> float | None:
    """Share of images the model is right on, None without labels."""
    if sample.labels is None:
        return None
    return float((predicted(target, sample.images) == sample.labels).double().mean())


def _prospect(profile: Profile, members: Sample | None, controls: Sample | None, *, shadows: int) -> Plan:
    """What the audit can establish at best."""
    counts = [0 if sample is None else len(sample) for sample in (members, controls)]
    signals = [signal for signal in all_signals() if not signal.missing(profile) and (shadows or not signal.shadows)]
    return plan(counts[0], counts[1], tests=len(signals) + 1, shadows=bool(shadows))


def _gallery(case: Case, docket: Docket, findings: Findings) -> gallery.Gallery:
    if case.members is not None and findings.members:
        return gallery.pairs(docket.scored, findings.members, case.members, case.controls, case.target)
    for outcome in docket.ran:
        if outcome.found is not None and len(outcome.found.candidates) > 1:
            return gallery.agreed(outcome.found, case.target)
    return gallery.Gallery()


def _stopped_by(docket: Docket) -> StopReason:
    if docket.interrupted:
        return StopReason.INTERRUPTED
    reasons = {o.found.stopped_by for o in docket.ran if o.found is not None}
    return StopReason.SECONDS if StopReason.SECONDS in reasons else StopReason.STEPS
