"""Draws `docs/gallery.png`, the contact sheet at the top of the README, from a report with its pictures.

    privaudit demo --output privaudit-report --fail-on never
    python docs/gallery.py privaudit-report docs/gallery.png

A column is one item of the report's gallery: reconstruction, training image, and the control nearest to the
reconstruction. The columns are the first of the gallery, which has the best matches in front; items whose
reconstruction is already there are left out.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from auditcli.report import Report, read
from auditcli.report.schema import GalleryItem, Picture

_SIDE, _GAP, _LEFT, _HEAD, _FOOT = 96, 12, 150, 34, 30
_INK, _FAINT, _PAPER = (24, 24, 27), (92, 92, 100), (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the sheet."""

    title: str
    part: str
    """Field of `GalleryItem` that holds the picture."""
    ssim: str
    """Field with the similarity that stands under the picture, or empty."""


_ROWS = (
    Row("reconstruction", "reconstruction", ""),
    Row("training image", "member", "ssim"),
    Row("nearest control", "control", "control_ssim"),
)


def chosen(report: Report, columns: int) -> tuple[GalleryItem, ...]:
    """The first items of the gallery that have all three pictures, no reconstruction twice.

    Raises:
        SystemExit: there are none; the report was made without members, without controls or without pictures.
    """
    by_picture: dict[str, GalleryItem] = {}
    for item in report.gallery:
        pictures = (item.reconstruction, item.member, item.control)
        if item.reconstruction and all(picture and picture.file in report.pictures for picture in pictures):
            by_picture.setdefault(item.reconstruction.sha256, item)
    if not by_picture:
        raise SystemExit(
            "no complete item in the gallery; privaudit scan needs --members --controls --include-images "
            "--reconstructions sharp"
        )
    return tuple(by_picture.values())[:columns]


def sheet(report: Report, items: tuple[GalleryItem, ...]) -> Image.Image:
    """The contact sheet, one column an item."""
    size = _LEFT + len(items) * (_SIDE + _GAP), _HEAD + len(_ROWS) * (_SIDE + _FOOT)
    page = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(page)
    title, small = ImageFont.load_default(16), ImageFont.load_default(13)
    for row, line in enumerate(_ROWS):
        top = _HEAD + row * (_SIDE + _FOOT)
        draw.text((_GAP, top + _SIDE // 2), line.title, _INK, title, anchor="lm")
        for column, item in enumerate(items):
            left = _LEFT + column * (_SIDE + _GAP)
            middle = left + _SIDE // 2
            if row == 0:
                draw.text((middle, _HEAD // 2), item.label, _INK, small, anchor="mm")
            page.paste(_pixels(report, getattr(item, line.part)), (left, top))
            draw.rectangle((left, top, left + _SIDE - 1, top + _SIDE - 1), outline=_FAINT)
            if line.ssim:
                text = f"SSIM {getattr(item, line.ssim):.2f}"
                draw.text((middle, top + _SIDE + _FOOT // 2 - 3), text, _FAINT, small, anchor="mm")
    return page


def _pixels(report: Report, picture: Picture) -> Image.Image:
    with Image.open(BytesIO(report.pictures[picture.file])) as image:
        return image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.NEAREST)


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("report", type=Path, help="folder that `privaudit demo` wrote")
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("--columns", type=int, default=8)
    options = parser.parse_args()
    report = read(options.report)
    sheet(report, chosen(report, options.columns)).save(options.picture, optimize=True)


if __name__ == "__main__":
    main()
