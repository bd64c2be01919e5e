"""The words of the report: what each level, each status and each technical term means to the person who signs.

Public names: `LEVELS`, `SCALE`, `STATUSES`, `ENDS`, `KINDS`, `ORIGINS`, `GLOSSARY`, `NOT_EMBEDDED`, `LEFT_OUT`.
"""

from types import MappingProxyType
from typing import NamedTuple

from auditcli.report.origins import Origin
from auditcli.report.schema import LevelName
from auditcli.rules import Kind


class LevelWords(NamedTuple):
    """How a verdict level is spoken of."""

    word: str
    symbol: str
    """One character for Markdown, where there is no drawing."""
    meaning: str
    """What the level claims and, where it could be misread, what it does not."""


class StatusWords(NamedTuple):
    """How the outcome of one attack or signal is spoken of."""

    word: str
    symbol: str


class Term(NamedTuple):
    """A line of the glossary."""

    name: str
    meaning: str


LEVELS = MappingProxyType[LevelName, LevelWords](
    {
        "none-detected": LevelWords(
            "None detected",
            "🔍",
            "Nothing was found with these attacks at this budget, and the controls show that they could have found "
            "something. A stronger attack or a larger budget may still find a leak.",
        ),
        "low": LevelWords(
            "Low",
            "🔹",
            "A leak is measurable, but too weak to tell much about any single training image.",
        ),
        "moderate": LevelWords(
            "Moderate",
            "🔶",
            "The model tells training images from others clearly better than chance; no image was shown to come back.",
        ),
        "high": LevelWords(
            "High",
            "⚠️",
            "Training data leaks to a degree that matters: as a group, training images can be told apart or got back.",
        ),
        "critical": LevelWords(
            "Critical",
            "⛔",
            "At least one training image was got back out of the weights. Whoever holds the file can do the same.",
        ),
        "inconclusive": LevelWords(
            "Inconclusive",
            "❔",
            "This is not a pass. The audit could not establish whether the model leaks, in either direction. "
            "Do not read it as a clean result; what to add is listed below.",
        ),
    }
)

SCALE: tuple[LevelName, ...] = ("none-detected", "low", "moderate", "high", "critical")
"""The levels from none to worst; `inconclusive` stands outside."""

STATUSES = MappingProxyType(
    {
        "scored": StatusWords("Scored", "●"),
        "unscored": StatusWords("Ran, not compared", "◐"),
        "skipped": StatusWords("Not run", "○"),
        "failed": StatusWords("Failed", "✕"),
    }
)

ENDS = MappingProxyType(
    {
        "steps": "all steps taken",
        "seconds": "stopped by the clock",
        "exhausted": "nothing left to try",
        "interrupted": "interrupted",
        "": "",
    }
)
"""What ended an attack or the audit."""


class KindWords(NamedTuple):
    """How findings of one kind are spoken of together."""

    title: str
    meaning: str


KINDS = MappingProxyType[Kind, KindWords](
    {
        "leak": KindWords(
            "Leaks", "What was found out about the model. The level of the verdict rests on these alone."
        ),
        "doubt": KindWords("Doubts", "What forbids or limits a conclusion."),
        "gap": KindWords("Gaps", "What was not looked at, or was assumed. A gap says what is not known."),
        "breach": KindWords("Breaches", "Demands of a policy that are not met."),
    }
)
"""The kinds of findings in the order in which they are told."""


class OriginWords(NamedTuple):
    """How it is said where a fact about the model is known from."""

    title: str
    meaning: str


ORIGINS = MappingProxyType[Origin, OriginWords](
    {
        "assumed": OriginWords("Assumed", "Nobody said it, and nothing shows it. A wrong assumption can hide a leak."),
        "images": OriginWords("Images chose", "Of what would fit, it goes best with the images that were given."),
        "user": OriginWords("The auditor said", "Stated on the command line of this audit."),
        "file": OriginWords("The file says", "Stated by whoever made the model."),
        "weights": OriginWords("The weights show", "Read off names, shapes and numbers of the weights."),
    }
)
"""Where a fact is known from, the shakiest first."""

NOT_EMBEDDED = "not embedded: run with --include-images"
LEFT_OUT = "left out: run with --reconstructions blurred or sharp"

GLOSSARY = (
    Term("Member", "An image the model was trained on, given to the audit for comparison."),
    Term(
        "Control",
        "An image of the same kind that the model never saw. It shows how well a guess matches by chance: "
        "only what members score above controls counts.",
    ),
    Term(
        "Attack", "A way to get training images back out of the weights, as somebody who holds the file could try it."
    ),
    Term("Membership signal", "A figure that tends to be higher for images the model was trained on than for others."),
    Term(
        "SSIM",
        "Structural similarity of two images: 1 is identical, about 0 unrelated. "
        "Blurry averages can score high against anything, so it is never read without controls.",
    ),
    Term(
        "Finding",
        "One thing this audit found out (a leak), that limits what can be concluded (a doubt), or that it did not look "
        "at (a gap). Its id, e.g. PA001, means the same in every report.",
    ),
    Term(
        "AUC",
        "The chance that a signal ranks a random member above a random control. 0.5 is guessing, 1 is perfect.",
    ),
    Term(
        "TPR at FPR",
        "The share of members an attacker names correctly (true-positive rate) while wrongly accusing at most the "
        "given share of other images (false-positive rate). High values at a low rate are the worrying ones.",
    ),
    Term("p", "How often chance alone would give a result at least as extreme as this one. Small means unlikely."),
    Term(
        "q",
        "A p-value corrected for asking about many images at once. Of the images flagged at q of at most 0.05, "
        "no more than one in twenty is expected to be a false alarm.",
    ),
    Term(
        "Positive control",
        "The same procedure, at the same budget, run on a shipped model that is known to leak. "
        "If it finds nothing there, finding nothing here means nothing.",
    ),
    Term("Negative control", "The same comparison with guesses that never saw the weights. It must find nothing."),
    Term("Budget", "The time and the steps the audit was allowed. A larger budget can find more."),
    Term(
        "Objective",
        "What an attack makes smaller step by step: how badly its guesses explain the weights. "
        "It is compared with nothing but its own start.",
    ),
    Term("Restart", "One run of an attack from another random start. Chance rarely leads two of them to one picture."),
    Term("Agreement", "How alike the guesses of independent restarts are: 1 is the same picture, 0 unrelated."),
)
