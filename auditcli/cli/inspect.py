"""`privaudit inspect`: what a model is."""

from __future__ import annotations

from typing import Annotated

import typer

from auditcli import arguments, policy, terminal
from auditcli.errors import OpenQuestion
from auditcli.options import (
    Arch,
    ArchArguments,
    Assume,
    Backbone,
    Controls,
    Mean,
    ModelPath,
    Reference,
    Shape,
    Std,
    Verbose,
)


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
    backbone: Backbone = None,
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
            backbone=backbone,
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
