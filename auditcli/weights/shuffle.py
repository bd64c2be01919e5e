"""The null of everything said about weights alone: the same weights, with the link between layers cut.

Public name: `shuffled`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from auditcli.types import DenseStack


def shuffled(dense: DenseStack, rng: torch.Generator) -> DenseStack:
    """The network with the neurons of its first layer in random order, and the layers above as they were.

    The spectrum and the row space of the first layer stay; what ties a row to the weights that read it is gone. So
    whatever an attack finds here comes from the span and from images being images, not from the KKT condition.
    """
    order = torch.randperm(len(dense.weights[0]), generator=rng).to(dense.weights[0].device)
    first = dense.biases[0]
    return replace(
        dense,
        weights=(dense.weights[0][order], *dense.weights[1:]),
        biases=(None if first is None else first[order], *dense.biases[1:]),
    )
