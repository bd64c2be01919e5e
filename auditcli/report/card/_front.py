"""Where the YAML at the top of a card stands, as the Hub sees it.

Public names: `Front`, `find`, `names`, `is_open`, `line_end`.
"""

import re
from typing import NamedTuple

BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
FRONT = re.compile(rf"{BOM}?\s*---(?:\r\n|\r(?!\n)|\n)(?P<yaml>[\S\s]*?(?:\r\n|\r|\n))---[ \t]*(?:\r\n|\n|\Z)")
"""The expression of the Hub and of huggingface_hub, but that no Windows line end is torn in two.

The mark of the byte order is taken away before the card gets there.
"""
OPEN = re.compile(rf"{BOM}?\s*---[ \t]*(?:[\r\n]|\Z)")


class Front(NamedTuple):
    """The front matter of a card: `text[start:stop]` is its YAML with the last line end, the body starts at `end`."""

    start: int
    stop: int
    end: int
    newline: str
    """The line end of its first line."""


def find(text: str) -> Front | None:
    """The front matter of a card, None where it has none that the Hub would read."""
    match = FRONT.match(text)
    if match is None or match["yaml"].startswith("---"):
        return None
    newline = "\r\n" if text[: match.start("yaml")].endswith("\r\n") else "\n"
    return Front(match.start("yaml"), match.end("yaml"), match.end(), newline)


def names(text: str, source: str) -> bool:
    """Whether the front matter of a card looks as if it had a result from that source; needs no YAML."""
    front = find(text)
    return front is not None and re.search(rf"\bname:\s*[\"']?{source}\b", text[front.start : front.stop]) is not None


def is_open(text: str) -> bool:
    """Whether a card without front matter begins like one that has it."""
    return OPEN.match(text) is not None


def line_end(text: str) -> str:
    r"""The line end most lines of a text have, `\n` where it has none."""
    windows = text.count("\r\n")
    return "\r\n" if windows > text.count("\n") - windows else "\n"
