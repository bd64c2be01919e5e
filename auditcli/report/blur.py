"""Pictures that show roughly what was found and not whom. Public names: `blurred`, `BLOCKS`, `LEVELS`.

Chosen by `benchmarks/blur.py`: see docs/redaction.md for what is still to be told from so few blocks.
"""

from io import BytesIO

BLOCKS = 3
"""A side of a blurred picture has at most so many blocks ..."""
LEVELS = 3
"""... each of them one of so many greys."""
LEAST_BLOCK = 4
"""A block covers at least so many pixels a side: small pictures have fewer blocks."""
MOST_PIXELS = 2**25
"""Nothing larger is decoded."""


def blurred(png: bytes, *, blocks: int = BLOCKS, levels: int = LEVELS) -> bytes | None:
    """A picture of the same size made of a few grey rectangles.

    Nothing of the file is taken over but the mean brightness of each of them, rounded.

    Args:
        png: A PNG, perhaps of a stranger.
        blocks: Rectangles a side at most.
        levels: Greys from black to white, 2 or more.

    Returns:
        A PNG; None where there is nothing to decode, so that the caller shows nothing at all.
    """
    from PIL import Image  # a report is rendered without it

    try:
        with Image.open(BytesIO(png), formats=["PNG"]) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                return None
            grey = picture.convert("L")
    except Exception:  # Pillow raises whatever its parts do.
        return None
    across, down = (max(1, min(blocks, side // LEAST_BLOCK)) for side in (width, height))
    means = grey.resize((across, down), Image.Resampling.BOX)
    rounded = means.point([round(round(value / 255 * (levels - 1)) * 255 / (levels - 1)) for value in range(256)])
    stream = BytesIO()
    rounded.resize((width, height), Image.Resampling.NEAREST).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
