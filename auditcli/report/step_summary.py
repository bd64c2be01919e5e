"""The page of a GitHub Actions step: short Markdown without pictures. Public name: `render`.

GitHub shows nothing of a page above 1 MiB, so that rows are counted and texts cut, whatever a report says.
"""

from collections.abc import Sequence

from auditcli.report.findings import Finding
from auditcli.report.schema import Report
from auditcli.report.severity import UNTRIED, graded
from auditcli.report.summary import outcomes
from auditcli.report.template import fill_markdown

ROWS = 50
MOST = 500
"""Characters of a text, before they are escaped."""


def render(report: Report, found: Sequence[Finding] | None = None) -> str:
    """Verdict, budget, findings, what was not tried, and the command that made it.

    Args:
        report: What was audited.
        found: What a policy made of the findings, with what it waives. None: those of the report.
    """
    told = [one for one in graded(report, found) if one.finding.waived or one.finding.id not in UNTRIED]
    unscored = [one for one in outcomes(report) if one.status != "scored"]
    idle = [(f"{one.kind} {one.name}", f"{one.status}: {one.reason}") for one in unscored]
    return fill_markdown("summary.md.j2", report, found=told, idle=idle, rows=ROWS, most=MOST)
