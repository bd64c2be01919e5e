"""What a ruling can be written as, beside text in a terminal. Public names: `FORMATS`, `render`.

A view of a report that shows findings one by one (`report.formats.RULED`) is one of a ruling too: it takes those that
the ruling left, waived ones and breaches among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from auditcli.gate import document
from auditcli.gate.ruling import Ruling
from auditcli.report.formats import RULED, Ruled
from auditcli.report.schema import Report


def _of_findings(view: Ruled) -> Callable[[Report, Ruling], str]:
    """A view of a report's findings, as a view of those that the ruling left."""
    return lambda report, ruling: view(report, ruling.findings)


FORMATS: Mapping[str, Callable[[Report, Ruling], str]] = MappingProxyType(
    {"json": document.render, **{name: _of_findings(view) for name, view in RULED.items()}}
)


def render(report: Report, ruling: Ruling, format: str) -> str:
    """The whole text of a ruling in one of `FORMATS`."""
    return FORMATS[format](report, ruling)
