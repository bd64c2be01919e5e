"""The catalogue of findings: what each stable id stands for, and what to do about it.

Public names: `Id`, `Rule`, `RULES`. An id is never given another meaning and never used again; policies, waivers and
machines that read a report rest on it. `docs/findings.md` is made from this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

Kind = Literal["leak", "doubt", "gap", "breach"]
"""What a finding is about.

`leak`: found out about the model. `doubt`: forbids or limits a conclusion. `gap`: was not looked at, or assumed.
`breach`: a demand of a policy that is not met.
"""


class Id(StrEnum):
    """The id of a finding: PA0 for leaks, PA1 for doubts, PA2 for gaps, PA3 for breaches of a policy."""

    RECOVERED = "PA001"
    RESEMBLING = "PA002"
    NAMED = "PA003"
    INFERRED = "PA004"
    TRACED = "PA005"
    KEPT = "PA006"

    MATCHED_BLINDLY = "PA101"
    TOLD_APART_BLINDLY = "PA102"
    SWAPPED = "PA103"
    INTERRUPTED = "PA104"
    NOTHING_APPLIES = "PA105"
    NO_POWER = "PA106"
    FOREIGN_MEMBERS = "PA107"
    FLAWLESS_ON_CONTROLS = "PA108"
    EXPLAINED_BY_FEW = "PA109"
    TOO_FEW_IMAGES = "PA110"
    UNCALIBRATED = "PA111"
    SINGLES_ONLY = "PA112"
    POSITIVE_FAILED = "PA113"
    POSITIVE_MISSING = "PA114"

    ATTACK_NOT_RUN = "PA201"
    ATTACK_FAILED = "PA202"
    SIGNAL_NOT_RUN = "PA203"
    SIGNAL_FAILED = "PA204"
    ASSUMED = "PA205"
    NO_SINGLE_FLAG = "PA206"
    CUT_SHORT = "PA207"

    OTHER_MODEL = "PA301"
    CONTRADICTION = "PA302"
    FROM_THE_FUTURE = "PA303"
    TOO_OLD = "PA304"
    LEVEL_REACHED = "PA305"
    FORBIDDEN = "PA306"
    OVER_THRESHOLD = "PA307"
    NOT_MEASURED = "PA308"
    ATTACK_REQUIRED = "PA309"
    SIGNAL_REQUIRED = "PA310"
    BUDGET_TOO_SMALL = "PA311"
    PROFILE_TOO_LOW = "PA312"
    MEMBERS_REQUIRED = "PA313"
    CONTROLS_REQUIRED = "PA314"
    POSITIVE_REQUIRED = "PA315"
    WAIVER_EXPIRED = "PA316"
    WAIVER_UNMATCHED = "PA317"


@dataclass(frozen=True, slots=True)
class Rule:
    """What an id stands for."""

    id: Id
    name: str
    """In PascalCase, for machines that show names."""
    kind: Kind
    title: str
    """One line without a full stop."""
    meaning: str
    """What was seen, and what follows from it."""
    action: str
    """What to do about it."""
    waivable: bool = True
    """Whether a waiver can let it pass; what questions the report or a waiver itself can not be waived."""


def _catalogue(*rules: Rule) -> Mapping[str, Rule]:
    return MappingProxyType({rule.id.value: rule for rule in rules})


RULES = _catalogue(
    Rule(
        Id.RECOVERED,
        "TrainingImagesRecovered",
        "leak",
        "Training images were individually recovered",
        "Reconstructions made from the weights match single training images better than they match images the model "
        "never saw, at a false-discovery rate of 5%.",
        "Do not publish these weights. Retrain on more images, for fewer epochs or with differential privacy, and "
        "audit again.",
    ),
    Rule(
        Id.RESEMBLING,
        "ReconstructionsResembleMembers",
        "leak",
        "What was reconstructed resembles the training images as a group",
        "Members score above controls in reconstruction by more than chance allows; no single image can be named.",
        "Treat the training set as exposed. More controls may show which images came back.",
    ),
    Rule(
        Id.NAMED,
        "MembersNamed",
        "leak",
        "Members can be named at few false alarms",
        "A membership signal finds at least a tenth of the members at 1% false alarms, by its lower 95% bound.",
        "Ask whether it harms anyone to be known as part of the training set; if it does, hold the release back.",
    ),
    Rule(
        Id.INFERRED,
        "MembershipInferable",
        "leak",
        "Membership can be inferred",
        "A membership signal ranks members above controls with an AUC of at least 0.60, by its lower 95% bound.",
        "Ask whether it harms anyone to be known as part of the training set; regularise, and audit again.",
    ),
    Rule(
        Id.TRACED,
        "MembershipTrace",
        "leak",
        "A weak trace of the training data was measured",
        "A membership signal tells members from controls by more than chance allows, below an AUC of 0.60.",
        "Write the figure into the model card.",
    ),
    Rule(
        Id.KEPT,
        "ImagesKeptInWeights",
        "leak",
        "The weights alone show a small training set kept in them",
        "Independent restarts of an attack arrive at the same images, and do not where the weights are shuffled.",
        "Do not publish these weights before members and controls have shown what comes back.",
    ),
    Rule(
        Id.MATCHED_BLINDLY,
        "MatchedWithoutModel",
        "doubt",
        "Guesses made without the model match members better than controls",
        "The negative control failed: members and controls differ in kind, and no comparison between them counts.",
        "Draw both at random from one source and prepare them in the same way.",
    ),
    Rule(
        Id.TOLD_APART_BLINDLY,
        "ToldApartWithoutModel",
        "doubt",
        "Members and controls can be told apart without the model",
        "A classifier that never saw the model tells them apart: they differ in kind, and no comparison counts.",
        "Draw both at random from one source and prepare them in the same way.",
    ),
    Rule(
        Id.SWAPPED,
        "SamplesSwapped",
        "doubt",
        "The model is right on controls more often than on members",
        "The two samples look swapped, or the members were never trained on.",
        "Check which images were trained on, and audit again.",
    ),
    Rule(
        Id.INTERRUPTED,
        "AuditInterrupted",
        "doubt",
        "The audit was interrupted",
        "What it had not tried by then is unknown.",
        "Run it again to its end.",
    ),
    Rule(
        Id.NOTHING_APPLIES,
        "NothingApplies",
        "doubt",
        "No attack and no membership signal applies",
        "Nothing could be asked of this model with what was given.",
        "Give images the model was trained on and images it never saw: --members and --controls.",
    ),
    Rule(
        Id.NO_POWER,
        "NoPower",
        "doubt",
        "Nothing that ran could have found a leak",
        "A leaking model would have looked the same.",
        "Give members and controls; `privaudit plan` says how many.",
    ),
    Rule(
        Id.FOREIGN_MEMBERS,
        "MembersUnlikeWeights",
        "doubt",
        "The weights show a small training set that the members do not resemble",
        "The members given may not have been trained on, or the controls were.",
        "Check both samples, and audit again.",
    ),
    Rule(
        Id.FLAWLESS_ON_CONTROLS,
        "FlawlessOnControls",
        "doubt",
        "The model makes no mistake on the controls",
        "If the controls were trained on, nothing tells the members from them, however much leaks.",
        "Check that no control was trained on.",
    ),
    Rule(
        Id.EXPLAINED_BY_FEW,
        "ExplainedByFew",
        "doubt",
        "A few images explain the first layer, and restarts do not settle which",
        "A model that kept few images and one with strong weight decay look alike here.",
        "Give members and controls, or a larger budget.",
    ),
    Rule(
        Id.TOO_FEW_IMAGES,
        "TooFewImages",
        "doubt",
        "Too few images for any significant answer",
        "Not even perfect separation of members from controls would be significant.",
        "Give more of both; `privaudit plan` says how many.",
    ),
    Rule(
        Id.UNCALIBRATED,
        "Uncalibrated",
        "doubt",
        "Similarities without controls",
        "Nothing says how near chance comes to the training images, so similarities add nothing to the level.",
        "Give images of the same kind that the model never saw: --controls.",
    ),
    Rule(
        Id.SINGLES_ONLY,
        "SinglesOnly",
        "doubt",
        "Single members stand out and the members as a whole do not",
        "Chance alone can bring this about.",
        "Give more controls.",
    ),
    Rule(
        Id.POSITIVE_FAILED,
        "PositiveControlFailed",
        "doubt",
        "A positive control failed",
        "The procedure did not find the leak of a model known to leak, so what it did not find here may be there.",
        "Give a larger budget: --budget 2h.",
    ),
    Rule(
        Id.POSITIVE_MISSING,
        "PositiveControlMissing",
        "doubt",
        "No positive control was run",
        "Nothing shows that the procedure finds a leak where there is one.",
        "Give a larger budget, or more controls.",
    ),
    Rule(
        Id.ATTACK_NOT_RUN,
        "AttackNotRun",
        "gap",
        "An attack did not run",
        "Nothing is known about what it would have found.",
        "The reason says what it needs; `privaudit attacks` lists the needs of all.",
    ),
    Rule(
        Id.ATTACK_FAILED,
        "AttackFailed",
        "gap",
        "An attack failed",
        "Nothing is known about what it would have found.",
        "The reason says why; a smaller profile or another device may help.",
    ),
    Rule(
        Id.SIGNAL_NOT_RUN,
        "SignalNotRun",
        "gap",
        "A membership signal did not run",
        "Nothing is known about what it would have told.",
        "The reason says what it needs; `privaudit attacks` lists the needs of all.",
    ),
    Rule(
        Id.SIGNAL_FAILED,
        "SignalFailed",
        "gap",
        "A membership signal failed",
        "Nothing is known about what it would have told.",
        "The reason says why; a smaller profile or another device may help.",
    ),
    Rule(
        Id.ASSUMED,
        "Assumed",
        "gap",
        "Something about the model was assumed",
        "The file does not say it. A wrong assumption can hide a leak.",
        "Confirm it, or correct it with the option that the finding names, and audit again.",
    ),
    Rule(
        Id.NO_SINGLE_FLAG,
        "NoSingleFlag",
        "gap",
        "A single leaked image could not have been flagged",
        "There are too few controls for so many members.",
        "Give more controls; `privaudit plan` says how many.",
    ),
    Rule(
        Id.CUT_SHORT,
        "CutShort",
        "gap",
        "The clock ended the audit",
        "Attacks that had not finished count with what they had reached.",
        "Give a larger budget: --budget 2h.",
    ),
    Rule(
        Id.OTHER_MODEL,
        "OtherModel",
        "breach",
        "The report is about another model",
        "The sha256 of the model is not the one in the report: it was trained further, converted or exchanged, "
        "or the report is that of another file.",
        "Audit the model that is to be released. No waiver lets this pass.",
        waivable=False,
    ),
    Rule(
        Id.CONTRADICTION,
        "ReportContradictsItself",
        "breach",
        "The report contradicts itself",
        "Parts of it that an audit writes together do not agree: it was edited, or put together from several.",
        "Audit again. No waiver lets this pass.",
        waivable=False,
    ),
    Rule(
        Id.FROM_THE_FUTURE,
        "ReportFromTheFuture",
        "breach",
        "The report is from the future",
        "The audit ended after the day of the ruling: a clock is wrong, or the report was edited.",
        "Set the clock, or audit again. No waiver lets this pass.",
        waivable=False,
    ),
    Rule(
        Id.TOO_OLD,
        "ReportTooOld",
        "breach",
        "The report is older than the policy allows",
        "Attacks get better, and what was not found then may be found now.",
        "Audit again with the present version.",
    ),
    Rule(
        Id.LEVEL_REACHED,
        "LevelReached",
        "breach",
        "The level is one that the policy does not allow",
        "Findings that no waiver covers reach the level of `fail_on`, or the verdict has a level that no "
        "finding explains.",
        "Do as the findings say. Where one of them is accepted, waive that finding, and not this one.",
        waivable=False,
    ),
    Rule(
        Id.FORBIDDEN,
        "FindingForbidden",
        "breach",
        "A finding that the policy forbids",
        "The report has a finding whose id stands under `forbid`, and no waiver covers it.",
        "Do as that finding says. Where it is accepted, waive it, and not this one.",
        waivable=False,
    ),
    Rule(
        Id.OVER_THRESHOLD,
        "OverThreshold",
        "breach",
        "A figure is over its threshold",
        "The report gives a figure, or the upper end of its interval, above what the policy allows.",
        "Retrain, or audit with more members and controls where only the upper end is above.",
    ),
    Rule(
        Id.NOT_MEASURED,
        "NotMeasured",
        "breach",
        "A figure with a threshold was not measured",
        "What was not measured is not known to be below the threshold.",
        "Audit again with what it needs.",
    ),
    Rule(
        Id.ATTACK_REQUIRED,
        "RequiredAttackMissing",
        "breach",
        "An attack that the policy requires gave no score",
        "It was skipped, failed, had no members to be compared with, or is unknown to the report.",
        "Audit with what the attack needs; `privaudit attacks` lists the needs of all.",
    ),
    Rule(
        Id.SIGNAL_REQUIRED,
        "RequiredSignalMissing",
        "breach",
        "A membership signal that the policy requires gave no score",
        "It was skipped, failed, or is unknown to the report.",
        "Audit with what the signal needs; `privaudit attacks` lists the needs of all.",
    ),
    Rule(
        Id.BUDGET_TOO_SMALL,
        "BudgetTooSmall",
        "breach",
        "The audit was given less time than the policy requires",
        "A longer audit may have found more.",
        "Audit again with the budget that the policy names.",
    ),
    Rule(
        Id.PROFILE_TOO_LOW,
        "ProfileTooLow",
        "breach",
        "The audit tried less hard than the policy requires",
        "The profile sets steps, restarts and candidates: a higher one may have found more.",
        "Audit again with the profile that the policy names.",
    ),
    Rule(
        Id.MEMBERS_REQUIRED,
        "TooFewMembers",
        "breach",
        "The audit had fewer members than the policy requires",
        "Leaks of the training images that were not given are not looked for.",
        "Audit again with more members; `privaudit plan` says what they can establish.",
    ),
    Rule(
        Id.CONTROLS_REQUIRED,
        "TooFewControls",
        "breach",
        "The audit had fewer controls than the policy requires",
        "Fewer controls tell less well what chance alone brings about.",
        "Audit again with more controls; `privaudit plan` says what they can establish.",
    ),
    Rule(
        Id.POSITIVE_REQUIRED,
        "PositiveControlRequired",
        "breach",
        "No positive control passed, and the policy requires one",
        "Nothing was found, and nothing shows that the procedure would have found a leak.",
        "Audit again with a larger budget, or more controls.",
    ),
    Rule(
        Id.WAIVER_EXPIRED,
        "WaiverExpired",
        "breach",
        "A waiver has expired",
        "What it let pass counts again.",
        "Resolve the finding, or have the waiver renewed by whoever signed it. No waiver lets this pass.",
        waivable=False,
    ),
    Rule(
        Id.WAIVER_UNMATCHED,
        "WaiverUnmatched",
        "breach",
        "A waiver matches no finding",
        "The finding is gone, or the waiver is for another subject or another model.",
        "Remove the waiver, or correct it. No waiver lets this pass.",
        waivable=False,
    ),
)
"""Every finding by its id."""
