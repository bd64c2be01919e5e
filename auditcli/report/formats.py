"""The closed set of report formats. Public names: `FORMATS`, `RULED`, `render`.

A format is one file with one function from `Report` to `str`; its line here makes it known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from auditcli.errors import UsageError
from auditcli.report import card, checklist, github, html, junit, markdown, sarif, step_summary
from auditcli.report.findings import Finding
from auditcli.report.schema import Report


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write a report."""

    file: str
    """Its name in the output folder."""
    render: Callable[[Report], str]


class Ruled(Protocol):
    """A view that shows findings one by one, and so what a policy made of them."""

    def __call__(self, report: Report, found: Sequence[Finding] | None = None) -> str:
        """The text; `found` as a policy left them, None for those of the report."""


RULED: Mapping[str, Ruled] = MappingProxyType(
    {
        "checklist": checklist.render,
        "summary": step_summary.render,
        "sarif": sarif.render,
        "junit": junit.render,
        "github": github.render,
    }
)
"""The renderers that a policy hands its findings to, by the name of their format."""

FORMATS = MappingProxyType(
    {
        "json": Format("report.json", Report.to_json),
        "html": Format("report.html", html.render),
        "md": Format("report.md", markdown.render),
        "card": Format("card.md", card.render),
        "checklist": Format("checklist.md", RULED["checklist"]),
        "summary": Format("summary.md", RULED["summary"]),
        "sarif": Format("report.sarif", RULED["sarif"]),
        "junit": Format("junit.xml", RULED["junit"]),
        "github": Format("annotations.txt", RULED["github"]),
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
