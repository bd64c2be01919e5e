"""The Markdown view: one page, GitHub flavoured, pictures as relative links. Public name: `render`."""

from auditcli.report.gallery import tiles
from auditcli.report.schema import Report
from auditcli.report.template import fill_markdown


def render(report: Report) -> str:
    """The report as Markdown, to lie beside its `gallery/`."""
    return fill_markdown("report.md.j2", report, tiles=tiles)
