"""The words of the report: what each level, each status and each technical term means to the person who signs.

Public names: `LEVELS`, `SCALE`, `STATUSES`, `ENDS`, `GLOSSARY`, `NOT_EMBEDDED`, `LEFT_OUT`.
"""

from types import MappingProxyType
from typing import NamedTuple

from auditcli.report.schema import LevelName


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
        "SSIM",
        "Structural similarity of two images: 1 is identical, about 0 unrelated. "
        "Blurry averages can score high against anything, so it is never read without controls.",
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
    Term("Agreement", "How alike the guesses of independent restarts are: 1 is the same picture, 0 unrelated."),
)
