"""`privaudit scan` and `privaudit demo`: audit a model and write a report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from auditcli import arguments, destination, policy, terminal
from auditcli.options import (
    HERE,
    Arch,
    ArchArguments,
    Assume,
    Attacks,
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
    Profile,
    Quiet,
    Reconstructions,
    Redact,
    Reference,
    Seed,
    ShadowCache,
    Shadows,
    Shape,
    Shown,
    Std,
    Verbose,
    View,
    Views,
)

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
        "device": device,
        "seed": seed,
        "mean": arguments.numbers(mean, "--mean"),
        "std": arguments.numbers(std, "--std", positive=True),
        "input_shape": arguments.shape(input_shape),
        "assume": arguments.assumptions(assume or ()),
        "arch": arch,
        "arch_arguments": arguments.keywords(arch_arg or ()),
        **shown,
        "shadows": shadows,
        "shadow_cache": shadow_cache,
        "command": _command(context),
    }
    views = format or [View.HTML, View.MD]
    return _audit(model, options, Delivery(output, views, fail_on, force, quiet, verbose))


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
        "names": True,
        "reconstructions": "sharp",
        "include_images": True,
        "command": _command(context),
    }
    views = format or [View.HTML, View.MD]
    return _audit(fixture / "model.safetensors", options, Delivery(output, views, fail_on, force, quiet, verbose))


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
