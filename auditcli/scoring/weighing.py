"""Which findings hold once all tests are counted together, and whether finding nothing would mean anything.

Public names: `weigh`, `Weighed`, `differs`, `swapped`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import hypergeom

from auditcli.scoring.findings import Findings
from auditcli.scoring.significance import holm, least_p_value
from auditcli.types import PositiveControl, SignalFinding, Test

NEGATIVE_ALPHA = 0.001
"""The negative control and the blind classifier fail below this: stricter than the tests, as either silences all that
rests on controls."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What stands of the findings."""

    comparable: bool
    """Members and controls are of one kind, as far as the negative control and the blind classifier can tell."""
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
    """One for each kind and model on which no method of the kind found the leak."""
    positive_passed: tuple[PositiveControl, ...]
    """The best method for each kind and model on which some did."""
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
    comparable = not (differs(findings.negative) or differs(findings.blind))
    reconstruction, signals = _significant(findings) if comparable else (False, ())
    resolvable = _resolvable(findings)
    evidence = findings.evidence
    shuffled = evidence is not None and evidence.test is not None
    kinds = _kinds(findings)
    best = tuple(_best(findings.positive, kind, matched) for kind in kinds for matched in (False, True))
    relevant = tuple(control for control in best if control is not None)
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


def differs(test: Test | None) -> bool:
    """Whether a test that needs no leak finds a difference: then members and controls are of different kinds."""
    return test is not None and test.p_value < NEGATIVE_ALPHA


def swapped(findings: Findings) -> bool:
    """Whether the model is right on controls more often than on members, by more than chance.

    Training on the members can only turn this the other way. Fisher's exact test, one-sided, at `NEGATIVE_ALPHA`.
    """
    members, controls = findings.accuracy_members, findings.accuracy_controls
    if members is None or controls is None:
        return False
    m, k = findings.n_members, findings.n_controls
    near, far = round(members * m), round(controls * k)
    return bool(hypergeom.cdf(near, m + k, near + far, m) < NEGATIVE_ALPHA)


def _best(controls: Sequence[PositiveControl], kind: str, matched: bool) -> PositiveControl | None:
    """The most telling control of a kind on one model.

    The procedure is all methods of a kind together: it finds a leak where one of them does.
    """
    alike = [control for control in controls if control.kind == kind and control.matched == matched]
    return max(alike, key=lambda control: (control.passed, control.recovered / max(control.of, 1)), default=None)


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
