"""Membership from the loss: is the model surer of an image than of others? Public name: `confidence`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditcli.membership._logits import chosen, margins, per_class
from auditcli.membership._signal import Query, signal

if TYPE_CHECKING:
    from torch import Tensor


@signal(paper="arXiv:1709.01604, arXiv:2112.03570")
def confidence(query: Query) -> Tensor:
    """Scores how sure the model is of the label, as the margin that the loss is a function of.

    The score is `log(p_y / (1 - p_y)) = f_y - logsumexp_{j != y} f_j`, which orders images exactly as the
    cross-entropy loss does and, unlike it, does not run out of digits where the model is certain. Without labels, y is
    the predicted class.

    Args:
        query: Of any classifier.

    Returns:
        (n,) margins, higher = more likely a member.

    Raises:
        AttackError: the time is up.

    Reference:
        Yeom et al. 2018, arXiv:1709.01604 (loss threshold); Carlini et al. 2022, arXiv:2112.03570, section IV-A, for
        the logit scaling.
    """
    scores = []
    with torch.no_grad():
        for images, labels in query.batches():
            logits = per_class(query.target(images))
            scores.append(margins(logits, chosen(logits, labels)))
    return torch.cat(scores)
