"""`privaudit names`: which file an id of a report stands for."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from auditcli import policy, terminal
from auditcli.options import Controls, Reference, ReportPath


def names(
    report: ReportPath,
    reference: Reference = None,
    controls: Controls = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same with the sha256 of each sample.")] = False,
) -> int:
    """Say which file each id of a report stands for; needs the images that the audit was given."""
    from auditcli.naming import looked_up
    from auditcli.report import read

    found = looked_up(read(report), reference, controls)
    for sample in found:
        if sample.problem:
            terminal.show_error(terminal.stderr(), sample.problem, "give the report and the images of one audit")
    if as_json:
        said = {
            f"{sample.role}s": {
                "matches": sample.matches,
                "sha256": sample.sha256,
                "problem": sample.problem,
                "names": {} if sample.problem else dict(sample.names),
            }
            for sample in found
        }
        terminal.write(json.dumps(said, indent=2) + "\n")
    else:
        for sample in found:
            terminal.show_names(terminal.stdout(), {} if sample.problem else sample.names)
    return policy.UNUSABLE if any(sample.problem for sample in found) else policy.PASSED
