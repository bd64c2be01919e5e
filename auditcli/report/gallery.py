"""The reconstructions as a page shows them: their pictures or what stands in their place, and how they can be sorted.

Public names: `Tile`, `tiles`, `Exhibit`, `Choice`, `exhibits`, `orders`, `choices`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from auditcli.report import number
from auditcli.report.schema import GalleryItem, Picture, Report
from auditcli.report.wording import LEFT_OUT, NOT_EMBEDDED


@dataclass(frozen=True, slots=True)
class Tile:
    """One place in the gallery."""

    title: str
    picture: Picture | None
    """Only where its bytes are at hand."""
    note: str
    """What stands under it."""
    absent: str
    """Why there is no picture; else empty."""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One reconstruction among the others."""

    item: GalleryItem
    tiles: tuple[Tile, ...]
    recovered: bool
    """Whether the training image it shows was called recovered, one by one."""
    groups: tuple[str, ...]
    """Keys of the choices it is among; never a string of the report."""
    places: tuple[tuple[str, int], ...]
    """Its place by each order of `orders`."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Something a reader may choose out of a list."""

    key: str
    name: str
    count: int = 0


FIRST = 12
"""Reconstructions shown before a reader asks for more."""
Sort = Callable[[GalleryItem], tuple[object, ...]]
_ORDERS = MappingProxyType[str, tuple[str, Sort]](
    {
        "rank": ("rank", lambda item: (item.rank,)),
        "ssim": ("SSIM, highest first", lambda item: (-(item.ssim or 0.0), item.rank)),
        "agreement": ("agreement, highest first", lambda item: (-(item.agreement or 0.0), item.rank)),
        "class": ("class", lambda item: (item.label, item.rank)),
    }
)
"""By what reconstructions can be sorted: a name, and what is compared."""


def exhibits(report: Report) -> tuple[Exhibit, ...]:
    """All reconstructions by rank, each with the groups it is in and its places in the orders."""
    places = {
        key: {id(item): at for at, item in enumerate(sorted(report.gallery, key=sort))}
        for key, (_, sort) in _ORDERS.items()
    }
    leaked = {member.id for member in report.members if member.leaked}
    attacks, labels = _distinct(report)
    shown = []
    for at, item in enumerate(report.gallery):
        recovered = item.member_id in leaked
        groups = [f"attack-{attacks.index(item.attack)}", f"class-{labels.index(item.label)}"]
        groups += ["first"] * (at < FIRST) + ["recovered"] * recovered
        order = tuple((key, places[key][id(item)]) for key in _ORDERS)
        shown.append(Exhibit(item, tiles(report, item), recovered, tuple(groups), order))
    return tuple(shown)


def orders(report: Report) -> tuple[Choice, ...]:
    """By what the reconstructions of this report can be sorted; by rank first, as they are."""
    known = {
        "rank": True,
        "ssim": any(item.ssim is not None for item in report.gallery),
        "agreement": any(item.agreement is not None for item in report.gallery),
        "class": len(_distinct(report)[1]) > 1,
    }
    return tuple(Choice(key, name) for key, (name, _) in _ORDERS.items() if known[key])


def choices(shown: Sequence[Exhibit]) -> tuple[Choice, ...]:
    """The groups a reader can look at alone, the one shown at first first; each holds something, and not everything."""
    names = {"first": "first by rank", "recovered": "recovered"}
    for exhibit in shown:
        attack, label = exhibit.groups[:2]
        names |= {attack: f"attack {exhibit.item.attack}", label: exhibit.item.label}
    counts = {key: sum(key in exhibit.groups for exhibit in shown) for key in names}
    kept = [Choice(key, name, counts[key]) for key, name in names.items() if 0 < counts[key] < len(shown)]
    return tuple(sorted([*kept, Choice("all", "all", len(shown))], key=_position))


def _position(choice: Choice) -> tuple[int, str]:
    """The first twelve, all, the recovered, then attacks, then classes by name."""
    kind = ("first", "all", "recovered", "attack", "class").index(choice.key.partition("-")[0])
    return kind, choice.name


def _distinct(report: Report) -> tuple[list[str], list[str]]:
    """The attacks and the labels of the gallery, each once, in its order."""
    return (
        list(dict.fromkeys(item.attack for item in report.gallery)),
        list(dict.fromkeys(item.label for item in report.gallery)),
    )


def tiles(report: Report, item: GalleryItem) -> tuple[Tile, ...]:
    """The reconstruction, then the training image and the control it was compared with, as far as there were any."""
    shown = [_tile(report, "Reconstruction", item.reconstruction, item.attack, LEFT_OUT)]
    if item.member_id is not None:
        shown.append(_tile(report, "Training image", item.member, _compared(item.member_id, item.ssim)))
    if item.control_id is not None:
        shown.append(_tile(report, "Nearest control", item.control, _compared(item.control_id, item.control_ssim)))
    return tuple(shown)


def _compared(name: str, ssim: float | None) -> str:
    return f"{name}, SSIM {number.score(ssim)}"


def _tile(report: Report, title: str, picture: Picture | None, note: str, absent: str = NOT_EMBEDDED) -> Tile:
    if picture is None:
        return Tile(title, None, note, absent)
    if picture.file not in report.pictures:
        return Tile(title, None, note, f"left out: {picture.file} is missing beside the report, or was altered")
    return Tile(title, picture, note, "")
