"""What redaction must know about the fields of a report. Public names: `Role`, `ImageId`, `PerImage`, and the marks.

A field of the schema carries its mark in its annotation, e.g. `id: Annotated[str, OF_MEMBER]`, so that redaction finds
it wherever it stands.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

Role = Literal["member", "control"]


@dataclass(frozen=True, slots=True)
class ImageId:
    """Marks a text that names one of the auditor's images."""

    role: Callable[[Any], Role]
    """Which of the two samples the image is in, from the part of the report that the field belongs to."""


@dataclass(frozen=True, slots=True)
class PerImage:
    """Marks a number, or numbers, of single images: whoever holds the image and the model computes it again."""


def _other(role: Role) -> Role:
    return "control" if role == "member" else "member"


OF_MEMBER: Final = ImageId(lambda part: "member")
OF_CONTROL: Final = ImageId(lambda part: "control")
OF_ITS_ROLE: Final = ImageId(lambda part: part.role)
OF_ITS_ORIGINAL: Final = ImageId(lambda part: part.role if part.why == "repeat" else _other(part.role))
PER_IMAGE: Final = PerImage()
