"""Membership from weights alone: does an image lie in the span of the first layer? Public name: `span`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditcli import weights
from auditcli.errors import AttackError
from auditcli.membership._signal import Query, signal
from auditcli.types import Trait

if TYPE_CHECKING:
    from torch import Tensor


@signal(paper="ours: docs/attacks/kkt.md", requires=frozenset({Trait.DENSE, Trait.FIRST_LAYER_LINEAR}))
def span(query: Query) -> Tensor:
    """Scores how much of an image lies in the span that training wrote into the first layer.

    The score is `-log rho^2` with `rho = |(I - V V^T) [x, 1]| / |[x, 1]|` and V the right singular directions of
    `[W1 b1]` above the noise of the initial weights. No query, no shadow model, no label.

    Args:
        query: Of a network whose first layer is linear on the pixels; its labels are not used.

    Returns:
        (n,), higher = more likely a member.

    Raises:
        AttackError: no direction stands above the noise, so the weights hold no span.

    Reference:
        Our own; docs/attacks/kkt.md derives it from the gradient step of a linear layer.
    """
    target = query.target
    if target.dense is None:
        raise TypeError("a target with Trait.DENSE has no dense stack")
    found = weights.span_of(target)
    if found.rank == 0:
        raise AttackError("no singular value of the first layer stands above the noise of its initial weights")
    inputs = weights.flat_inputs(target.dense, target.profile.normalisation, query.images)
    return -found.residual(inputs).clamp_min(1e-12).log()
