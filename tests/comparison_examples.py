"""Pairs of reports for the tests of the comparison: one audit before, and what it could look like after."""

from datetime import timedelta
from hashlib import sha256
from random import Random

from report_examples import CONTROLS, MEMBERS, example, undrawn

from auditcli.report import Report
from auditcli.report import schema as s

SIGNALS = ("loss", "gradient_norm")


def before(**changes: object) -> Report:
    """14 of 60 members recovered, and signals that tell members from controls."""
    return changed(scored(example("critical", pictures=False)), **changes)


def after(*, recovered: int = 14, shift: float = 1.0, noise: float = 0.0, **changes: object) -> Report:
    """An audit of another model on the same images.

    Args:
        recovered: Members that still come back.
        shift: By how much members score above controls.
        noise: Standard deviation of what the signals give differently.
        changes: Fields of the report, or of a part of it as `part__field`.
    """
    report = scored(example("critical", pictures=False), shift=shift, noise=noise)
    kept = [member.id for member in report.members if member.leaked][:recovered]
    members = tuple(
        member if member.id in kept or not member.leaked else _lost(member, report) for member in report.members
    )
    report = changed(
        report,
        members=members,
        controls__members_ssim=tuple(member.best_ssim for member in members),
        model__sha256=sha256(b"other weights").hexdigest(),
        manifest__started=report.manifest.started + timedelta(days=1),
        manifest__finished=report.manifest.finished + timedelta(days=1),
    )
    return changed(report, **changes)


def changed(report: Report, **changes: object) -> Report:
    """The report with other fields: `seed=1` of itself, `budget__seed=1` of its budget; checked as a whole."""
    for name, value in changes.items():
        part, _, field = name.partition("__")
        if field:
            value = getattr(report, part).model_copy(update={field: value})
        report = report.model_copy(update={part: value})
    return Report.model_validate(report.model_dump())


def scored(report: Report, *, shift: float = 1.0, noise: float = 0.0) -> Report:
    """The report with a score of every image under each of its signals; equal images get equal scores but for noise."""
    return undrawn_but_similar(
        report.model_copy(
            update={"membership": tuple(_with_scores(signal, shift, noise) for signal in report.membership)}
        )
    )


def undrawn_but_similar(report: Report) -> Report:
    """Without what only plots need."""
    return undrawn(report).model_copy(update={"controls": report.controls})


def _with_scores(signal: s.Membership, shift: float, noise: float) -> s.Membership:
    if signal.status != "scored":
        return signal
    image, own = Random(signal.signal), Random(f"{signal.signal} {shift} {noise}")
    members = tuple(round(shift + image.gauss(0, 1) + own.gauss(0, noise), 5) for _ in range(MEMBERS))
    controls = tuple(round(image.gauss(0, 1) + own.gauss(0, noise), 5) for _ in range(CONTROLS))
    return signal.model_copy(update={"scores": s.Scores(members=members, controls=controls)})


def _lost(member: s.Member, report: Report) -> s.Member:
    ssim = min(report.controls.controls_ssim) + 0.1
    return member.model_copy(update={"best_ssim": round(ssim, 4), "p_value": 0.6, "q_value": 0.8, "leaked": False})
