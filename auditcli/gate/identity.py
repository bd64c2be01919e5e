"""Whether a report can have been written by one audit. Public name: `contradictions`."""

from __future__ import annotations

from collections.abc import Iterator

from auditcli.report import number
from auditcli.report.schema import Report
from auditcli.report.wording import SCALE
from auditcli.rules import Id


def contradictions(report: Report) -> Iterator[str]:
    """What an audit never writes: parts of a report that do not agree, each as half a sentence.

    This finds slips and single edits. Whoever changes a report with care leaves none: only a signature shows that.
    """
    yield from _of_hashes(report)
    yield from _of_level(report)
    yield from _of_numbers(report)


def _of_hashes(report: Report) -> Iterator[str]:
    for file in report.manifest.files:
        if file.role == "model" and file.sha256 != report.model.sha256:
            yield "the manifest and the model have two hashes of the model"


def _of_level(report: Report) -> Iterator[str]:
    level, leaked = report.verdict.level, any(member.leaked for member in report.members)
    worst = max((SCALE.index(r.level) for r in report.verdict.reasons if r.level in SCALE), default=0)
    if level in SCALE and SCALE.index(level) != worst:
        yield f"the level is {level} and the worst of its reasons gives {SCALE[worst]}"
    if level == "inconclusive" and worst:
        yield f"the level is inconclusive and a reason gives {SCALE[worst]}"
    if level == "none-detected" and (leaked or report.interrupted):
        yield f"nothing was detected and {'a member leaked' if leaked else 'the audit was interrupted'}"
    if any(reason.id == Id.RECOVERED for reason in report.verdict.reasons) and not leaked:
        yield "training images were recovered and no member leaked"


def _of_numbers(report: Report) -> Iterator[str]:
    controls = report.controls
    for counted, given in (
        (len(report.members), controls.n_members),
        (len(controls.members_ssim), controls.n_members),
        (len(controls.controls_ssim), controls.n_controls),
    ):
        if counted not in {0, given}:
            yield f"{given} images were given and {counted} counted"
    if number.utc(report.manifest.finished) < number.utc(report.manifest.started):
        yield "the audit ended before it began"
