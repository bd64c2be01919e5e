"""`privaudit plan`: what an audit can establish, before anything is spent."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from auditcli import arguments, policy, terminal
from auditcli.options import ControlCount, MemberCount


def plan(
    members: MemberCount = None,
    controls: ControlCount = None,
    shadows: Annotated[
        int, typer.Option("--shadows", min=0, metavar="K", help="Shadow models, which take half of the controls.")
    ] = 0,
    tests: Annotated[
        int | None,
        typer.Option("--tests", min=1, metavar="N", help="Corrected together. All there are unless given."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers and sentences.")] = False,
) -> int:
    """Say what an audit with so many images can establish at best, before anything is spent."""
    from dataclasses import asdict

    from auditcli.planning import planned

    m, k = arguments.images(members, "--members"), arguments.images(controls, "--controls")
    found = planned(m, k, shadows=shadows, tests=tests)
    if as_json:
        terminal.write(json.dumps(asdict(found), indent=2) + "\n")
    else:
        terminal.show_plan(terminal.stdout(), found)
    return policy.PASSED
