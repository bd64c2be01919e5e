"""The report: its shape, its folder on disk, and its views. Nothing here imports torch.

Public names: `Report`, `read`, `render`, `json_schema`, `FORMATS`.
"""

from auditcli.report.folder import json_schema, read
from auditcli.report.formats import FORMATS, render
from auditcli.report.schema import Report

__all__ = ["FORMATS", "Report", "json_schema", "read", "render"]
