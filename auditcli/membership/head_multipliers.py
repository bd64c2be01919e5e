"""Membership in the training set of a head, by how much its weights hold of an image's gradient: `head_multipliers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditcli import weights
from auditcli.membership._signal import Query, signal
from auditcli.types import Trait

if TYPE_CHECKING:
    from torch import Tensor

_BATCH = 256
_RIDGE = 0.01
"""Relative to the gradient of one image; between 0.001 and 0.1 little changes."""
_SHARP = 1e6
"""The true step of a ReLU, within rounding."""


@signal(paper="ours: docs/signals/head_multipliers.md", requires=frozenset({Trait.HEAD}))
def head_multipliers(query: Query) -> Tensor:
    """Scores how much of an image's own gradient the first layer of the head is made of.

    All queried images explain `[W b] = sum_i lambda_i delta_i [e_i, 1]^T + noise` together, by ridge regression, with
    e the features and delta the gradient of the margin at the layer. The score is lambda_i in units of its standard
    error.

    Args:
        query: Of a network whose last layers are linear on one vector of features. Without labels the predicted
            class stands for them.

    Returns:
        (n,), higher = more likely a member.

    Reference:
        The condition is that of Lyu and Li 2020, arXiv:1906.05890; the regression over queried images is ours.
    """
    head = query.target.head
    if head is None:
        raise TypeError("a target with Trait.HEAD has no head")
    with torch.no_grad():
        features = torch.cat([head.features(batch) for batch in query.images.split(_BATCH)])
        logits = torch.cat([query.target(batch) for batch in query.images.split(_BATCH)])
        weight, bias = head.dense.weights[0], head.dense.biases[0]
        first = torch.nn.functional.linear(features, weight, bias)
    guessed = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)
    sides = weights.Sides(guessed if query.labels is None else query.labels, query.target.profile.classes)
    gradients = weights.margin_gradients(head.dense, first, sides, sharpness=_SHARP).detach().double().cpu()
    inputs = features.double().cpu()
    gram = (gradients @ gradients.T) * (inputs @ inputs.T + 1)
    layer = weights.written(head.dense, weights.base_of(query.target)).cpu()
    matched = (gradients * (inputs @ layer[:, :-1].T + layer[:, -1])).sum(dim=1)
    scale = gram.diagonal().sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    gram = gram / scale / scale[:, None]
    inverse = torch.linalg.inv(gram + _RIDGE * torch.eye(len(gram), dtype=gram.dtype))
    standardised: Tensor = inverse @ (matched / scale) / inverse.diagonal().sqrt()
    return standardised.float()
