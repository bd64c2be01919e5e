"""The JSON of an explanation; `Explanation` is its root. It is no report: it holds no verdict and no finding.

Its pictures were all made from the model, and stand in it as PNG in base64; the auditor's images do not.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from pydantic import Field

from auditcli.report.schema import Interval, Model, Part

EXPLANATION_VERSION: Final = "1.0"

Status = Literal["done", "skipped", "failed"]


class Place(Part):
    """A square of the image, in pixels."""

    row: int = Field(description="Of its upper left pixel, from 0.")
    column: int
    side: int


class Shortcut(Part):
    """A class, and the place that most decides about it."""

    label: int
    name: str = Field(description="The class as the file names it, else its number.")
    place: Place
    score: float = Field(description="How far the class is concentrated there, against this model's other places.")
    share: float = Field(description="Of the evidence in its inverted images that sits there.")
    turned: float = Field(description="Share of inverted images of other classes that get this class with its square.")
    turned_elsewhere: float = Field(description="The same with squares at random other places, on average.")


class Intervention(Part):
    """One change of the auditor's images at one place, and what the model then answers."""

    what: Literal["unchanged", "masked", "moved", "swapped"]
    place: Place | None = Field(description="Null for the unchanged images.")
    right: Interval = Field(description="Share of images with their label, or without labels with the answer before.")
    elsewhere: Interval | None = Field(description="The same where random other places are changed.")
    followed: Interval | None = Field(description="`swapped`: share that get the class the square was taken from.")
    followed_elsewhere: Interval | None
    n: int


class Evidence(Part):
    """What one class is recognised by."""

    label: int
    name: str
    confidence: float = Field(description="Mean probability of the class on its inverted images.")
    image: str = Field(description="One inverted image; PNG in base64.")
    evidence: str = Field(description="Where the evidence in its inverted images sits; PNG in base64.")
    dependence: str = Field(description="Where a square set into neutral images moves the class; PNG in base64.")
    dependence_frame: tuple[float, float, float, float] = Field(
        description="Left, top, width and height of that picture on the image, in pixels."
    )


class ShortcutPart(Part):
    """Does the model lean on one place of the image?"""

    status: Status
    reason: str = Field(description="Why it was not done; else empty.")
    seconds: float
    found: bool | None = Field(description="Null where it was not done.")
    score: float | None = Field(description="The highest of a class.")
    threshold: float
    side: int | None = Field(description="Of the square, in pixels.")
    backgrounds: int = Field(description="Neutral images that squares were set into.")
    shortcuts: tuple[Shortcut, ...] = Field(description="Classes at or over the threshold, the highest score first.")
    nearest: Shortcut | None = Field(description="The class of the highest score, over the threshold or not.")
    classes: tuple[Evidence, ...]
    interventions: tuple[Intervention, ...] = Field(description="Empty without images, or where no place was named.")
    labelled: bool = Field(description="Whether the images came with labels.")


class GalleryClass(Part):
    """Images that a generator makes of one class."""

    label: int
    name: str
    confidence: float = Field(description="Mean probability of the class on all images generated for it.")
    images: str = Field(description="Some of them side by side; PNG in base64.")
    n: int = Field(description="How many are shown.")


class GalleryPart(Part):
    """What the model takes for its classes."""

    status: Status
    reason: str
    seconds: float
    steps: int
    planned: int = Field(description="Steps the training was to have; fewer where the budget ended it.")
    agreement: float | None = Field(description="Share of generated images that the model puts into their class.")
    classes: tuple[GalleryClass, ...]


class NoveltyImage(Part):
    """One image of the auditor, by the start of the sha256 of its pixels."""

    id: str
    score: float = Field(description="Log-odds of the garbage class; higher = less like what the model knows.")
    doubt: float = Field(description="1 minus the largest softmax probability of the model itself, for comparison.")
    p_value: float | None = Field(description="Rank among reference images held back; null without such.")


class NoveltyPart(Part):
    """How far images are from what the model knows."""

    status: Status
    reason: str
    seconds: float
    steps: int
    known_by: Literal["reference", "generated", ""] = Field(description="What stood for images of the kind.")
    n_known: int
    n_held_back: int = Field(description="Reference images that only calibrate.")
    images: tuple[NoveltyImage, ...] = Field(description="The least like it first.")


class Explanation(Part):
    """What a model looks for: galleries, places it leans on, and how far images are from what it knows."""

    explanation_version: Literal["1.0"] = EXPLANATION_VERSION
    model: Model
    seconds: float = Field(description="Ceiling for the whole.")
    seconds_used: float
    device: str
    seed: int
    privaudit: str
    finished: datetime
    command: str
    shortcut: ShortcutPart
    gallery: GalleryPart
    novelty: NoveltyPart

    def to_json(self) -> str:
        """Fields in the order of the schema, UTF-8, one line break at the end."""
        return self.model_dump_json(indent=2) + "\n"
