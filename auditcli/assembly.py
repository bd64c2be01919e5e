"""Puts a report together from what an audit measured: frozen values in, pydantic out. Public name: `assemble`."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.stats import rankdata

from auditcli.report import schema
from auditcli.scoring import ssim
from auditcli.scoring.calibration import FALSE_DISCOVERY_RATE, controls_needed
from auditcli.scoring.verdict import headline
from auditcli.scoring.weighing import NEGATIVE_ALPHA

if TYPE_CHECKING:
    from datetime import datetime

    from auditcli.effort import ProfileName
    from auditcli.gallery import Gallery
    from auditcli.outcomes import AttackOutcome, SignalOutcome
    from auditcli.scoring.findings import Findings
    from auditcli.types import (
        Comparability,
        Interval,
        Plan,
        Sample,
        SignalFinding,
        Similarity,
        StopReason,
        Test,
        Verdict,
    )

RECOGNISABLE = 0.5
"""SSIM from which a reconstruction is counted as recognisable; descriptive, no verdict rests on it."""
_PACKAGES = ("numpy", "scipy", "safetensors", "onnx", "onnx2fx", "onnx2torch", "transformers")


@dataclass(frozen=True, slots=True)
class Session:
    """When, where and how the audit ran."""

    started: datetime
    finished: datetime
    seconds: float
    seconds_used: float
    device: str
    profile: ProfileName
    seed: int
    command: str
    stopped_by: StopReason
    interrupted: bool


def assemble(
    *,
    model: schema.Model,
    verdict: Verdict,
    findings: Findings,
    prospect: Plan,
    comparability: Comparability | None,
    attacks: Sequence[AttackOutcome],
    signals: Sequence[SignalOutcome],
    members: Sample | None,
    controls: Sample | None,
    best: tuple[tuple[float, ...], tuple[float, ...]],
    gallery: Gallery,
    session: Session,
) -> schema.Report:
    """The report of an audit, with all that is known in it: `report.redaction` takes out what it must not spread.

    Args:
        model: From `inspection.describe`.
        verdict: From `judge`.
        findings: What the verdict rests on.
        prospect: What this many members and controls can establish at best.
        comparability: Whether members and controls are of one kind; None where one of them is missing.
        attacks: All attacks, those that were skipped too.
        signals: All signals.
        members: Images the auditor gave, or None.
        controls: The same.
        best: Best SSIM of each member and of each control, pooled over attacks.
        gallery: Items and pictures.
        session: When, where and how.
    """
    evidence = findings.evidence
    report = schema.Report(
        verdict=schema.Verdict(
            level=verdict.level.value,
            headline=headline(verdict, _spent(session)),
            reasons=tuple(
                schema.Reason(text=reason.text, level=reason.level.value, id=reason.id) for reason in verdict.reasons
            ),
            next_steps=verdict.next_steps,
            mitigations=verdict.mitigations,
        ),
        model=model,
        budget=schema.Budget(
            seconds=session.seconds,
            seconds_used=round(session.seconds_used, 2),
            stopped_by=session.stopped_by.value,
            device=session.device,
            profile=session.profile,
            seed=session.seed,
        ),
        attacks=tuple(_attack(outcome, controls) for outcome in attacks),
        members=tuple(schema.Member(**asdict(finding)) for finding in findings.members),
        membership=tuple(_signal(outcome, controls) for outcome in signals),
        evidence=None if evidence is None else schema.Evidence(**{**asdict(evidence), "test": _test(evidence.test)}),
        plan=schema.Plan(**asdict(prospect)),
        comparability=None if comparability is None else schema.Comparability(**asdict(comparability)),
        controls=schema.Controls(
            n_members=findings.n_members,
            n_controls=findings.n_controls,
            controls_to_flag_one=controls_needed(findings.n_members) if findings.n_members else None,
            alpha=findings.alpha,
            false_discovery_rate=FALSE_DISCOVERY_RATE,
            negative_alpha=NEGATIVE_ALPHA,
            reconstruction_test=_test(findings.reconstruction),
            negative=_test(findings.negative),
            members_ssim=best[0],
            controls_ssim=best[1],
            positive=tuple(schema.PositiveControl(**asdict(control)) for control in findings.positive),
        ),
        gallery=gallery.items,
        redaction=schema.Redaction(names="shown", reconstructions="sharp", images=True),
        interrupted=session.interrupted,
        manifest=_manifest(model, members, controls, session),
    )
    return report.with_pictures(gallery.pictures)


def _spent(session: Session) -> str:
    device = "a CPU" if session.device.startswith("cpu") else session.device
    seconds = session.seconds_used
    time = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
    return f"{time} on {device} (profile {session.profile})"


def _attack(outcome: AttackOutcome, controls: Sample | None) -> schema.Attack:
    attack, found = outcome.attack, outcome.found
    return schema.Attack(
        name=attack.name,
        summary=attack.summary,
        paper=attack.paper,
        status=outcome.status,
        reason=outcome.reason,
        negative_control=attack.negative_control,
        settings=dict(attack.settings),
        seconds=round(found.seconds, 2) if found else 0.0,
        steps=found.steps if found else 0,
        restarts=found.candidates.shape[0] if found else 0,
        candidates=found.candidates.shape[1] if found else 0,
        stopped_by=found.stopped_by.value if found else "",
        objective=found.objective if found else (),
        figures=dict(found.figures) if found else {},
        trace=tuple(schema.TracePoint(step=step, objective=value) for step, value in found.trace) if found else (),
        ssim=None if outcome.members is None else _ssim(outcome.members, outcome.controls),
    )


def _ssim(members: Similarity, controls: Similarity | None) -> schema.Ssim:
    best = np.array(members.best)
    return schema.Ssim(
        definition=schema.SsimDefinition(
            window="uniform-7",
            data_range=ssim.DATA_RANGE,
            k1=ssim.K1,
            k2=ssim.K2,
            channels="mean",
            implementation=f"privaudit {_version('privaudit')}, equal to scikit-image",
        ),
        top=tuple(sorted(members.best, reverse=True)[:10]),
        mean=float(best.mean()),
        p95=float(np.quantile(best, 0.95)),
        members_over_half=int((best >= RECOGNISABLE).sum()),
        members_over_half_matched=int((np.array(members.matched) >= RECOGNISABLE).sum()),
        controls_over_half=None if controls is None else int((np.array(controls.best) >= RECOGNISABLE).sum()),
        n_members=len(members.best),
        n_controls=0 if controls is None else len(controls.best),
    )


def _signal(outcome: SignalOutcome, controls: Sample | None) -> schema.Membership:
    signal, finding = outcome.signal, outcome.finding
    return schema.Membership(
        signal=signal.name,
        summary=signal.summary,
        paper=signal.paper,
        status=outcome.status,
        reason=outcome.reason,
        auc=_interval(finding.auc) if finding else None,
        tpr_at_fpr=_rates(finding) if finding else None,
        test=_test(finding.test) if finding else None,
        n_members=finding.n_members if finding else 0,
        n_controls=finding.n_controls if finding else 0,
        roc=tuple(schema.RocPoint(fpr=fpr, tpr=tpr) for fpr, tpr in finding.roc) if finding else (),
        exposed=tuple(schema.Exposure(**asdict(exposure)) for exposure in finding.exposed) if finding else (),
        named=finding.named if finding else 0,
        scores=_scores(outcome, controls) if finding and controls else None,
    )


def _scores(outcome: SignalOutcome, controls: Sample) -> schema.Scores:
    ranks = tuple(rankdata([*outcome.members, *outcome.controls]).tolist())
    places = {id: place for place, id in enumerate(controls.ids)}
    return schema.Scores(
        members=ranks[: len(outcome.members)],
        controls=ranks[len(outcome.members) :],
        places=None if outcome.compared == controls.ids else tuple(places[id] for id in outcome.compared),
    )


def _rates(finding: SignalFinding) -> schema.TprAtFpr:
    rates = {f"{100 * rate:g}%": None if found is None else _interval(found) for rate, found in finding.tpr_at_fpr}
    return schema.TprAtFpr.model_validate(rates)


def _interval(interval: Interval) -> schema.Interval:
    return schema.Interval(**asdict(interval))


def _test(test: Test | None) -> schema.Test | None:
    return None if test is None else schema.Test(**asdict(test))


def _manifest(
    model: schema.Model, members: Sample | None, controls: Sample | None, session: Session
) -> schema.Manifest:
    files = [schema.FileHash(role="model", name=model.path, sha256=model.sha256)]
    given: tuple[tuple[Any, Sample | None], ...] = (("members", members), ("controls", controls))
    files += [schema.FileHash(role=role, name=role, sha256=sample.sha256) for role, sample in given if sample]
    return schema.Manifest(
        privaudit=_version("privaudit"),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        platform=f"{platform.system()} {platform.machine()}",
        packages={name: _version(name) for name in _PACKAGES if _version(name)},
        files=tuple(files),
        command=session.command,
        started=session.started,
        finished=session.finished,
    )


def _version(package: str) -> str:
    from auditcli import __version__

    if package == "privaudit":
        return __version__
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
