"""The pictures of one reconstruction, or what stands in their place. Public names: `Tile`, `tiles`."""

from dataclasses import dataclass

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
