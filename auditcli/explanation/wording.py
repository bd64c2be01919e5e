"""Sentences of an explanation. Public names: `NO_VERDICT`, `shortcut_sentence`, `gallery_sentence`, `novelty_sentence`.

Names of classes come from a file of strangers: what prints these sentences escapes them.
"""

from __future__ import annotations

from typing import Final

from auditcli.explanation.schema import Explanation, GalleryPart, NoveltyPart, Place, Shortcut, ShortcutPart
from auditcli.report import number

NO_VERDICT: Final = (
    "This is no verdict. It shows what the model reacts to, as far as it was looked for; it says nothing about leaked "
    "training images, and where nothing was found there may still be something."
)
NOTES: Final = (
    "An inverted or generated image is what the model answers to, not what it was trained on. It need not look like "
    "the class: networks take patterns for a class that no person would.",
    "A shortcut is named where one square decides about a class far more than the model's other places do. Shortcuts "
    "of another kind (a texture, a colour, a background, a mark that moves) are not looked for.",
    "Whether a named place is a shortcut or the very thing the class is about, only images and knowledge of them can "
    "tell: change the place in real images, with --images.",
    "The out-of-distribution score compares images with each other. It is no probability.",
)
CHANGES: Final = {
    "unchanged": "Unchanged",
    "masked": "Masked",
    "moved": "Moved within the image",
    "swapped": "Swapped with an image of another class",
}


def shortcut_sentence(part: ShortcutPart) -> str:
    """What was found about places."""
    if part.status != "done" or part.score is None or part.nearest is None:
        return f"Shortcut: {undone(part.status)}. {sentence(part.reason)}"
    if not part.shortcuts:
        return f"No place stands out: the highest score is {part.score:.2f}, and a shortcut takes {part.threshold:g}."
    first = part.shortcuts[0]
    many = len(part.shortcuts)
    classes = f"{many} classes each hang" if many > 1 else "One class hangs"
    return (
        f"{classes} on one place of the image. The strongest is {first.name}: {where(first.place)} "
        f"(score {first.score:.2f}, threshold {part.threshold:g})."
    )


def gallery_sentence(part: GalleryPart) -> str:
    """How well the generator did."""
    if part.status != "done" or part.agreement is None:
        return f"Galleries: {undone(part.status)}. {sentence(part.reason)}"
    cut = "" if part.steps >= part.planned else f", cut short by the budget ({part.planned} were planned)"
    return (
        f"The model puts {number.percent(part.agreement)} of the generated images into the class they were made for, "
        f"after {number.count(part.steps, 'step')} of training{cut}."
    )


def novelty_sentence(part: NoveltyPart) -> str:
    """What the scores rest on."""
    if part.status != "done":
        return f"Out of distribution: {undone(part.status)}. {sentence(part.reason)}"
    images = number.count(len(part.images), "image")
    if part.known_by == "generated":
        return (
            f"{images} scored against generated images alone, which is weak: give images of the kind with --reference."
        )
    far = sum(image.p_value is not None and image.p_value <= 0.05 for image in part.images)
    held = number.count(part.n_held_back, "reference image")
    return f"{images} scored; {far} of them stand out (p of at most 0.05) among {held} held back."


def summary(explanation: Explanation) -> tuple[str, ...]:
    """The three sentences."""
    return (
        shortcut_sentence(explanation.shortcut),
        gallery_sentence(explanation.gallery),
        novelty_sentence(explanation.novelty),
    )


def where(place: Place) -> str:
    """A place in words."""
    last = place.side - 1
    return f"rows {place.row} to {place.row + last}, columns {place.column} to {place.column + last}"


def effect(shortcut: Shortcut) -> str:
    """What its square does to other inverted images."""
    return (
        f"{number.percent(shortcut.turned)} of the inverted images of other classes turn into it with its square, "
        f"{number.percent(shortcut.turned_elsewhere)} with squares elsewhere"
    )


def undone(status: str) -> str:
    """`not done`, with its kind."""
    return "not asked for" if status == "skipped" else "not done"


def sentence(text: str) -> str:
    """A reason with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}." if text and not text.endswith(".") else text
