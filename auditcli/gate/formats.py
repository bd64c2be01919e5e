"""What a ruling can be written as, beside text in a terminal. Public names: `FORMATS`, `render`.

A format that shows findings is a renderer of reports that takes those of the ruling, waived ones and breaches among
them; its line here makes it known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from auditcli.gate import document
from auditcli.gate.ruling import Ruling
from auditcli.report.schema import Report

FORMATS: Mapping[str, Callable[[Report, Ruling], str]] = MappingProxyType({"json": document.render})


def render(report: Report, ruling: Ruling, format: str) -> str:
    """The whole text of a ruling in one of `FORMATS`."""
    return FORMATS[format](report, ruling)
