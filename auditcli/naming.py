"""Which id stands for which of the auditor's images. Public names: `aliases_of`, `by_id`, `looked_up`, `Found`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from auditcli.comparability import without
from auditcli.errors import UsageError
from auditcli.images import read_sample
from auditcli.report.names import Aliases, of_images
from auditcli.report.redaction import named_images

if TYPE_CHECKING:
    from auditcli.report.marks import Role
    from auditcli.report.schema import LeftOut, Report
    from auditcli.types import Sample


@dataclass(frozen=True, slots=True)
class Found:
    """What the images of one sample say about the ids of a report."""

    role: Role
    names: Mapping[str, str]
    """File names by id, in the order of the ids."""
    asked: frozenset[str]
    """The ids that the report has."""
    sha256: str
    """Of the sample, without what the audit left out."""
    expected: str
    """What the report says it is; empty where it was made without such images."""

    @property
    def matches(self) -> bool:
        """Whether the sample is the report's to the byte."""
        return self.sha256 == self.expected

    @property
    def problem(self) -> str:
        """Why these names are not behind the ids of the report, in a sentence; empty where they are."""
        known = self.asked <= set(self.names)
        if not self.expected:
            return f"the report was made without {self.role}s"
        if known and (self.matches or self.asked):
            return ""
        if self.matches:
            return f"the ids of the {self.role}s were given at random by `privaudit render`: no image tells them"
        return (
            f"these {self.role}s are not those of the report: their sha256 is {self.sha256[:12]}..., and the report "
            f"has {self.expected[:12]}...; or `privaudit render` gave it its ids at random"
        )


def aliases_of(members: Sample | None, controls: Sample | None) -> Aliases:
    """What gives the images of each sample their ids; nothing where there is no sample."""
    given: tuple[tuple[Role, Sample | None], ...] = (("member", members), ("control", controls))
    return {role: of_images(role, sample.hashes, sample.ids) for role, sample in given if sample is not None}


def by_id(role: Role, sample: Sample | None, aliases: Aliases) -> Sample | None:
    """The sample in the order of its ids: the place of an image in a report tells nothing about its name."""
    if sample is None:
        return None
    order = sorted(range(len(sample)), key=[aliases[role](name) for name in sample.ids].__getitem__)
    return replace(
        sample,
        images=sample.images[order],
        ids=tuple(sample.ids[index] for index in order),
        hashes=tuple(sample.hashes[index] for index in order),
        labels=None if sample.labels is None else sample.labels[order],
    )


def looked_up(report: Report, members: Path | None, controls: Path | None) -> tuple[Found, ...]:
    """The file names behind the ids of a report, from the images it was made of.

    Args:
        report: With names hashed.
        members: Training images, as the audit was given them, or None.
        controls: Hold-out images, likewise.

    Raises:
        UsageError: no images, or a report whose names are shown.
        SampleError: images that cannot be read, or do not have the shape the model takes.
    """
    if report.redaction.names == "shown":
        raise UsageError("this report shows the names of its files", hint="read them in report.json")
    if members is None and controls is None:
        raise UsageError(
            "the ids of a report are made of its images, and none were given", hint="--members PATH --controls PATH"
        )
    given: tuple[tuple[Role, Path | None], ...] = (("member", members), ("control", controls))
    return tuple(_found(report, role, path) for role, path in given if path is not None)


def _found(report: Report, role: Role, path: Path) -> Found:
    sample = read_sample(path, report.model.input_shape, report.model.labels, role=f"{role}s")
    alias = of_images(role, sample.hashes, sample.ids)
    names = dict(sorted((alias(name), name) for name in sample.ids))
    gone = {names[image.id] for image in _left_out(report) if image.role == role and image.id in names}
    return Found(
        role=role,
        names=names,
        asked=frozenset(id for of, id in named_images(report) if of == role),
        sha256=without(sample, gone).sha256,
        expected=next((file.sha256 for file in report.manifest.files if file.role == f"{role}s"), ""),
    )


def _left_out(report: Report) -> Iterable[LeftOut]:
    return report.comparability.left_out if report.comparability is not None else ()
