"""The closed set of report formats. Public names: `FORMATS`, `render`.

A format is one file with one function from `Report` to `str`; its line here makes it known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from auditcli.errors import UsageError
from auditcli.report import card, html, markdown
from auditcli.report.schema import Report


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write a report."""

    file: str
    """Its name in the output folder."""
    render: Callable[[Report], str]


FORMATS = MappingProxyType(
    {
        "json": Format("report.json", Report.to_json),
        "html": Format("report.html", html.render),
        "md": Format("report.md", markdown.render),
        "card": Format("card.md", card.render),
    }
)


def find(name: str) -> Format:
    """The format of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in FORMATS:
        raise UsageError(f"unknown report format {name!r}", hint=f"use --format {'|'.join(FORMATS)}")
    return FORMATS[name]


def render(report: Report, format: str) -> str:
    """The whole text of a report in one format.

    Args:
        report: With its pictures at hand (`read`, `Report.with_pictures`) where the format embeds them.
        format: A key of `FORMATS`.

    Raises:
        UsageError: an unknown format.
    """
    return find(format).render(report)
