"""The pictures of a report beside a model card. Public names: `Row`, `Shown`, `rows`, `Change`, `change`.

A picture carries the start of its own sha256 in its name. That tells a picture of ours from any other file, so an
earlier gallery can be taken away, and nothing else is.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from auditcli.errors import UsageError
from auditcli.report.file import replace
from auditcli.report.schema import GalleryItem, Picture, Report
from auditcli.report.text import clean

NAME = re.compile(r"(?:reconstruction|member|control)-\d{3,}-(?P<hash>[0-9a-f]{12})\.png")
SOURCE = re.compile(rf'src="(?P<folder>[^"]+)/{NAME.pattern}"')


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture as the section shows it."""

    file: str
    """Path relative to the card, with `/`."""
    alt: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """One reconstruction, and what it was compared with where the auditor's images may be shown."""

    item: GalleryItem
    reconstruction: Shown
    originals: tuple[Shown | None, ...] = ()
    """The training image and the control; empty where none may be shown."""


@dataclass(frozen=True, slots=True)
class Change:
    """What has to be done to the files beside a card."""

    written: Mapping[Path, bytes]
    outdated: tuple[Path, ...]
    """Pictures of an earlier gallery of ours."""

    def __bool__(self) -> bool:
        return bool(self.written or self.outdated)

    def write(self) -> None:
        """Writes what is missing, each file whole or not at all.

        Raises:
            UsageError: a folder that cannot be written to.
        """
        for path, content in self.written.items():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace(path, content)
            except OSError as error:
                raise _unusable(path.parent.name, f"cannot be written to: {error.strerror}") from error

    def clear(self) -> None:
        """Takes the outdated pictures away, and a folder that held nothing else.

        Raises:
            UsageError: a folder that cannot be written to.
        """
        for path in self.outdated:
            try:
                path.unlink(missing_ok=True)
                if not any(path.parent.iterdir()):
                    path.parent.rmdir()
            except OSError as error:
                raise _unusable(path.parent.name, f"cannot be cleared: {error.strerror}") from error


def rows(report: Report, directory: str, *, originals: bool) -> tuple[Row, ...]:
    """The reconstructions of a report whose pictures are at hand, in its order.

    Args:
        report: With its pictures at hand.
        directory: Where they are to lie, relative to the card.
        originals: Whether members and controls are shown too: they are the auditor's images.
    """

    def shown(picture: Picture | None, kind: str, rank: int, alt: str) -> Shown | None:
        if picture is None or picture.file not in report.pictures:
            return None
        file = PurePosixPath(directory) / f"{kind}-{rank:03d}-{picture.sha256[:12]}.png"
        return Shown(str(file), alt, report.pictures[picture.file])

    def row(item: GalleryItem) -> Row | None:
        rank = item.rank
        found = shown(item.reconstruction, "reconstruction", rank, f"Reconstruction {rank}, {item.label}")
        if found is None:
            return None
        member = shown(item.member, "member", rank, f"Training image that resembles reconstruction {rank}")
        control = shown(item.control, "control", rank, f"Nearest control of reconstruction {rank}")
        return Row(item, found, (member, control) if originals else ())

    return tuple(found for item in report.gallery if (found := row(item)) is not None)


def change(home: Path, directory: str | None, shown: Iterable[Row], section: str) -> Change:
    """What has to be done so that exactly the pictures shown lie beside the card.

    Args:
        home: The folder of the card.
        directory: The folder of the pictures, relative to it; None where none is to be there.
        shown: What the section is to show.
        section: The section as it stands; it tells where an earlier gallery lies.

    Raises:
        UsageError: a folder that is not below that of the card, or that is reached through a link.
    """
    wanted = {home / picture.file: picture.content for row in shown for picture in _pictures(row)}
    earlier = {unquote(match["folder"]) for match in SOURCE.finditer(section)}
    places = {_below(home, name) for name in earlier if _is_below(home, name)}
    if directory is not None:
        places.add(_below(home, directory))
    kept = {path for place in places for path in _ours(place)}
    return Change(
        {path: content for path, content in wanted.items() if path not in kept},
        tuple(sorted(kept - set(wanted))),
    )


def _pictures(row: Row) -> tuple[Shown, ...]:
    return tuple(picture for picture in (row.reconstruction, *row.originals) if picture is not None)


def _ours(place: Path) -> set[Path]:
    """The pictures in a folder whose name tells their sha256."""
    if not place.is_dir():
        return set()
    named = ((path, NAME.fullmatch(path.name)) for path in place.iterdir())
    return {path for path, match in named if match and _hash(path) == match["hash"]}


def _hash(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        return ""
    return sha256(path.read_bytes()).hexdigest()[:12]


def _is_below(home: Path, name: str) -> bool:
    try:
        _below(home, name)
    except UsageError:
        return False
    return True


def _below(home: Path, name: str) -> Path:
    """The folder of that name below the card's folder.

    Raises:
        UsageError: another name, or a link or a file in the way.
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise _unusable(name, "is not a folder below that of the card")
    if clean(name) != name or "\\" in name or ":" in name:
        raise _unusable(name, "has a name that does not work on every machine")
    place = home
    for part in path.parts:
        place = place / part
        if place.is_symlink():
            raise _unusable(name, "is reached through a link, which could lead elsewhere")
        if place.exists() and not place.is_dir():
            raise _unusable(name, "is a file")
    return place


def _unusable(name: str, why: str) -> UsageError:
    return UsageError(f"the folder {clean(name)!r} of the gallery {why}", hint="give a name, e.g. --gallery privaudit")
