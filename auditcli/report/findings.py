"""What a report found, doubted and left out, one by one and each under its stable id.

Public names: `Finding`, `findings`. Checklists, SARIF, JUnit and the gate are made of these; all text is plain.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from auditcli.report import number, summary
from auditcli.report.schema import LevelName, Report
from auditcli.rules import RULES, Id, Rule

_UNTRIED: Final = {
    ("attack", "skipped"): Id.ATTACK_NOT_RUN,
    ("attack", "failed"): Id.ATTACK_FAILED,
    ("signal", "skipped"): Id.SIGNAL_NOT_RUN,
    ("signal", "failed"): Id.SIGNAL_FAILED,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of one report."""

    id: str
    """A key of `rules.RULES`."""
    text: str
    """What was found, in a sentence."""
    level: LevelName
    """What it would give alone: a level for a leak, `inconclusive` for a doubt, `none-detected` for a gap."""
    subject: str = ""
    """The attack, signal or assumption it is about; empty where it is about the model."""
    waived: str = ""
    """Why a policy lets it pass, and until when; empty where none does."""

    @property
    def rule(self) -> Rule:
        """What the id stands for."""
        return RULES[self.id]

    @property
    def fingerprint(self) -> str:
        """The same for the same finding about the same subject in any report, whatever the figures say."""
        return sha256(f"{self.id}\0{self.subject}".encode()).hexdigest()


def findings(report: Report) -> tuple[Finding, ...]:
    """Every finding of a report: those behind the verdict in its order, then the gaps.

    A level rests on the first kind alone: a gap says what is not known.
    """
    return (*_reasons(report), *_gaps(report))


def _reasons(report: Report) -> Iterator[Finding]:
    for reason in report.verdict.reasons:
        if reason.id in RULES:
            yield Finding(reason.id, reason.text, reason.level)


def _gaps(report: Report) -> Iterator[Finding]:
    for one in summary.outcomes(report):
        if (one.kind, one.status) in _UNTRIED:
            text = f"The {one.kind} {one.name} {_was(one.status)}: {one.reason}."
            yield _gap(_UNTRIED[one.kind, one.status], text, one.name)
    for assumption in report.model.assumptions:
        text = f"Assumed: {assumption.what} = {assumption.value}, for {assumption.why}. Otherwise {assumption.flag}."
        yield _gap(Id.ASSUMED, text, assumption.what)
    controls = report.controls
    needed = controls.controls_to_flag_one
    if needed is not None and 0 < controls.n_controls < needed:
        text = f"With {controls.n_controls:,} controls for {controls.n_members:,} members no single image"
        yield _gap(Id.NO_SINGLE_FLAG, f"{text} can be flagged; that takes {needed:,} controls.")
    if report.budget.stopped_by == "seconds":
        yield _gap(Id.CUT_SHORT, f"The audit ended at its budget of {number.duration(report.budget.seconds)}.")


def _was(status: str) -> str:
    return "failed" if status == "failed" else f"was {status}"


def _gap(id: Id, text: str, subject: str = "") -> Finding:
    return Finding(id.value, text, "none-detected", subject)
