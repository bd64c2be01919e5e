"""The command line: parse, call, print, exit code. No logic, and no import that would make `--help` slow.

Public names: `app`, `run`. Every command returns its exit code; `run` turns errors into the codes of `policy`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.main import get_command

from auditcli import arguments, destination, policy, terminal
from auditcli.errors import AuditError, OpenQuestion, UsageError
from auditcli.options import (
    HERE,
    Arch,
    ArchArguments,
    Assume,
    Attacks,
    Budget,
    ControlCount,
    Controls,
    Device,
    Effort,
    FailOn,
    Force,
    IncludeImages,
    Mean,
    MemberCount,
    ModelPath,
    Output,
    Profile,
    Quiet,
    Redact,
    Reference,
    ReportPath,
    Seed,
    ShadowCache,
    Shadows,
    Shape,
    Std,
    Verbose,
    View,
    Views,
)
from auditcli.shorthand import DefaultToScan

if TYPE_CHECKING:
    from auditcli import types


@dataclass(frozen=True, slots=True)
class Delivery:
    """What becomes of a report."""

    output: Path
    views: Sequence[View]
    fail_on: policy.FailOn
    force: bool
    quiet: bool
    verbose: bool


app = typer.Typer(
    name="privaudit",
    cls=DefaultToScan,
    help="Audits shared vision classifiers for training-data leakage: how much of it can be got back out?",
    epilog="`privaudit MODEL` is short for `privaudit scan MODEL`. Options are also read from the environment, "
    "`--fail-on` from PRIVAUDIT_FAIL_ON.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _group(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from auditcli import __version__

        terminal.write(f"privaudit {__version__}\n")


@app.command()
def scan(
    context: typer.Context,
    model: ModelPath,
    reference: Reference = None,
    controls: Controls = None,
    budget: Budget = "10m",
    profile: Effort = Profile.STANDARD,
    attack: Attacks = None,
    device: Device = "auto",
    seed: Seed = 0,
    mean: Mean = None,
    std: Std = None,
    input_shape: Shape = None,
    assume: Assume = None,
    arch: Arch = "",
    arch_arg: ArchArguments = None,
    output: Output = HERE,
    format: Views = None,
    fail_on: FailOn = "high",
    include_images: IncludeImages = False,
    redact: Redact = False,
    shadows: Shadows = 0,
    shadow_cache: ShadowCache = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Audit a model and write a report: the default command."""
    if include_images and redact:
        raise UsageError("--include-images and --redact contradict each other", hint="give one of them")
    options = {
        "reference": reference,
        "controls": controls,
        "budget": arguments.seconds(budget),
        "profile": profile.value,
        "attacks": tuple(attack or ()),
        "device": device,
        "seed": seed,
        "mean": arguments.numbers(mean, "--mean"),
        "std": arguments.numbers(std, "--std", positive=True),
        "input_shape": arguments.shape(input_shape),
        "assume": arguments.assumptions(assume or ()),
        "arch": arch,
        "arch_arguments": arguments.keywords(arch_arg or ()),
        "include_images": include_images,
        "redact": redact,
        "shadows": shadows,
        "shadow_cache": shadow_cache,
        "command": _command(context),
    }
    views = format or [View.HTML, View.MD]
    return _audit(model, options, Delivery(output, views, fail_on, force, quiet, verbose))


@app.command()
def demo(
    context: typer.Context,
    budget: Budget = "10m",
    profile: Effort = Profile.STANDARD,
    device: Device = "auto",
    seed: Seed = 0,
    output: Output = HERE,
    format: Views = None,
    fail_on: FailOn = "high",
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Audit a shipped leaky model, with its training images beside what was recovered."""
    from auditcli.resources import resource

    fixture = resource("fixtures", "mlp-leaky")
    options = {
        "reference": fixture / "members.npz",
        "controls": resource("fixtures", "controls.npz"),
        "budget": arguments.seconds(budget),
        "profile": profile.value,
        "device": device,
        "seed": seed,
        "include_images": True,
        "command": _command(context),
    }
    views = format or [View.HTML, View.MD]
    return _audit(fixture / "model.safetensors", options, Delivery(output, views, fail_on, force, quiet, verbose))


@app.command()
def inspect(
    model: ModelPath,
    reference: Reference = None,
    controls: Controls = None,
    as_json: Annotated[bool, typer.Option("--json", help="The `model` part of a report.")] = False,
    mean: Mean = None,
    std: Std = None,
    input_shape: Shape = None,
    assume: Assume = None,
    arch: Arch = "",
    arch_arg: ArchArguments = None,
    verbose: Verbose = False,
) -> int:
    """Say what a model is, how that is known, and what was assumed; no attack."""
    from auditcli.inspection import inspect as inspect_model

    try:
        found = inspect_model(
            model,
            mean=arguments.numbers(mean, "--mean"),
            std=arguments.numbers(std, "--std", positive=True),
            input_shape=arguments.shape(input_shape),
            assume=arguments.assumptions(assume or ()),
            arch=arch,
            arch_arguments=arguments.keywords(arch_arg or ()),
            reference=reference,
            controls=controls,
            tensors=verbose,
        )
    except OpenQuestion as question:
        terminal.show_candidates(terminal.stderr(), question.candidates)
        raise
    if as_json:
        terminal.write(found.model_dump_json(indent=2) + "\n")
    else:
        terminal.show_profile(terminal.stdout(), found, verbose=verbose)
    return policy.PASSED


@app.command()
def describe(
    model: ModelPath,
    mean: Mean = None,
    std: Std = None,
    input_shape: Shape = None,
    assume: Assume = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="Class names: one a line, or a JSON list.")
    ] = None,
    embed: Annotated[
        Path | None, typer.Option("--embed", metavar="COPY", help="Into a copy of the weights, not beside them.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> int:
    """Write down what was stated and assumed about a model, so that `inspect` and `scan` need no option."""
    from auditcli.describing import describe as describe_model

    written = describe_model(
        model,
        mean=arguments.numbers(mean, "--mean"),
        std=arguments.numbers(std, "--std", positive=True),
        input_shape=arguments.shape(input_shape),
        assume=arguments.assumptions(assume or ()),
        labels=labels,
        copy=embed,
        force=force,
    )
    terminal.write(f"{written}\n")
    return policy.PASSED


@app.command()
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


@app.command()
def render(
    report: ReportPath,
    format: Annotated[View, typer.Option("--format", "-f", help="What to make.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout.")] = None,
) -> int:
    """Render a report again from its JSON; needs no model and no torch."""
    from auditcli.report import read
    from auditcli.report import render as render_report

    text = render_report(read(report), format.value)
    if output is None:
        terminal.write(text)
    else:
        destination.write_text(output, text)
    return policy.PASSED


@app.command()
def card(
    readme: Annotated[Path, typer.Argument(metavar="README.md", help="The model card.")],
    report: Annotated[Path, typer.Option("--report", metavar="REPORT.json", help="What `privaudit scan` wrote.")],
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where it is stale.")] = False,
) -> int:
    """Write or refresh the privacy section of a model card."""
    from auditcli.report import read
    from auditcli.report.card import refresh

    before = destination.read_text(readme)
    after = refresh(before, read(report))
    if after == before:
        return policy.PASSED
    if check:
        stale = f"the privacy section of {readme} is stale: {report} says something else"
        terminal.show_error(terminal.stderr(), stale, f"privaudit card {readme} --report {report}")
        return policy.BROKEN
    destination.write_text(readme, after)
    return policy.PASSED


@app.command()
def attacks() -> int:
    """List attacks and membership signals: what each does, needs, and where it is from."""
    from auditcli.attacks import all_attacks
    from auditcli.membership import all_signals

    terminal.show_plugins(terminal.stdout(), "attack", all_attacks())
    terminal.write("\n")
    terminal.show_plugins(terminal.stdout(), "membership", all_signals())
    return policy.PASSED


@app.command()
def schema() -> int:
    """Print the JSON Schema of report.json."""
    from auditcli.report import json_schema

    terminal.write(json.dumps(json_schema(), indent=2) + "\n")
    return policy.PASSED


def _audit(model: str | Path, options: dict[str, Any], delivery: Delivery) -> int:
    """Audit, write, print, and only then choose the exit code."""
    destination.require_usable(delivery.output, force=delivery.force)
    from auditcli.auditing import audit

    def announce(prospect: types.Plan) -> None:
        if not delivery.quiet:
            terminal.show_prospect(terminal.stderr(), prospect)

    with terminal.Display(terminal.stderr(), quiet=delivery.quiet) as watch:
        report = audit(model, announce=announce, watch=watch, **options)
    formats = [*dict.fromkeys(view.value for view in delivery.views if view != View.JSON), "json"]
    files = report.save(delivery.output, formats)
    terminal.show_report(terminal.stdout(), report, files, quiet=delivery.quiet, verbose=delivery.verbose)
    return policy.exit_code(report, delivery.fail_on)


def _command(context: typer.Context) -> str:
    return arguments.recorded(context.obj if context.obj is not None else sys.argv[1:])


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
    except SystemExit:
        return policy.UNUSABLE  # typer exits with 1 where the reader of a pipe left, and 1 means a broken policy
    return code or policy.PASSED


def _usage_hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'privaudit'} --help"
