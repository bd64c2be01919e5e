"""`privaudit starts`: the same attack from different starts, and what that says about its evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from auditcli import arguments, policy, terminal
from auditcli.options import (
    Arch,
    ArchArguments,
    Assume,
    Budget,
    Controls,
    Device,
    Effort,
    Mean,
    ModelPath,
    Profile,
    Quiet,
    Reference,
    Seed,
    Shape,
    Std,
)


def starts(
    model: ModelPath,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="PATH", help="Begin from these: real images that it never saw."),
    ] = None,
    near: Annotated[
        Path | None,
        typer.Option("--near", metavar="PATH", help="Begin near these: images that it may have been trained on."),
    ] = None,
    noise: Annotated[
        list[float] | None,
        typer.Option("--noise", min=0.0, metavar="S", help="Added to those, std in pixel units; 0.1; repeatable."),
    ] = None,
    reference: Reference = None,
    controls: Controls = None,
    attack: Annotated[
        str, typer.Option("--attack", metavar="NAME", help="One that can begin from given images: bilevel or kkt.")
    ] = "bilevel",
    budget: Budget = "10m",
    profile: Effort = Profile.STANDARD,
    device: Device = "auto",
    seed: Seed = 0,
    mean: Mean = None,
    std: Std = None,
    input_shape: Shape = None,
    assume: Assume = None,
    arch: Arch = "",
    arch_arg: ArchArguments = None,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers and sentences.")] = False,
    quiet: Quiet = False,
) -> int:
    """Run one attack from different starts: does what it finds depend on where it begins?"""
    from dataclasses import asdict

    from auditcli.auditing import load
    from auditcli.initialisation import checked

    target = load(
        model,
        device=device,
        mean=arguments.numbers(mean, "--mean"),
        std=arguments.numbers(std, "--std", positive=True),
        input_shape=arguments.shape(input_shape),
        assume=arguments.assumptions(assume or ()),
        arch=arch,
        arch_arguments=arguments.keywords(arch_arg or ()),
    )
    with terminal.Display(terminal.stderr(), quiet=quiet) as watch:
        found = checked(
            target,
            attack=attack,
            images=images,
            near_images=near,
            noise=tuple(noise or (0.1,)),
            members=reference,
            controls=controls,
            seconds=arguments.seconds(budget),
            profile=profile.value,
            seed=seed,
            watch=watch,
        )
    if as_json:
        terminal.write(json.dumps(asdict(found), indent=2) + "\n")
    else:
        terminal.show_starts(terminal.stdout(), found)
    return policy.PASSED if found.established else policy.INCONCLUSIVE
