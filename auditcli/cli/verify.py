"""`privaudit verify`: whether a report lets a model be released."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from auditcli import terminal
from auditcli.options import FailOn, PolicyFile, Quiet, ReleasedModel, ReportPath
from auditcli.policy import exit_code


class Shown(StrEnum):
    """What a ruling is written as."""

    TEXT = "text"
    JSON = "json"
    CHECKLIST = "checklist"
    SUMMARY = "summary"
    SARIF = "sarif"
    JUNIT = "junit"
    GITHUB = "github"


def verify(
    report: ReportPath,
    model: ReleasedModel,
    policy: PolicyFile = None,
    fail_on: FailOn = None,
    format: Annotated[Shown, typer.Option("--format", "-f", help="What to print.")] = Shown.TEXT,
    today: Annotated[
        datetime | None,
        typer.Option("--today", formats=["%Y-%m-%d"], metavar="DATE", help="Rule as on that day, and not today (UTC)."),
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Say whether a report lets a model be released: hash, age, policy, waivers; no attack, no torch."""
    from auditcli import gate
    from auditcli.loading import model_sha256
    from auditcli.report import read

    demanded = gate.read_policy(policy, fail_on)
    audited = read(report)
    ruling = gate.rule(audited, demanded, today=(today or datetime.now(UTC)).date(), model_sha256=model_sha256(model))
    if format is Shown.TEXT:
        terminal.show_ruling(terminal.stdout(), ruling, model.resolve().name, quiet=quiet)
    else:
        terminal.write(gate.render(audited, ruling, format.value))
    return exit_code(ruling)
