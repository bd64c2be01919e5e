"""Takes out of a report what it must not spread. Public names: `wanted`, `redact`, `named_images`, `described`.

A pure function of a report, used before an audit writes anything and by `privaudit render`. It finds by the marks of
the schema (`auditcli.report.marks`) what names an image; sentences that name one are made anew from the fields.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Literal, cast, get_args

from auditcli.errors import UsageError
from auditcli.report.blur import blurred
from auditcli.report.command import without_names
from auditcli.report.marks import ImageId, PerImage, Role
from auditcli.report.names import Aliases, at_random
from auditcli.report.schema import GalleryItem, Part, Picture, Redaction, Report

Shown = Literal["sharp", "blurred", "none"]
STRICTER = ("sharp", "blurred", "left out")
DIGITS = 2
"""Of the figures of a single image beside its id. More would tell whoever holds the model and a picture, from which
both are computed again, that this picture is the one."""


def wanted(
    *, names: bool = False, reconstructions: Shown = "blurred", include_images: bool = False, redact: bool = False
) -> Redaction:
    """What the options of an audit ask for.

    Args:
        names: Show file names instead of ids.
        reconstructions: `sharp`, `blurred` or `none`.
        include_images: Show members and controls.
        redact: Show none of these.

    Raises:
        UsageError: options that contradict each other, or a word that is none of the three.
    """
    if reconstructions not in get_args(Shown):
        raise UsageError(
            f"there is no way to show reconstructions named {reconstructions!r}",
            hint=f"--reconstructions {'|'.join(get_args(Shown))}",
        )
    more = {"--include-images": include_images, "--names": names, "--reconstructions sharp": reconstructions == "sharp"}
    if redact and (asked := [option for option, given in more.items() if given]):
        raise UsageError(f"{asked[0]} and --redact contradict each other", hint="give one of them")
    return Redaction(
        names="shown" if names else "hashed",
        reconstructions="left out" if redact or reconstructions == "none" else reconstructions,
        images=include_images,
    )


def redact(report: Report, limit: Redaction, aliases: Aliases | None = None) -> Report:
    """The report without what `limit` does not allow; what it lacks already stays away.

    Args:
        report: With its pictures at hand; those that are not cannot be blurred and are left out.
        limit: The most that may be shown.
        aliases: Give the images their ids, by role; random ones unless given, which nobody can make again.

    Returns:
        A report whose ids, figures, sentences and pictures agree with its `redaction`.
    """
    has = report.redaction
    if limit.names == "hashed" and has.names == "shown":
        report = _nameless(report, aliases or _random(report))
    kind = max(has.reconstructions, limit.reconstructions, key=STRICTER.index)
    images = has.images and limit.images
    pictures: dict[str, bytes] = {}
    items = []
    for item in report.gallery:
        shown = {
            "reconstruction": _reconstruction(report, item.reconstruction, kind, pictures),
            "member": _kept(report, item.member, pictures) if images else None,
            "control": _kept(report, item.control, pictures) if images else None,
        }
        items.append(item.model_copy(update=shown))
    redaction = Redaction(
        names="hashed" if "hashed" in (has.names, limit.names) else "shown", reconstructions=kind, images=images
    )
    return report.model_copy(update={"gallery": tuple(items), "redaction": redaction}).with_pictures(pictures)


def named_images(part: Any) -> Iterator[tuple[Role, str]]:
    """Role and name of every image that a report, or a part of it, names."""
    if isinstance(part, tuple):
        for element in part:
            yield from named_images(element)
    elif isinstance(part, Part):
        for field, info in type(part).model_fields.items():
            value = getattr(part, field)
            marks = [mark for mark in info.metadata if isinstance(mark, ImageId)]
            if marks and value is not None:
                yield marks[0].role(part), value
            else:
                yield from named_images(value)


def described(item: GalleryItem) -> GalleryItem:
    """A gallery item whose pictures say in words what they are, by its own fields."""
    words = {
        "reconstruction": f"reconstruction by {item.attack}",
        "member": f"training image {item.member_id}",
        "control": f"control {item.control_id}",
    }
    pictures = {place: getattr(item, place) for place in words}
    return item.model_copy(
        update={
            place: picture and picture.model_copy(update={"alt": words[place]}) for place, picture in pictures.items()
        }
    )


def _nameless(report: Report, aliases: Aliases) -> Report:
    """The report with ids for names, and for figures of single images no more digits than tell nothing."""
    report = cast("Report", _walked(report, lambda role, name: aliases[role](name)))
    compared = report.comparability
    changes: dict[str, object] = {
        "gallery": tuple(described(item) for item in report.gallery),
        "manifest": report.manifest.model_copy(
            update={"command": without_names(report.manifest.command, report.model.path)}
        ),
    }
    if compared is not None:
        # Their order is that of the file names.
        left_out = tuple(sorted(compared.left_out, key=lambda image: image.id, reverse=True))
        changes["comparability"] = compared.model_copy(update={"left_out": left_out})
    return report.model_copy(update=changes)


def _walked(value: Any, rename: Callable[[Role, str], str]) -> Any:
    """`value` with its marked fields changed, at whatever depth; itself where there are none."""
    if isinstance(value, tuple):
        walked = tuple(_walked(element, rename) for element in value)
        return walked if any(new is not old for new, old in zip(walked, value, strict=True)) else value
    if isinstance(value, Part):
        changes = {field: new for field, old, new in _changes(value, rename) if new is not old}
        return value.model_copy(update=changes) if changes else value
    return value


def _changes(part: Part, rename: Callable[[Role, str], str]) -> Iterator[tuple[str, Any, Any]]:
    for field, info in type(part).model_fields.items():
        value = getattr(part, field)
        changed = value if value is None else _walked(value, rename)
        for mark in info.metadata:
            if isinstance(mark, ImageId) and value is not None:
                changed = rename(mark.role(part), value)
            elif isinstance(mark, PerImage):
                changed = _rounded(value)
        yield field, value, changed


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_rounded(element) for element in value)
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _random(report: Report) -> Aliases:
    images = set(named_images(report))
    return {role: at_random(role, {name for of, name in images if of == role}) for role in get_args(Role)}


def _reconstruction(report: Report, picture: Picture | None, kind: str, pictures: dict[str, bytes]) -> Picture | None:
    """A reconstruction as it may be shown; its bytes go into `pictures`."""
    if kind == report.redaction.reconstructions:
        return _kept(report, picture, pictures)
    content = None if picture is None or kind == "left out" else blurred(report.pictures.get(picture.file, b""))
    if picture is None or content is None:
        return None
    pictures[picture.file] = content
    return picture.model_copy(update={"sha256": sha256(content).hexdigest()})


def _kept(report: Report, picture: Picture | None, pictures: dict[str, bytes]) -> Picture | None:
    """A picture as it is, which may lie elsewhere."""
    if picture is not None and picture.file in report.pictures:
        pictures[picture.file] = report.pictures[picture.file]
    return picture
