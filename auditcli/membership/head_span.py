"""Membership in the training set of a head: does an embedding lie in the span of its first layer? `head_span`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditcli import weights
from auditcli.errors import AttackError
from auditcli.membership._signal import Query, signal
from auditcli.types import Trait

if TYPE_CHECKING:
    from torch import Tensor

_BATCH = 256


@signal(paper="ours: docs/signals/head_span.md", requires=frozenset({Trait.HEAD}))
def head_span(query: Query) -> Tensor:
    """Scores how much of an image's features lies in the span that training wrote into the head.

    The score is `log |e - mean|^2 - log |(I - V V^T) [e, 1]|^2` with e the features, their mean over all queried
    images, and V the right singular directions of `[W b]` of the head's first layer above the noise of its initial
    weights. Features share a large mean, which every image of the kind has, so the residual is compared with what
    sets an image apart.

    Args:
        query: Of a network whose last layers are linear on one vector of features; its labels are not used.

    Returns:
        (n,), higher = more likely a member.

    Raises:
        AttackError: the head is one linear layer, which spans no more directions than it has outputs; or no direction
            stands above the noise.

    Reference:
        Our own; docs/attacks/kkt.md derives the span from the gradient step of a linear layer.
    """
    head = query.target.head
    if head is None:
        raise TypeError("a target with Trait.HEAD has no head")
    if len(head.dense.weights) == 1:
        raise AttackError(f"the head is one layer of {len(head.dense.weights[0])} rows, which span too little")
    found = weights.span(head.dense, weights.base_of(query.target))
    if found.rank == 0:
        raise AttackError("no singular value of the head's first layer stands above the noise of its initial weights")
    with torch.no_grad():
        features = torch.cat([head.features(batch) for batch in query.images.split(_BATCH)])
    apart = (features - features.mean(dim=0)).square().sum(dim=1).clamp_min(1e-12)
    outside = found.residual(features).clamp_min(1e-12) * (features.square().sum(dim=1) + 1)
    return apart.log() - outside.log()
