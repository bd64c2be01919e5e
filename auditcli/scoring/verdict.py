"""The verdict: one level, the sentences behind it, and what to do.

Public names: `judge`, `headline`.
"""

from __future__ import annotations

from auditcli.scoring.findings import Findings
from auditcli.scoring.mitigations import Kind, mitigations
from auditcli.scoring.next_steps import next_steps
from auditcli.scoring.reasons import absence_reasons, doubt_reasons, finding_reasons
from auditcli.scoring.weighing import Weighed, swapped, weigh
from auditcli.types import Level, Verdict

_SEVERITY = (Level.LOW, Level.MODERATE, Level.HIGH, Level.CRITICAL)
_HEADLINES = {
    Level.CRITICAL: "Training images were individually recovered from this model within {budget}.",
    Level.HIGH: "Training data leaks from this model to a high degree, as established within {budget}.",
    Level.MODERATE: "Which images this model was trained on can be inferred to a moderate degree, within {budget}.",
    Level.LOW: "A weak but significant trace of the training data was found in this model within {budget}.",
    Level.NONE_DETECTED: "No leak of training data was detected within {budget}; more effort may find one.",
    Level.INCONCLUSIVE: "Whether this model leaks training data could not be established within {budget}.",
}


def judge(findings: Findings) -> Verdict:
    """Weighs everything an audit measured.

    A finding outranks a failed positive control, for a leak that was found is a leak. A failed negative control, or a
    classifier that tells members from controls without the model, outranks every finding that rests on controls. If
    nothing leaks, a level from `low` to `critical` is given with probability at most `findings.alpha`, plus the
    false-alarm rate of the model-only evidence: single members raise the level only behind the significant
    reconstruction test.

    Args:
        findings: Of one audit.

    Returns:
        The level; the sentences that carry it first, then those that limit it.
    """
    weighed = weigh(findings)
    found = sorted(finding_reasons(findings, weighed), key=lambda r: -_SEVERITY.index(r.level))
    doubts = list(doubt_reasons(findings, weighed))
    if found:
        level, reasons = found[0].level, [*found, *doubts]
    elif _conclusive(findings, weighed):
        level, reasons = Level.NONE_DETECTED, [*absence_reasons(findings, weighed), *doubts]
    else:
        level, reasons = Level.INCONCLUSIVE, doubts
    return Verdict(level, tuple(reasons), next_steps(findings, weighed), mitigations(_kinds(weighed), findings.traits))


def headline(verdict: Verdict, budget: str) -> str:
    """The verdict in one sentence.

    Args:
        verdict: From `judge`.
        budget: What was spent, to stand behind "within", e.g. `10 minutes on a CPU`.

    Returns:
        A sentence with the budget in it.
    """
    return _HEADLINES[verdict.level].format(budget=budget)


def _conclusive(findings: Findings, weighed: Weighed) -> bool:
    """Whether finding nothing says something: it was looked for, to the end, by a procedure that does find leaks."""
    return (
        weighed.answered
        and weighed.comparable
        and not swapped(findings)
        and not findings.interrupted
        and not _open(findings)
        and not findings.leaked
        and bool(weighed.positive_passed)
        and not weighed.positive_failed
    )


def _open(findings: Findings) -> bool:
    """Whether the weights alone leave a question that no comparison of images answers."""
    return findings.evidence is not None and findings.evidence.unclear and findings.reconstruction is None


def _kinds(weighed: Weighed) -> list[Kind]:
    kinds = [Kind.RECONSTRUCTION] if weighed.reconstruction or weighed.evidence else []
    return [*kinds, Kind.MEMBERSHIP] if weighed.signals else kinds
