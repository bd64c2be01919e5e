"""Membership from the gradient of the loss: are the weights at rest on an image? Public name: `gradient_norm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from auditcli.membership._gradients import margin_gradients
from auditcli.membership._signal import Query, signal

if TYPE_CHECKING:
    from torch import Tensor


@signal(paper="arXiv:1812.00910")
def gradient_norm(query: Query) -> Tensor:
    """Scores how little the loss of an image pulls at the weights, as minus the log of its gradient's norm.

    With `m` the margin of the class y, the cross-entropy loss is `softplus(-m)`, so its gradient is
    `-sigmoid(-m) grad m` and the score is exactly

        -log |grad_theta loss| = softplus(m) - log |grad_theta m|

    which keeps its digits where the model is certain and the loss itself is zero. Without labels, y is the predicted
    class.

    Args:
        query: Of any classifier.

    Returns:
        (n,), higher = more likely a member.

    Raises:
        AttackError: the time is up.

    Reference:
        Nasr, Shokri and Houmansadr 2019, arXiv:1812.00910, who feed gradients to a classifier; the norm alone is the
        third property of training images in Suhail and Sethi's reconstruction attacks. We differ: log domain.
    """
    scores = []
    for found in margin_gradients(query):
        norms = torch.stack([torch.linalg.vector_norm(value.flatten(1), dim=1) for value in found.by_name.values()])
        total = norms.double().square().sum(dim=0).sqrt().clamp_min(torch.finfo(torch.float64).tiny)
        scores.append(nn.functional.softplus(found.margins.double()) - total.log())
    return torch.cat(scores)
