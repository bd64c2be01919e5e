"""Membership by shadow models, image by image: is the model surer than strangers to it? Public name: `lira`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditcli.membership._odds import labels_of, log_odds
from auditcli.membership._signal import Query, signal

if TYPE_CHECKING:
    from torch import Tensor

_MANY = 64
"""Shadow models from which on each image has a variance of its own."""


@signal(paper="arXiv:2112.03570", shadows=True)
def lira(query: Query) -> Tensor:
    """Scores how far the model is surer of an image than shadow models that never saw it.

    With phi the log-odds of the label, mu and sigma its mean and deviation over the shadow models, the score is
    `-log(1 - Phi((phi - mu) / sigma))`: minus the logarithm of a one-sided p-value. Without labels, y is the class that
    the target predicts, for the shadow models too.

    Args:
        query: With shadow models, at least two, none of which saw an image of the query.

    Returns:
        (n,), higher = more likely a member.

    Reference:
        Carlini et al. 2022, arXiv:2112.03570, section IV-B, the offline attack. We differ: below 64 shadow models one
        variance is pooled over all images, without the bias of few models; the paper's logits are those of the
        correct class alone, as here.
    """
    if query.shadows is None:
        raise TypeError("a signal with shadows=True was asked without shadow models")
    labels = labels_of(query, query.images, query.labels)
    own = log_odds(query.target, query.images, labels)
    out = torch.stack([log_odds(shadow, query.images, labels) for shadow in query.shadows.targets])
    variance = out.var(dim=0)
    if len(out) < _MANY:
        variance = variance.mean()
    deviation = variance.sqrt().clamp_min(torch.finfo(out.dtype).tiny)
    p_value: Tensor = torch.special.log_ndtr((out.mean(dim=0) - own) / deviation)
    return -p_value
