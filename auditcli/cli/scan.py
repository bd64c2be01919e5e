"""`privaudit scan` and `privaudit demo`: audit a model and write a report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from auditcli import arguments, destination, settings, terminal
from auditcli.options import (
    HERE,
    Arch,
    ArchArguments,
    Assume,
    Attacks,
    Backbone,
    Base,
    Budget,
    Controls,
    Device,
    Effort,
    FailOn,
    Force,
    IncludeImages,
    Mean,
    ModelPath,
    Names,
    Output,
    PolicyFile,
    Profile,
    Quiet,
    Reconstructions,
    Redact,
    Reference,
    Seed,
    Settings,
    ShadowCache,
    Shadows,
    Shape,
    Shown,
    Std,
    Verbose,
    View,
    Views,
)
from auditcli.policy import FailOn as Level
from auditcli.policy import exit_code

if TYPE_CHECKING:
    from auditcli import types


@dataclass(frozen=True, slots=True)
class Delivery:
    """What becomes of a report."""

    output: Path
    views: Sequence[View]
    fail_on: Level | None
    policy: Path | None
    """What is demanded beside that; shown with what became of it."""
    force: bool
    quiet: bool
    verbose: bool


def scan(
    context: typer.Context,
    model: ModelPath,
    reference: Reference = None,
    controls: Controls = None,
    budget: Budget = "10m",
    profile: Effort = Profile.STANDARD,
    attack: Attacks = None,
    set_: Settings = None,
    device: Device = "auto",
    seed: Seed = 0,
    mean: Mean = None,
    std: Std = None,
    input_shape: Shape = None,
    assume: Assume = None,
    arch: Arch = "",
    arch_arg: ArchArguments = None,
    base: Base = None,
    backbone: Backbone = None,
    output: Output = HERE,
    format: Views = None,
    fail_on: FailOn = None,
    policy: PolicyFile = None,
    include_images: IncludeImages = False,
    reconstructions: Reconstructions = Shown.BLURRED,
    names: Names = False,
    redact: Redact = False,
    shadows: Shadows = 0,
    shadow_cache: ShadowCache = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Audit a model and write a report: the default command."""
    from auditcli.report.redaction import wanted

    shown: dict[str, Any] = {
        "names": names,
        "reconstructions": reconstructions.value,
        "include_images": include_images,
        "redact": redact,
    }
    wanted(**shown)  # refuses what contradicts itself before torch is imported
    options = {
        "reference": reference,
        "controls": controls,
        "budget": arguments.seconds(budget),
        "profile": profile.value,
        "attacks": tuple(attack or ()),
        "settings": arguments.settings(set_ or ()),
        "device": device,
        "seed": seed,
        "mean": arguments.numbers(mean, "--mean"),
        "std": arguments.numbers(std, "--std", positive=True),
        "input_shape": arguments.shape(input_shape),
        "assume": arguments.assumptions(assume or ()),
        "arch": arch,
        "arch_arguments": arguments.keywords(arch_arg or ()),
        "base": base,
        "backbone": backbone,
        **shown,
        "shadows": shadows,
        "shadow_cache": shadow_cache,
        "command": _command(context),
    }
    views = format or [View.HTML, View.MD]
    return _audit(model, options, Delivery(output, views, fail_on, policy, force, quiet, verbose))


def demo(
    context: typer.Context,
    budget: Budget = "10m",
    profile: Effort = Profile.STANDARD,
    device: Device = "auto",
    seed: Seed = 0,
    output: Output = HERE,
    format: Views = None,
    fail_on: FailOn = None,
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
        "names": True,
        "reconstructions": "sharp",
        "include_images": True,
        "command": _command(context),
    }
    views = format or [View.HTML, View.MD]
    return _audit(fixture / "model.safetensors", options, Delivery(output, views, fail_on, None, force, quiet, verbose))


def _audit(model: str | Path, options: dict[str, Any], delivery: Delivery) -> int:
    """Audit, write, print, and only then choose the exit code."""
    destination.require_usable(delivery.output, force=delivery.force)
    from auditcli import gate

    demanded = gate.read_policy(delivery.policy, delivery.fail_on)
    from auditcli.auditing import audit

    def announce(prospect: types.Plan) -> None:
        if not delivery.quiet:
            terminal.show_prospect(terminal.stderr(), prospect)

    with terminal.Display(terminal.stderr(), quiet=delivery.quiet) as watch:
        report = audit(model, announce=announce, watch=watch, **options)
    formats = [*dict.fromkeys(view.value for view in delivery.views if view != View.JSON), "json"]
    files = report.save(delivery.output, formats)
    terminal.show_report(terminal.stdout(), report, files, quiet=delivery.quiet, verbose=delivery.verbose)
    ruling = gate.rule(report, demanded, today=datetime.now(UTC).date())
    if delivery.policy is not None and not delivery.quiet:
        terminal.write("\n")
        terminal.show_ruling(terminal.stdout(), ruling, report.model.path)
    return exit_code(ruling, interrupted=report.interrupted)


def _command(context: typer.Context) -> str:
    """What was typed, and as options what a settings file and the environment added to it."""
    typed = context.obj if context.obj is not None else sys.argv[1:]
    return arguments.recorded([*typed, *settings.as_options(context)])
