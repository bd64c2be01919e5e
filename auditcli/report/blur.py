"""Pictures that show roughly what was found and not whom. Public names: `blurred`, `BLOCKS`, `LEVELS`.

Chosen by `benchmarks/blur.py`: see docs/redaction.md for what is still to be told from so few blocks.
"""

from io import BytesIO

BLOCKS = 4
"""A side of a blurred picture has at most so many blocks ..."""
LEVELS = 3
"""... each of them one of so many greys."""
LEAST_BLOCK = 4
"""A block covers at least so many pixels a side: small pictures have fewer blocks."""
MOST_PIXELS = 2**25
"""Nothing larger is decoded."""


def blurred(png: bytes) -> bytes | None:
    """A picture of the same size made of at most `BLOCKS` x `BLOCKS` grey squares of `LEVELS` levels.

    Nothing of the file is taken over but the mean brightness of each square.

    Args:
        png: A PNG, perhaps of a stranger.

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
    blocks = [max(1, min(BLOCKS, side // LEAST_BLOCK)) for side in (width, height)]
    means = grey.resize((blocks[0], blocks[1]), Image.Resampling.BOX)
    levels = means.point([round(round(value / 255 * (LEVELS - 1)) * 255 / (LEVELS - 1)) for value in range(256)])
    stream = BytesIO()
    levels.resize((width, height), Image.Resampling.NEAREST).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
