"""The null of everything said about weights alone: the same weights, with the link between layers cut.

Public names: `shuffled`, `shuffled_target`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import DenseStack, Target


def shuffled(dense: DenseStack, rng: torch.Generator) -> DenseStack:
    """The network with the neurons of its first layer in random order, and the layers above as they were.

    The spectrum and the row space of the first layer stay; what ties a row to the weights that read it is gone. So
    whatever an attack finds here comes from the span and from images being images, not from the KKT condition.
    """
    return _permuted(dense, _order(dense, rng))


def shuffled_target(target: Target, rng: torch.Generator) -> Target:
    """The target with its dense network shuffled, and its span and its base, where it has them, carried along.

    A permutation of rows leaves singular values and right singular directions as they are, so that no second singular
    value decomposition is due. What the target answers when called stays that of the true weights.

    Raises:
        ValueError: the target is no dense network.
    """
    if target.dense is None:
        raise ValueError("only a target with a dense stack has rows to shuffle")
    order = _order(target.dense, rng)
    span, base = target.span, target.base
    if span is not None:
        span = replace(span, image=span.image[order], written=span.written[order])
    if base is not None and base.dense is not None:
        base = replace(base, dense=_permuted(base.dense, order))
    return replace(target, dense=_permuted(target.dense, order), span=span, base=base)


def _order(dense: DenseStack, rng: torch.Generator) -> Tensor:
    return torch.randperm(len(dense.weights[0]), generator=rng).to(dense.weights[0].device)


def _permuted(dense: DenseStack, order: Tensor) -> DenseStack:
    first = dense.biases[0]
    return replace(
        dense,
        weights=(dense.weights[0][order], *dense.weights[1:]),
        biases=(None if first is None else first[order], *dense.biases[1:]),
    )
