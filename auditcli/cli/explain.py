"""`privaudit explain`: what a model looks for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from auditcli import arguments, destination, policy, settings, terminal
from auditcli.options import (
    Arch,
    ArchArguments,
    Assume,
    Budget,
    Device,
    Force,
    Mean,
    ModelPath,
    Quiet,
    Reference,
    Seed,
    Shape,
    Std,
)

THERE = Path("privaudit-explanation")


def explain(
    context: typer.Context,
    model: ModelPath,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="PATH", help="Images to change and to score: a folder or an .npz."),
    ] = None,
    reference: Reference = None,
    budget: Budget = "2m",
    device: Device = "auto",
    seed: Seed = 0,
    mean: Mean = None,
    std: Std = None,
    input_shape: Shape = None,
    assume: Assume = None,
    arch: Arch = "",
    arch_arg: ArchArguments = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of explanation.json and explanation.html.")
    ] = THERE,
    force: Force = False,
    quiet: Quiet = False,
) -> int:
    """Show what a model looks for: places it leans on, its classes, and how far images are from them. No verdict."""
    destination.require_usable(output, force=force)
    seconds = arguments.seconds(budget)
    from auditcli.explaining import explain as explain_model
    from auditcli.explanation import write

    def announce(part: str) -> None:
        if not quiet:
            terminal.show_step(terminal.stderr(), part)

    found = explain_model(
        model,
        images=images,
        reference=reference,
        budget=seconds,
        device=device,
        seed=seed,
        mean=arguments.numbers(mean, "--mean"),
        std=arguments.numbers(std, "--std", positive=True),
        input_shape=arguments.shape(input_shape),
        assume=arguments.assumptions(assume or ()),
        arch=arch,
        arch_arguments=arguments.keywords(arch_arg or ()),
        announce=announce,
        command=_command(context),
    )
    terminal.show_explanation(terminal.stdout(), found, write(found, output), quiet=quiet)
    return policy.PASSED


def _command(context: typer.Context) -> str:
    typed = context.obj if context.obj is not None else sys.argv[1:]
    return arguments.recorded([*typed, *settings.as_options(context)])
