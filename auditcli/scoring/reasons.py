"""The sentences behind a verdict, with the level each would give alone.

Public names: `finding_reasons`, `doubt_reasons`, `absence_reasons`, `signal_level`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from auditcli.rules import Id
from auditcli.scoring.calibration import FALSE_DISCOVERY_RATE
from auditcli.scoring.findings import Findings
from auditcli.scoring.weighing import Weighed, differs, swapped
from auditcli.types import Evidence, Interval, Level, PositiveControl, Reason, SignalFinding, Test

HIGH_TPR = 0.10
"""Lower bound of the true-positive rate at `HIGH_FPR` from which membership is a high leak."""
HIGH_FPR = 0.01
MODERATE_AUC = 0.60
"""Lower bound of the AUC from which membership is a moderate leak."""
_OF_SIGNALS = {Level.HIGH: Id.NAMED, Level.MODERATE: Id.INFERRED, Level.LOW: Id.TRACED}
"""The finding of a significant signal by its level, the worst first."""


def finding_reasons(findings: Findings, weighed: Weighed) -> Iterator[Reason]:
    """One sentence for each finding that holds."""
    if weighed.reconstruction and findings.reconstruction is not None:
        yield _recovered(findings) if findings.leaked else _resembling(findings, findings.reconstruction)
    ranked = sorted(weighed.signals, key=_rank)
    for best in ranked[:1]:
        yield _membership(_signal(best), best)
    if others := ranked[1:]:
        text = f"{_named(others)} {'does' if len(others) == 1 else 'do'} so too: {_aucs(others)}."
        yield _membership(text, others[0])
    if weighed.evidence and findings.evidence is not None:
        yield Reason(_evidence(findings.evidence), Level.HIGH, Id.KEPT)


def doubt_reasons(findings: Findings, weighed: Weighed) -> Iterator[Reason]:
    """One sentence for each thing that speaks against concluding that nothing leaks; not each of them forbids it."""
    for id, text in _doubts(findings, weighed):
        yield Reason(text, Level.INCONCLUSIVE, id)


def absence_reasons(findings: Findings, weighed: Weighed) -> Iterator[Reason]:
    """One sentence for each question that was asked and answered with no."""
    for text in _absences(findings, weighed):
        yield Reason(text, Level.NONE_DETECTED)


def _rank(signal: SignalFinding) -> tuple[int, float]:
    """The signal that gives the worst level first, and of those alike the one of largest area."""
    return list(_OF_SIGNALS).index(signal_level(signal)), -signal.auc.value


def signal_level(signal: SignalFinding) -> Level:
    """The level that a significant membership signal gives."""
    at_rate = _tpr(signal)
    if at_rate is not None and at_rate.low >= HIGH_TPR:
        return Level.HIGH
    return Level.MODERATE if signal.auc.low >= MODERATE_AUC else Level.LOW


def _membership(text: str, signal: SignalFinding) -> Reason:
    level = signal_level(signal)
    return Reason(text, level, _OF_SIGNALS[level])


def _recovered(findings: Findings) -> Reason:
    leaked = findings.leaked
    control = "" if findings.best_control is None else _best_control(findings)
    text = (
        f"{len(leaked)} of {_count(findings.n_members, 'training image')} {_was(len(leaked))} individually recovered "
        f"(q <= {FALSE_DISCOVERY_RATE}); the best matches at SSIM {leaked[0].best_ssim:.2f}{control}."
    )
    return Reason(text, Level.CRITICAL, Id.RECOVERED)


def _named(signals: Sequence[SignalFinding]) -> str:
    names = _listed([signal.signal for signal in signals])
    return f"The signal{'s' if len(signals) > 1 else ''} {names}"


def _aucs(signals: Sequence[SignalFinding]) -> str:
    areas = sorted(signal.auc.value for signal in signals)
    low, high = f"{areas[0]:.2f}", f"{areas[-1]:.2f}"
    return f"AUC {high}" if low == high else f"AUC {low} to {high}"


def _best_control(findings: Findings) -> str:
    return f", while the best of {_count(findings.n_controls, 'control')} reaches {findings.best_control:.2f}"


def _resembling(findings: Findings, test: Test) -> Reason:
    text = (
        f"What was reconstructed resembles the training images more than the controls ({_p(test)}; "
        f"{_sizes(findings)}), though no single image can be named at this number of controls."
    )
    return Reason(text, Level.HIGH, Id.RESEMBLING)


def _signal(signal: SignalFinding) -> str:
    at_rate = _tpr(signal)
    found = (
        ""
        if at_rate is None
        else f"; at 1% false alarms it finds {at_rate.value:.0%} of the members (95% interval {_percent(at_rate)})"
    )
    return (
        f"The signal {signal.signal} tells training images from controls ({_p(signal.test)}): AUC "
        f"{signal.auc.value:.2f} (95% interval {signal.auc.low:.2f} to {signal.auc.high:.2f}){found}."
    )


def _evidence(evidence: Evidence) -> str:
    shuffled = (
        f", against at most {max(evidence.shuffled_reproduced)} with the weights shuffled"
        if evidence.shuffled_reproduced
        else ""
    )
    return (
        f"From the weights alone, independent restarts of {evidence.attack} arrive at the same "
        f"{_count(evidence.reproduced, 'image')}{shuffled}."
    )


def _doubts(findings: Findings, weighed: Weighed) -> Iterator[tuple[Id, str]]:
    yield from _differences(findings)
    if swapped(findings):
        yield (
            Id.SWAPPED,
            f"The model is right on {findings.accuracy_controls:.0%} of the controls and on only "
            f"{findings.accuracy_members:.0%} of the training images, as if the two had been swapped.",
        )
    if findings.interrupted:
        yield Id.INTERRUPTED, "The audit was interrupted, so that what it had not yet tried is unknown."
    if findings.applicable == 0:
        yield Id.NOTHING_APPLIES, "No attack and no membership signal applies to this model with what was given."
    elif not (weighed.answered or weighed.found) and weighed.comparable:
        yield Id.NO_POWER, "Nothing that ran could have told a leaking model from one that does not leak."
    if weighed.evidence and findings.reconstruction is not None and weighed.comparable and not weighed.reconstruction:
        yield (
            Id.FOREIGN_MEMBERS,
            "The weights alone show a small training set, and the members given resemble it no more than the controls "
            "do: check that the members were trained on and the controls were not.",
        )
    if findings.flawless and not (weighed.reconstruction or weighed.signals):
        yield (
            Id.FLAWLESS_ON_CONTROLS,
            f"The model makes no mistake on the {_count(findings.n_controls, 'control')}: were they trained on? If so, "
            "nothing tells the members from them, however much leaks.",
        )
    if findings.evidence is not None and findings.evidence.unclear and findings.reconstruction is None:
        yield (
            Id.EXPLAINED_BY_FEW,
            f"A few images explain {findings.evidence.explained:.0%} of the first layer, as where a model kept few "
            "training images or was trained with strong weight decay; restarts agree on "
            f"{findings.evidence.reproduced} of them, too few to tell which.",
        )
    if not weighed.resolvable:
        yield Id.TOO_FEW_IMAGES, f"With {_sizes(findings)}, not even perfect separation would be significant."
    if findings.members and findings.n_controls == 0:
        best = max(member.best_ssim for member in findings.members)
        yield (
            Id.UNCALIBRATED,
            f"The nearest training image is matched at SSIM {best:.2f}, but without controls nothing says "
            "how near chance comes, so this adds nothing to the level.",
        )
    if findings.leaked and weighed.comparable and not weighed.reconstruction:
        yield (
            Id.SINGLES_ONLY,
            f"{len(findings.leaked)} of {_count(findings.n_members, 'training image')} {_stands(len(findings.leaked))} "
            "out among the controls, but the training images as a whole do not, which chance alone can bring about.",
        )
    yield from _positive_doubts(weighed)


def _differences(findings: Findings) -> Iterator[tuple[Id, str]]:
    """What tells members from controls without any leak."""
    so = "so the two differ in kind and no comparison between them counts"
    if findings.negative is not None and differs(findings.negative):
        yield (
            Id.MATCHED_BLINDLY,
            "Images that were guessed without the model already match the training images better than the controls "
            f"({_p(findings.negative)}), {so}.",
        )
    if findings.blind is not None and differs(findings.blind):
        by = f" by {_listed(findings.tells)}" if findings.tells else ""
        yield (
            Id.TOLD_APART_BLINDLY,
            f"A classifier that never saw the model tells the training images from the controls{by} "
            f"({_p(findings.blind)}), {so}.",
        )


def _positive_doubts(weighed: Weighed) -> Iterator[tuple[Id, str]]:
    for control in weighed.positive_failed:
        yield (
            Id.POSITIVE_FAILED,
            f"The positive control failed: {_control(control)}, so what was not found here may still be there.",
        )
    for kind in () if weighed.found else weighed.unchecked:
        yield Id.POSITIVE_MISSING, f"No positive control shows that the {kind} part finds a leak where there is one."


def _absences(findings: Findings, weighed: Weighed) -> Iterator[str]:
    if findings.reconstruction is not None:
        yield (
            "What was reconstructed does not resemble the training images more than the controls "
            f"({_p(findings.reconstruction)}; {_sizes(findings)})."
        )
    nearest = sorted(findings.signals, key=lambda signal: signal.test.p_value)
    for best in nearest[:1]:
        yield (
            f"The signal {best.signal} does not tell training images from controls ({_p(best.test)}): AUC "
            f"{best.auc.value:.2f} (95% interval {best.auc.low:.2f} to {best.auc.high:.2f})."
        )
    if others := nearest[1:]:
        yield f"Nor {'does' if len(others) == 1 else 'do'} {_named(others).lower()}: {_aucs(others)}."
    if findings.evidence is not None:
        yield (
            "From the weights alone there is no sign of single images: those found by "
            f"{findings.evidence.attack} explain {findings.evidence.explained:.0%} of the first layer, "
            f"and restarts agree on {findings.evidence.reproduced}."
        )
    for control in weighed.positive_passed:
        yield f"The positive control passed: {_control(control)}."


def _tpr(signal: SignalFinding) -> Interval | None:
    rates = (interval for rate, interval in signal.tpr_at_fpr if abs(rate - HIGH_FPR) < HIGH_FPR / 1000)
    return next(rates, None)


def _control(control: PositiveControl) -> str:
    model = control.fixture if control.matched else f"{control.fixture}, a model known to leak"
    return f"{control.method} found {control.recovered} of {control.of} on {model}"


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + f" and {words[-1]}" if len(words) > 1 else "".join(words)


def _sizes(findings: Findings) -> str:
    return f"{_count(findings.n_members, 'member')}, {_count(findings.n_controls, 'control')}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _stands(number: int) -> str:
    return "stands" if number == 1 else "stand"


def _percent(interval: Interval) -> str:
    return f"{interval.low:.0%} to {interval.high:.0%}"


def _p(test: Test) -> str:
    return "p < 0.0001" if test.p_value < 0.0001 else f"p = {test.p_value:.2g}"
