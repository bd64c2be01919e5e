"""Which findings hold once all tests are counted together, and whether finding nothing would mean anything.

Public names: `weigh`, `Weighed`.
"""

from __future__ import annotations

from dataclasses import dataclass

from auditcli.scoring.findings import Findings
from auditcli.scoring.significance import holm, least_p_value
from auditcli.types import PositiveControl, SignalFinding

NEGATIVE_ALPHA = 0.001
"""The negative control fails below this: stricter than the tests, as it silences all that rests on controls."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What stands of the findings."""

    comparable: bool
    """Members and controls are of one kind, as far as the negative control can tell."""
    reconstruction: bool
    """The reconstruction test is significant in its family."""
    signals: tuple[SignalFinding, ...]
    """The significant ones."""
    evidence: bool
    """The model-only evidence is significant; it needs no controls, and so survives a failed negative control."""
    answered: bool
    """Some question was asked with enough data to be answered either way."""
    resolvable: bool
    """No test was run with so few images that it could never have been significant."""
    positive_failed: tuple[PositiveControl, ...]
    positive_passed: tuple[PositiveControl, ...]
    unchecked: tuple[str, ...]
    """Kinds that ran and have no positive control."""

    @property
    def found(self) -> bool:
        """Something leaks."""
        return self.reconstruction or bool(self.signals) or self.evidence


def weigh(findings: Findings) -> Weighed:
    """Corrects for multiple tests (Holm) and sorts out what does not count.

    Args:
        findings: Of one audit.

    Returns:
        What may be claimed.
    """
    comparable = findings.negative is None or findings.negative.p_value >= NEGATIVE_ALPHA
    reconstruction, signals = _significant(findings) if comparable else (False, ())
    resolvable = _resolvable(findings)
    evidence = findings.evidence
    shuffled = evidence is not None and evidence.test is not None
    kinds = _kinds(findings)
    relevant = tuple(p for p in findings.positive if p.kind in kinds)
    return Weighed(
        comparable=comparable,
        reconstruction=reconstruction,
        signals=signals,
        evidence=evidence is not None and evidence.significant,
        answered=shuffled or (comparable and any(resolvable)),
        resolvable=all(resolvable),
        positive_failed=tuple(p for p in relevant if not p.passed),
        positive_passed=tuple(p for p in relevant if p.passed),
        unchecked=tuple(kind for kind in kinds if kind not in {p.kind for p in relevant}),
    )


def _significant(findings: Findings) -> tuple[bool, tuple[SignalFinding, ...]]:
    own = [] if findings.reconstruction is None else [findings.reconstruction]
    tests = own + [signal.test for signal in findings.signals]
    rejected = holm([test.p_value for test in tests], findings.alpha)
    signals = zip(findings.signals, rejected[len(own) :], strict=True)
    return any(rejected[: len(own)]), tuple(signal for signal, significant in signals if significant)


def _resolvable(findings: Findings) -> tuple[bool, ...]:
    """One a test of the family: whether its samples are large enough for it to be significant at all."""
    least = [least_p_value(signal.n_members, signal.n_controls) for signal in findings.signals]
    if findings.reconstruction is not None:
        # `recovery` doubles the smaller of two p-values.
        least.append(2 * least_p_value(findings.n_members, findings.n_controls))
    return tuple(p <= findings.alpha / len(least) for p in least)


def _kinds(findings: Findings) -> tuple[str, ...]:
    kinds = []
    if findings.reconstruction is not None or findings.evidence is not None:
        kinds.append("reconstruction")
    if findings.signals:
        kinds.append("membership")
    return tuple(kinds)
