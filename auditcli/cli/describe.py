"""`privaudit describe`: write down what was stated and assumed about a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditcli import arguments, policy, terminal
from auditcli.options import Assume, Mean, ModelPath, Shape, Std


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
