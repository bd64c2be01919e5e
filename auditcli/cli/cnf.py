"""`privaudit cnf`: a binarised network as clauses for any SAT solver."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditcli import arguments, destination, policy, terminal
from auditcli.errors import UsageError
from auditcli.options import Assume, Mean, ModelPath, Shape, Std


def cnf(
    model: ModelPath,
    label: Annotated[int, typer.Option("--label", min=0, metavar="N", help="Number of a class, from 0.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="What to write.")],
    mean: Mean = None,
    std: Std = None,
    input_shape: Shape = None,
    assume: Assume = None,
) -> int:
    """Write the inputs that a binarised network gives a label as a formula (DIMACS CNF)."""
    from auditcli.auditing import load
    from auditcli.cnf import dimacs, encode

    target = load(
        model,
        device="cpu",
        mean=arguments.numbers(mean, "--mean"),
        std=arguments.numbers(std, "--std", positive=True),
        input_shape=arguments.shape(input_shape),
        assume=arguments.assumptions(assume or ()),
    )
    if target.binarised is None:
        raise UsageError(
            f"{model} has no weights, inputs and hidden values that are all signs",
            hint="privaudit inspect MODEL says what it is; --assume template=bnn takes latent weights by their signs",
        )
    if label >= target.profile.classes:
        raise UsageError(
            f"{model} has no label {label}", hint=f"--label with a number from 0 to {target.profile.classes - 1}"
        )
    formula = encode(target.binarised).labelled(label)
    about = (
        f"The inputs to which a network of {target.profile.architecture} gives label {label}, and no others.",
        "Of equal logits the first wins; a single logit means label 1 above 0.",
    )
    lines = dimacs(formula, target.profile.input_shape, about)
    destination.write_text(output, "".join(f"{line}\n" for line in lines))
    terminal.write(f"{output}: {formula.variables:,} variables, {len(formula.clauses):,} clauses\n")
    return policy.PASSED
