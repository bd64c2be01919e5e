"""The checklist of a release: Markdown boxes, each with the evidence behind it.

Public names: `Box`, `Section`, `render`.
A box is ticked only where the report itself supports the claim; what only a person can know stays open.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from auditcli.report import number
from auditcli.report.figures import attack_figures, signal_figures
from auditcli.report.findings import Finding
from auditcli.report.schema import Report
from auditcli.report.severity import Graded, graded
from auditcli.report.summary import (
    best_signal,
    budget_sentence,
    comparability_sentences,
    leaked,
    negative_sentence,
    positive_groups,
    positive_sentences,
    redaction_sentences,
)
from auditcli.report.template import fill_markdown
from auditcli.rules import Id

State = Literal["", "not tried", "failed", "found", "not established", "waived", "assumed", "for you to confirm"]


@dataclass(frozen=True, slots=True)
class Box:
    """One claim that a release rests on."""

    claim: str
    evidence: str
    done: bool = False
    state: State = ""
    """Why the box is open; empty where it is ticked."""
    id: str = ""
    """Of the finding that says so."""
    command: str = ""
    """What settles it."""


@dataclass(frozen=True, slots=True)
class Section:
    """Boxes under one heading."""

    title: str
    boxes: tuple[Box, ...]
    empty: str = ""
    """What stands in place of boxes where there are none."""


def render(report: Report, found: Sequence[Finding] | None = None) -> str:
    """The checklist as GitHub-flavoured Markdown.

    Args:
        report: What was audited.
        found: What a policy made of the findings; a waived one stays an open box. None: those of the report.
    """
    here = graded(report, found)
    sections = (
        Section("The file and the audit", tuple(_audit(report))),
        Section("What was tried", tuple(_tried(report)), "Nothing was tried."),
        Section("Could the audit have found a leak?", tuple(_power(report))),
        Section("What was looked for", tuple(_questions(report, here))),
        Section("Findings to decide on", tuple(_decisions(here)), "No leak and no doubt is on record."),
        Section(
            "For a firmer answer", tuple(map(_step, report.verdict.next_steps)), "The report asks for nothing more."
        ),
        Section("What only a person can confirm", tuple(_confirmations(report))),
    )
    return fill_markdown("checklist.md.j2", report, sections=sections)


def _audit(report: Report) -> Iterator[Box]:
    model = report.model
    yield Box(
        f"The file to be released is the one that was audited: {model.path}",
        f"sha256 {model.sha256}",
        state="for you to confirm",
        command=f"privaudit verify report.json --model {shlex.quote(model.path)}",
    )
    whole = not report.interrupted and report.budget.stopped_by not in {"seconds", "interrupted"}
    claim = "The audit ran to its end"
    yield _box(claim, whole, budget_sentence(report), "interrupted; " if report.interrupted else "the clock ended it; ")
    timed = not whole or any(attack.stopped_by == "seconds" for attack in report.attacks)
    again = "another machine may get further before the clock ends it" if timed else f"seed {report.budget.seed}"
    state: State = "not established" if timed else ""
    yield Box("The same command gives the same figures", again, not timed, state, command=report.manifest.command)


def _tried(report: Report) -> Iterator[Box]:
    for attack in report.attacks:
        claim = f"The attack {attack.name} ran and was compared"
        if attack.negative_control:
            claim = f"The negative control {attack.name}, which never sees the weights, ran"
        id = Id.ATTACK_FAILED if attack.status == "failed" else Id.ATTACK_NOT_RUN
        yield _outcome(claim, attack.status, attack.reason, attack_figures(attack), id)
    for signal in report.membership:
        claim, id = f"The signal {signal.signal} was measured", Id.SIGNAL_NOT_RUN
        id = Id.SIGNAL_FAILED if signal.status == "failed" else id
        yield _outcome(claim, signal.status, signal.reason, signal_figures(signal), id)


def _outcome(claim: str, status: str, reason: str, figures: str, id: Id) -> Box:
    match status:
        case "scored":
            return Box(claim, figures, done=True)
        case "failed":
            return Box(claim, reason, state="failed", id=id)
        case "unscored":
            return Box(claim, f"it ran, but {reason}; {figures}", state="not established")
        case _:
            return Box(claim, reason, state="not tried", id=id)


def _power(report: Report) -> Iterator[Box]:
    controls = report.controls
    groups = positive_groups(report)
    for group, sentence in zip(groups, positive_sentences(report) if groups else (), strict=True):
        claim = f"A positive control passed for {group[0].kind}"
        yield Box(claim, sentence, group[0].passed, "" if group[0].passed else "failed")
    if not groups:
        yield Box("A positive control passed", " ".join(positive_sentences(report)), state="not tried")
    claim = "The negative control found nothing"
    if controls.negative is None:
        yield Box(claim, negative_sentence(controls), state="not tried")
    else:
        passed = controls.negative.p_value >= controls.negative_alpha
        yield Box(claim, negative_sentence(controls), passed, "" if passed else "failed")
    yield _comparable(report)
    yield _flaggable(report)


def _comparable(report: Report) -> Box:
    claim, comparability = "Members and controls cannot be told apart without the model", report.comparability
    if comparability is None or comparability.blind is None:
        return Box(claim, "members and controls were not both given, or could not be compared", state="not tried")
    evidence = comparability_sentences(comparability)[0]
    if not comparability.has_power:
        return Box(claim, evidence, state="not established")
    alike = comparability.blind.p_value >= report.controls.negative_alpha
    return Box(claim, evidence, alike, "" if alike else "found")


def _flaggable(report: Report) -> Box:
    claim, controls = "A single leaked image could have been flagged on its own", report.controls
    if not controls.n_members or controls.controls_to_flag_one is None:
        return Box(claim, "no training images were given", state="not tried")
    enough = controls.n_controls >= controls.controls_to_flag_one
    needed = number.count(controls.controls_to_flag_one, "control")
    evidence = f"{number.count(controls.n_controls)} of the {needed} that this takes"
    return Box(claim, evidence, enough, "" if enough else "not established", Id.NO_SINGLE_FLAG)


def _questions(report: Report, found: Sequence[Graded]) -> Iterator[Box]:
    """Absences, each ticked only where it was looked for, nothing is near it, and a positive control backs it."""
    ids = {finding.id for finding, _ in found}
    controls, members = report.controls, report.members
    test, signal, evidence = controls.reconstruction_test, best_signal(report), report.evidence
    compared = "" if members and controls.n_controls else "no members and controls were given to compare with"
    few = controls.controls_to_flag_one is not None and controls.n_controls < controls.controls_to_flag_one
    yield _absence(
        report,
        "No training image was recovered on its own",
        bool(leaked(report)) or Id.RECOVERED in ids,
        compared or ("too few controls to flag a single image" if few else _unbacked(report, "reconstruction")),
        f"{len(leaked(report))} of {number.count(len(members), 'member')} came back",
    )
    yield _absence(
        report,
        "What was reconstructed does not resemble the training images as a group",
        Id.RESEMBLING in ids or (test is not None and test.p_value < controls.alpha),
        compared or ("" if test else "no attack was compared") or _unbacked(report, "reconstruction"),
        number.p_claim(test.p_value) if test else "",
    )
    tests = [one.test.p_value for one in report.membership if one.test]
    yield _absence(
        report,
        "Members cannot be told from controls by the signals that ran",
        bool(ids & {Id.NAMED, Id.INFERRED, Id.TRACED}) or any(p < controls.alpha for p in tests),
        compared or ("" if signal else "no signal was measured") or _unbacked(report, "membership"),
        f"the best, {signal.signal}: {signal_figures(signal)}" if signal else "",
    )
    unsettled = "the weights alone were not weighed" if evidence is None else "what the weights alone say is unclear"
    yield _absence(
        report,
        "The weights alone show no small training set kept in them",
        Id.KEPT in ids or (evidence is not None and evidence.significant),
        ("" if evidence and not evidence.unclear else unsettled) or _unbacked(report, "reconstruction"),
        f"independent restarts agree on {number.count(evidence.reproduced, 'image')}" if evidence else "",
    )


def _absence(report: Report, claim: str, there: bool, lacking: str, evidence: str) -> Box:
    """A claim that something is not there.

    Args:
        report: What was audited.
        claim: That it is not there.
        there: It is, or the figures are too near to it.
        lacking: What keeps the audit from telling; empty where nothing does.
        evidence: The figures.
    """
    if there:
        return Box(claim, evidence, state="found")
    if report.interrupted:
        lacking = lacking or "the audit was interrupted"
    elif report.verdict.level == "inconclusive":
        lacking = lacking or "the audit is inconclusive"
    if lacking:
        return Box(claim, lacking, state="not established")
    return Box(claim, evidence, done=True)


def _unbacked(report: Report, kind: str) -> str:
    passed = any(control.passed for control in report.controls.positive if control.kind == kind)
    return "" if passed else f"no positive control of {kind} passed"


def _decisions(found: Sequence[Graded]) -> Iterator[Box]:
    for finding, _ in found:
        if finding.rule.kind != "gap":
            claim = f"{finding.id} {finding.rule.title}"
            if finding.waived:
                yield Box(claim, f"{finding.waived} What was found: {finding.text}", state="waived")
            else:
                yield Box(claim, f"{finding.text} {finding.rule.action}", state=_state(finding))


def _step(step: str) -> Box:
    return Box(step, "")


def _state(finding: Finding) -> State:
    return "not established" if finding.rule.kind == "doubt" else "found"


def _confirmations(report: Report) -> Iterator[Box]:
    you: State = "for you to confirm"
    for assumption in report.model.assumptions:
        evidence = f"because {assumption.why}; otherwise audit again with {assumption.flag}"
        yield Box(f"{assumption.what} is {assumption.value}", evidence, state="assumed", id=Id.ASSUMED)
    controls = report.controls
    if controls.n_members:
        of = number.count(controls.n_members, "image")
        yield Box("The members were drawn at random from the training data", of, state=you)
    if controls.n_controls:
        of = number.count(controls.n_controls, "image")
        yield Box("The controls come from the same source, and none was trained on", of, state=you)
    signal = best_signal(report)
    known = f"membership was measured: {signal_figures(signal)}" if signal else "membership was not measured"
    yield Box("Nobody is harmed by being known as part of the training set", known, state=you)
    shown = " ".join((number.count(len(report.named_pictures()), "picture") + ".", *redaction_sentences(report)))
    yield Box("Whoever is given this report may see the pictures and the names in it", shown, state=you)
    yield Box(
        "The budget is no less than what somebody who wants the data would spend", budget_sentence(report), state=you
    )
    card = "privaudit card README.md --report report.json --check"
    yield Box("The model card says what was found", "", state=you, command=card)


def _box(claim: str, done: bool, evidence: str, why_not: str) -> Box:
    return Box(claim, evidence, done=True) if done else Box(claim, f"{why_not}{evidence}", state="not established")
