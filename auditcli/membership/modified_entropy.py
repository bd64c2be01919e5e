"""Membership from all probabilities: is the model sure, and right? Public name: `modified_entropy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from auditcli.membership._logits import chosen, margins, per_class
from auditcli.membership._signal import Query, signal

if TYPE_CHECKING:
    from torch import Tensor


@signal(paper="arXiv:2003.10595")
def modified_entropy(query: Query) -> Tensor:
    """Scores how sure and how right the model is, as minus the log of a modified entropy.

    With p the softmax of the logits and y the label, the modified entropy is

        -(1 - p_y) log p_y - sum_{j != y} p_j log(1 - p_j)

    which is 0 for a sure and right answer and grows where the model is sure of a wrong one. All is reckoned in
    logarithms, as it is far below the smallest float32 where a network knows its training images by heart. Without
    labels, y is the predicted class.

    Args:
        query: Of any classifier.

    Returns:
        (n,), higher = more likely a member.

    Raises:
        AttackError: the time is up.

    Reference:
        Song and Mittal 2021, arXiv:2003.10595, equation (8). We differ: minus the log of it, which orders images alike,
        and one threshold for all classes, since few members of each are at hand.
    """
    scores = []
    with torch.no_grad():
        for images, labels in query.batches():
            logits = per_class(query.target(images)).double()
            scores.append(-_log_modified_entropy(logits, chosen(logits, labels)))
    return torch.cat(scores)


def _log_modified_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Log of the modified entropy, (n,), of logits (n, classes)."""
    n, count = logits.shape
    every = torch.arange(count, device=logits.device).repeat(n)
    # The margin of class j is log(p_j / (1 - p_j)), so -log p_j = softplus(-m_j) and -log(1 - p_j) = softplus(m_j).
    m = margins(logits.repeat_interleave(count, dim=0), every).unflatten(0, (n, count))
    own = nn.functional.one_hot(classes, count).bool()
    weight = torch.where(own, -nn.functional.softplus(m), -nn.functional.softplus(-m))
    penalty = torch.where(own, _log_softplus(-m), _log_softplus(m))
    return (weight + penalty).logsumexp(dim=1)


def _log_softplus(z: Tensor) -> Tensor:
    """`log(log(1 + exp(z)))`, which tends to z where exp(z) is lost beside 1."""
    return torch.where(z < -30, z, nn.functional.softplus(z.clamp_min(-30)).log())
