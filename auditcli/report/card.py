"""The privacy section of a Hugging Face model card. Public names: `render`, `refresh`.

The section stands between two HTML comments, which a reader of the card does not see.
"""

import re
from typing import NamedTuple

from markupsafe import Markup

from auditcli.errors import UsageError
from auditcli.report.schema import Report
from auditcli.report.template import fill_markdown

BEGIN = "<!-- privaudit:begin -->"
END = "<!-- privaudit:end -->"
ANY_MARKER = re.compile(r"<!--\s*privaudit:")
MARKER = re.compile(r"<!--\s*privaudit:(begin|end)\s*-->")


class Section(NamedTuple):
    """Where the section stands in a card: `text[start:stop]`, both markers included."""

    start: int
    stop: int


def render(report: Report) -> str:
    """The section with its markers and one line break at the end."""
    return fill_markdown("card.md.j2", report, begin=Markup(BEGIN), end=Markup(END))  # noqa: S704  our own comments


def refresh(text: str, report: Report) -> str:
    """A model card with its privacy section replaced, or added at the end where it has none.

    Doing it twice changes nothing, so a card is stale exactly where `refresh(text, report) != text`.

    Args:
        text: The card, read with `newline=""`: line ends are kept, and the section takes those of the card.
        report: What the section is to say.

    Raises:
        UsageError: markers that are damaged, in the wrong order or there twice.
    """
    section = _find(text)
    before, after = (text, "") if section is None else (text[: section.start], text[section.stop :])
    newline = _line_end(before + after)
    rendered = render(report).rstrip("\n").replace("\n", newline)
    if section is None:
        return before + _gap(before, newline) + rendered + newline
    return before + rendered + after


def _find(text: str) -> Section | None:
    markers = list(MARKER.finditer(text))
    if len(markers) != len(ANY_MARKER.findall(text)):
        raise _damaged("one of its privaudit markers is not closed or misspelt")
    match [marker[1] for marker in markers]:
        case []:
            return None
        case ["begin", "end"]:
            return Section(markers[0].start(), markers[1].end())
        case ["end", "begin"]:
            raise _damaged("the end marker stands before the begin marker")
        case [only]:
            raise _damaged(f"it has only a privaudit:{only} marker")
        case _:
            raise _damaged("its privaudit markers are there more than once")


def _damaged(what: str) -> UsageError:
    return UsageError(
        f"the privacy section of the card cannot be found: {what}",
        hint=f"leave one pair of markers, {BEGIN} and {END}, or none, and run privaudit card again",
    )


def _line_end(text: str) -> str:
    r"""The line end most lines of the card have, `\n` where it has none."""
    windows = text.count("\r\n")
    return "\r\n" if windows > text.count("\n") - windows else "\n"


def _gap(text: str, newline: str) -> str:
    """What keeps an empty line between the card and the section."""
    if not text:
        return ""
    if not text.endswith("\n"):
        return 2 * newline
    return "" if text.endswith(("\n\n", "\n\r\n")) else newline
