"""A model beside the public one that its training started from. Public name: `based`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING

from auditcli.errors import UsageError
from auditcli.types import Statement

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import Checkpoint, Target

RELATED = 0.1
"""Least cosine between the weights of a model and of its base; those of two networks that started apart have none."""


def based(target: Target, base: Target, checkpoint: Checkpoint) -> Target:
    """The target with its base, so that what training wrote is read as the difference of the two.

    Args:
        target: The fine-tune.
        base: The model that its training started from: the same architecture and input, on the same device. Another
            number of outputs is allowed, for a fine-tune often has other classes.
        checkpoint: That `base` was built of, for messages and the report.

    Raises:
        UsageError: the base has another architecture or input, is the model itself, or is no relative of it.
    """
    name, hint = checkpoint.name, "name the model that this one was fine-tuned from, or leave --base out"
    if unlike := _unlike(target, base):
        raise UsageError(f"--base {name} has another architecture: {unlike}", hint=hint)
    pairs = [(after, before) for after, before in _weights(target, base) if after.shape == before.shape]
    if all(bool((after == before).all()) for after, before in pairs):
        raise UsageError(f"--base {name} has the weights of the model itself: nothing was fine-tuned", hint=hint)
    if (cosine := _cosine(pairs)) < RELATED:
        what = f"a cosine of {cosine:.2f} between their weights, where a fine-tune has at least {RELATED:g}"
        raise UsageError(f"--base {name} is not what this model started from: {what}", hint=hint)
    said = Statement(
        "base", name, f"stated by --base: what training wrote is the difference to sha256 {checkpoint.sha256}"
    )
    profile = replace(target.profile, statements=(*target.profile.statements, said))
    return replace(target, profile=profile, base=base)


def _weights(target: Target, base: Target) -> Iterator[tuple[Tensor, Tensor]]:
    """Weights of both in the order of their layers, for formats name them in different ways."""
    return zip(target.module.parameters(), base.module.parameters(), strict=False)


def _unlike(target: Target, base: Target) -> str:
    """Where the architectures first differ but for the outputs, in words; empty where they do not."""
    ours, theirs = target.profile, base.profile
    if ours.input_shape != theirs.input_shape:
        return f"it reads images of {_by(theirs.input_shape)}, the model of {_by(ours.input_shape)}"
    counts = [sum(1 for _ in one.module.parameters()) for one in (target, base)]
    if counts[0] != counts[1]:
        return f"it has {counts[1]} tensors of weights, the model {counts[0]}"
    for (name, after), before in zip(target.module.named_parameters(), base.module.parameters(), strict=True):
        reads = (after.shape[0], before.shape[0]) == (ours.outputs, theirs.outputs)
        if after.shape != before.shape and not (reads and after.shape[1:] == before.shape[1:]):
            return f"{name} is {_by(before.shape)}, in the model {_by(after.shape)}"
    if target.dense and base.dense and target.dense.activation != base.dense.activation:
        return f"its activation is {base.dense.activation}, the model's {target.dense.activation}"
    return ""


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"


def _cosine(pairs: list[tuple[Tensor, Tensor]]) -> float:
    inner, left, right = (
        sum(float((a * b).double().sum()) for a, b in both)
        for both in (pairs, [(a, a) for a, _ in pairs], [(b, b) for _, b in pairs])
    )
    return inner / sqrt(left * right) if left and right else 0.0
