"""What a report amounts to, in sentences and figures that every format shows alike.

Public names: `main_figures`, `limits`, `positive_sentences`, `negative_sentence`, `budget_sentence`, `ssim_definition`,
`leaked`, `found`, `ranked`, `best_signal`, `exposed`, `outcomes`, `positive_groups`, `comparability_sentences`,
`redaction_sentences`.
All text returned is plain: the renderers escape it.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from auditcli.report import number
from auditcli.report.schema import (
    Comparability,
    Controls,
    Member,
    Membership,
    PositiveControl,
    Report,
    SsimDefinition,
)
from auditcli.report.wording import ENDS

_NAMED = 5
"""Images left out that are named."""


class Figure(NamedTuple):
    """One line of the table of main figures."""

    name: str
    value: str


class Outcome(NamedTuple):
    """What became of one attack or signal."""

    kind: Literal["attack", "signal"]
    name: str
    status: str
    """`scored`, `unscored`, `skipped` or `failed`."""
    reason: str
    """Why it has no score; empty where it has one."""


def outcomes(report: Report) -> tuple[Outcome, ...]:
    """What became of every attack, and then of every signal."""
    return (
        *(Outcome("attack", attack.name, attack.status, attack.reason) for attack in report.attacks),
        *(Outcome("signal", signal.signal, signal.status, signal.reason) for signal in report.membership),
    )


def leaked(report: Report) -> tuple[Member, ...]:
    """The members that came back."""
    return tuple(member for member in report.members if member.leaked)


def found(report: Report) -> bool:
    """Whether the verdict names a leak, so that no positive control is needed to back an absence."""
    return report.verdict.level not in {"none-detected", "inconclusive"}


def ranked(report: Report) -> tuple[Member, ...]:
    """The members, those that came back first, then by similarity."""
    return tuple(sorted(report.members, key=lambda member: (not member.leaked, -member.best_ssim, member.id)))


def best_signal(report: Report) -> Membership | None:
    """The scored membership signal with the highest AUC."""
    scored = [signal for signal in report.membership if signal.auc is not None]
    return max(scored, key=lambda signal: signal.auc.value if signal.auc else 0.0, default=None)


def exposed(report: Report) -> tuple[Membership, ...]:
    """The signals that single members out, the one that names most first."""
    naming = [signal for signal in report.membership if signal.named]
    return tuple(sorted(naming, key=lambda signal: -signal.named))


def comparability_sentences(comparability: Comparability) -> tuple[str, ...]:
    """Whether members and controls are of one kind, in sentences."""
    return tuple(_comparability(comparability))


def redaction_sentences(report: Report) -> tuple[str, ...]:
    """What was taken out of the report so that it does not spread what it found, and how to see it."""
    redaction, said = report.redaction, []
    if report.gallery and redaction.reconstructions != "sharp":
        what = f"Reconstructions are {redaction.reconstructions}, for they may be training images"
        ways = "--reconstructions sharp shows them"
        said.append(f"{what}: {ways}." if redaction.reconstructions == "blurred" else f"{what}: {ways}, or blurred.")
    if report.controls.n_members and redaction.names == "hashed":
        said.append(
            "Ids stand for file names, and figures of single images have two digits; privaudit names finds the files "
            "for whoever holds the images, and --names shows them."
        )
    return tuple(said)


def _comparability(comparability: Comparability) -> Iterator[str]:
    blind = comparability.blind
    if blind is not None:
        by = f", by {', '.join(comparability.tells)}" if comparability.tells else ""
        auc = "" if comparability.auc is None else f"AUC {number.estimate(comparability.auc)}, "
        yield (
            "A classifier that sees the images and never the model tries to tell members from controls: "
            f"{auc}{number.p_claim(blind.p_value)}{by}. "
            + ("It must fail." if comparability.has_power else "In so few images it can only fail, which says nothing.")
        )
    if comparability.accuracy_members is not None and comparability.accuracy_controls is not None:
        yield (
            f"The model is right on {number.percent(comparability.accuracy_members)} of the labelled members and on "
            f"{number.percent(comparability.accuracy_controls)} of the labelled controls. A model that is no better "
            "on the members may not have been trained on them, or on the controls as well."
        )
    if comparability.left_out:
        names = ", ".join(f"{image.id} ({image.why} of {image.like})" for image in comparability.left_out[:_NAMED])
        more = len(comparability.left_out) - _NAMED
        yield f"Left out: {names}{f', and {more} more' if more > 0 else ''}."


def ssim_definition(report: Report) -> SsimDefinition | None:
    """Which SSIM the attacks were scored by; None where none was."""
    return next((attack.ssim.definition for attack in report.attacks if attack.ssim), None)


def positive_sentences(report: Report) -> tuple[str, ...]:
    """What the positive controls found, one sentence each; one that says why where none was run."""
    if not report.controls.positive and found(report):
        return ("No positive control was run: it backs the absence of a finding, and there is one.",)
    if not report.controls.positive:
        return ("No positive control was run, so that finding nothing would mean nothing.",)
    return tuple(_positive_sentence(group) for group in positive_groups(report))


def positive_groups(report: Report) -> tuple[tuple[PositiveControl, ...], ...]:
    """The positive controls of one kind on one model together, the most telling first: one pass is enough."""
    groups: dict[tuple[str, bool, str], list[PositiveControl]] = {}
    for control in report.controls.positive:
        groups.setdefault((control.kind, control.matched, control.fixture), []).append(control)
    return tuple(
        tuple(sorted(group, key=lambda control: (not control.passed, -control.recovered / max(control.of, 1))))
        for group in groups.values()
    )


def _positive_sentence(group: Sequence[PositiveControl]) -> str:
    best, passed = group[0], sum(control.passed for control in group)
    done, noun = ("recovered", "training images") if best.kind == "reconstruction" else ("recognised", "members")
    model = best.fixture if best.matched else f"the shipped leaky model {best.fixture}"
    others = f" ({passed} of {len(group)} methods did)" if len(group) > 1 else ""
    return (
        f"{best.method} {done} {best.recovered} of {best.of} {noun} of {model} at this budget{others}: "
        f"{'passed' if best.passed else 'NOT passed'}."
    )


def negative_sentence(controls: Controls) -> str:
    """What the comparison finds where there is nothing to find."""
    if controls.negative is None:
        return "No negative control was run."
    passed = controls.negative.p_value >= controls.negative_alpha
    outcome = "nothing found, as it must be" if passed else "something found where nothing can be: distrust this report"
    return f"Guesses that never saw the weights: {outcome} ({number.p_claim(controls.negative.p_value)})."


def main_figures(report: Report) -> tuple[Figure, ...]:
    """The figures a reader compares between models, most telling first."""
    return (
        *_reconstruction_figures(report),
        *_membership_figures(report),
        *_evidence_figures(report),
        *(Figure("Positive control", sentence) for sentence in positive_sentences(report)),
        Figure("Budget", budget_sentence(report)),
    )


def budget_sentence(report: Report) -> str:
    """What was allowed and used, and what ended the audit."""
    budget = report.budget
    return (
        f"{number.duration(budget.seconds_used)} used of {number.duration(budget.seconds)}, {ENDS[budget.stopped_by]}; "
        f"profile {budget.profile}, device {budget.device}, seed {budget.seed}"
    )


def limits(report: Report) -> tuple[str, ...]:
    """What this report does not show, the gaps of this audit before the general ones."""
    controls = report.controls
    gaps = []
    if report.interrupted:
        gaps.append("The audit was interrupted; attacks that had not finished count with what they had reached.")
    idle = [one for one in outcomes(report) if one.status in {"skipped", "failed"}]
    if left_out := [one.name for one in idle if one.kind == "attack"]:
        gaps.append(f"Nothing is known about attacks that did not run to the end: {', '.join(left_out)}.")
    if signals := [one.name for one in idle if one.kind == "signal"]:
        gaps.append(f"Nothing is known about membership signals that gave no score: {', '.join(signals)}.")
    if not controls.n_members:
        gaps.append("No training images were given, so that no reconstruction could be compared with the originals.")
    elif not controls.n_controls:
        gaps.append("No controls were given: the similarities are uncalibrated and add nothing to the verdict.")
    needed = controls.controls_to_flag_one
    if needed is not None and controls.n_members and controls.n_controls < needed:
        gaps.append(
            f"With {number.count(controls.n_controls)} controls for {number.count(controls.n_members)} members, "
            f"a single leaked image could not be flagged on its own; that takes {number.count(needed)} controls."
        )
    if controls.n_members:
        gaps.append(
            f"Only the {number.count(controls.n_members)} members given were looked for, no other training image."
        )
    if controls.positive and controls.n_controls and not any(control.matched for control in controls.positive):
        gaps.append(
            "No copy of this architecture could be overfitted on the controls, so that the positive control rests on "
            "a shipped model alone."
        )
    gaps.append("Only these attacks, at this budget: a stronger attack or a larger budget may find more.")
    return tuple(gaps)


def _reconstruction_figures(report: Report) -> tuple[Figure, ...]:
    controls = report.controls
    if not report.members:
        return (Figure("Training images recovered", "not measured: no training images were given"),)
    if not controls.n_controls:
        return (Figure("Training images recovered", "not measured: no controls were given"),)
    figures = [
        Figure(
            "Training images recovered",
            f"{len(leaked(report))} of {len(report.members)}, each at q of at most {controls.false_discovery_rate:g}",
        )
    ]
    if controls.reconstruction_test is not None:
        claim = number.p_claim(controls.reconstruction_test.p_value)
        figures.append(Figure("Members score above controls", f"{claim} ({controls.reconstruction_test.name})"))
    return tuple(figures)


def _membership_figures(report: Report) -> tuple[Figure, ...]:
    signal = best_signal(report)
    if signal is None:
        return (Figure("Membership", "not measured"),)
    figures = [Figure("Membership, best signal", f"AUC {number.interval(signal.auc)}, {signal.signal}")]
    if signal.tpr_at_fpr is not None and signal.tpr_at_fpr.at_1_percent is not None:
        rate = number.rate_interval(signal.tpr_at_fpr.at_1_percent)
        figures.append(Figure("Members named at 1% false alarms", rate))
    return tuple(figures)


def _evidence_figures(report: Report) -> tuple[Figure, ...]:
    evidence = report.evidence
    if evidence is None:
        return ()
    shuffled = f"at most {max(evidence.shuffled_reproduced)}" if evidence.shuffled_reproduced else "not measured"
    value = f"{evidence.reproduced}; from shuffled weights: {shuffled}"
    return (Figure("Images that independent restarts agree on", value),)
