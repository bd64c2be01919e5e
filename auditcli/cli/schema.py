"""`privaudit schema`: the shape of report.json."""

from __future__ import annotations

import json

from auditcli import policy, terminal


def schema() -> int:
    """Print the JSON Schema of report.json."""
    from auditcli.report import json_schema

    terminal.write(json.dumps(json_schema(), indent=2) + "\n")
    return policy.PASSED
