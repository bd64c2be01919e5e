"""The Markdown section of a card, between two HTML comments that its reader does not see.

Public names: `render`, `find`, `put`, `take`, `BEGIN`, `END`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from auditcli.errors import UsageError
from auditcli.report.card import _front
from auditcli.report.card._pictures import Row
from auditcli.report.schema import Report
from auditcli.report.template import fill_markdown

BEGIN = "<!-- privaudit:begin -->"
END = "<!-- privaudit:end -->"
ANY_MARKER = re.compile(r"[ \t]*<!--\s*privaudit:")
MARKER = re.compile(r"[ \t]*(?P<marker><!--\s*privaudit:(?P<which>begin|end)\s*-->)[ \t]*(?:\r\n?|\n)?")
LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")


class Section(NamedTuple):
    """Where the section stands in a card: `text[start:stop]`, both markers included."""

    start: int
    stop: int


def render(report: Report, rows: Sequence[Row] = ()) -> str:
    """The section with its markers and one line break at the end.

    Args:
        report: What it says.
        rows: The pictures it shows, none unless given.
    """
    return fill_markdown("card.md.j2", report, begin=Markup(BEGIN), end=Markup(END), rows=rows)  # noqa: S704  our own


def put(text: str, rendered: str) -> str:
    """A card with its section replaced, or added at the end where it has none. Doing it twice changes nothing.

    Args:
        text: The card with the line ends it has; the section takes those of the card.
        rendered: The section, as `render` gives it.

    Raises:
        UsageError: markers that are damaged, in the wrong order or there twice, or a card that ends inside code.
    """
    section = find(text)
    before, after = (text, "") if section is None else (text[: section.start], text[section.stop :])
    newline = _front.line_end(before + after)
    rendered = rendered.rstrip("\n").replace("\n", newline)
    if section is not None:
        return before + rendered + after
    opening = before + _gap(before, newline)
    added = opening + rendered + (newline if not before or before.endswith("\n") else "")
    if find(added) != Section(len(opening), len(opening) + len(rendered)):
        raise UsageError(
            "the privacy section cannot be added to the card: the card ends inside a block of code",
            hint="close the code block (``` or ~~~), and run privaudit card again",
        )
    return added


def take(text: str) -> str:
    """A card without its section; one that `put` added is gone to the byte."""
    section = find(text)
    if section is None:
        return text
    newline = "\r\n" if "\r\n" in text[section.start : section.stop] else "\n"
    before, after = text[: section.start], text[section.stop :]
    if after:
        after = after.removeprefix(newline)
        return (before.removesuffix(newline) if before.endswith("\n" + newline) else before) + after
    return before.removesuffix(2 * newline)


def find(text: str) -> Section | None:
    """Where the section stands. A marker counts alone on its line, outside of code and of the front matter.

    Raises:
        UsageError: damaged markers.
    """
    markers = list(_markers(text))
    if None in markers:
        raise _damaged("one of its privaudit markers is not closed or misspelt")
    found = [marker for marker in markers if marker]
    match [marker["which"] for marker in found]:
        case []:
            return None
        case ["begin", "end"]:
            return Section(found[0].start("marker"), found[1].end("marker"))
        case ["end", "begin"]:
            raise _damaged("the end marker stands before the begin marker")
        case [only]:
            raise _damaged(f"it has only a privaudit:{only} marker")
        case _:
            raise _damaged("its privaudit markers are there more than once")


def _markers(text: str) -> Iterator[re.Match[str] | None]:
    """The markers in their order; None for a line that only begins like one."""
    if "privaudit:" not in text:
        return
    front = _front.find(text)
    start = front.end if front else 0
    code = _code_lines(text[start:])
    for number, line in enumerate(LINE.finditer(text, start)):
        if number not in code and ANY_MARKER.match(line[0]):
            whole = MARKER.match(text, line.start())
            yield whole if whole and whole.end() == line.end() else None


def _code_lines(body: str) -> set[int]:
    """The numbers of the lines that are shown as code, from 0."""
    from markdown_it import MarkdownIt  # what renders a report has no use for it, and would wait

    tokens = MarkdownIt("commonmark").disable("inline").parse(body)
    blocks = [token.map for token in tokens if token.type in {"fence", "code_block"} and token.map]
    return {line for block in blocks for line in range(*block)}


def _damaged(what: str) -> UsageError:
    return UsageError(
        f"the privacy section of the card cannot be found: {what}",
        hint=f"leave one pair of markers, {BEGIN} and {END}, each on a line of its own, or none",
    )


def _gap(text: str, newline: str) -> str:
    """What stands between the card and a section added to it: one empty line, and the line end it may lack.

    A card without a last line end keeps none: `take` tells by that how much was added.
    """
    if not text:
        return ""
    return newline if text.endswith("\n") else 2 * newline
