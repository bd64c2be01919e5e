"""The command line: parse, call, print, exit code. No logic, and no import that would make `--help` slow.

A command is one file, named after it, with a function that returns its exit code; its line in `COMMANDS` makes it
known. Public names: `app`, `run`; `run` turns errors into the codes of `policy`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from typer.main import get_command

from auditcli import panels, policy, terminal
from auditcli.cli import (
    attacks,
    card,
    cnf,
    compare,
    config,
    describe,
    explain,
    inspect,
    names,
    plan,
    render,
    scan,
    schema,
    starts,
    verify,
)
from auditcli.configured import Configured, configured
from auditcli.errors import AuditError
from auditcli.shorthand import DefaultToScan

COMMANDS: tuple[Callable[..., int], ...] = (
    scan.scan,
    scan.demo,
    inspect.inspect,
    describe.describe,
    cnf.cnf,
    explain.explain,
    plan.plan,
    starts.starts,
    render.render,
    names.names,
    card.card,
    verify.verify,
    compare.compare,
    attacks.attacks,
    schema.schema,
)
"""In the order of `privaudit --help`."""

_COMPLETION = "_PRIVAUDIT_COMPLETE"
"""Set by the shell that asks how a line may go on."""

app = typer.Typer(
    name="privaudit",
    cls=DefaultToScan,
    help="Audits shared vision classifiers for training-data leakage: how much of it can be got back out?",
    epilog="`privaudit MODEL` is short for `privaudit scan MODEL`. Options are also read from the environment, "
    "`--fail-on` from PRIVAUDIT_FAIL_ON, and from privaudit.toml: `privaudit config` shows what applies.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in COMMANDS:
    app.command(cls=Configured)(configured(_command))
app.command(context_settings={"ignore_unknown_options": True}, rich_help_panel=panels.COMMANDS["config"])(config.config)


@app.callback(invoke_without_command=True)
def _group(version: Annotated[bool, typer.Option("--version", metavar="", help="Print the version.")] = False) -> None:
    if version:
        from auditcli import __version__

        terminal.write(f"privaudit {__version__}\n")


def run(words: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    What was raised on purpose becomes `error:` and `hint:` on stderr; anything else is our own bug and passes through.
    """
    try:
        code = get_command(app).main(list(words), prog_name="privaudit", standalone_mode=False, obj=tuple(words))
    except AuditError as error:
        if error.__cause__ is not None and {"-v", "--verbose"} & set(words):
            terminal.show_traceback(terminal.stderr(), error.__cause__)
        terminal.show_error(terminal.stderr(), error.message, error.hint)
        return policy.UNUSABLE
    except typer.TyperException as error:
        message = error.format_message().rstrip(".").replace("Value error, ", "")
        terminal.show_error(terminal.stderr(), message, _usage_hint(error))
        return policy.UNUSABLE
    except SystemExit as stop:
        return _stopped(stop.code, words)
    return code or policy.PASSED


def _stopped(code: object, words: Sequence[str]) -> int:
    """The exit code where typer ended the process itself: for a shell that completes a line, or without its reader."""
    if _COMPLETION in os.environ and isinstance(code, int):
        return code
    helped = not code or bool({"-h", "--help"} & set(words))
    return policy.PASSED if helped else policy.UNUSABLE  # 1, as typer has it, means a broken policy


def _usage_hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'privaudit'} --help"
