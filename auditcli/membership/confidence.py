"""Membership from the loss: is the model surer of an image than of others? Public name: `confidence`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditcli.membership._signal import Query, signal

if TYPE_CHECKING:
    from torch import Tensor

_BATCH = 256


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

    Reference:
        Yeom et al. 2018, arXiv:1709.01604 (loss threshold); Carlini et al. 2022, arXiv:2112.03570, section IV-A, for
        the logit scaling.
    """
    with torch.no_grad():
        logits = torch.cat([query.target(batch) for batch in query.images.split(_BATCH)])
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    chosen = logits.argmax(dim=1) if query.labels is None else query.labels.to(logits.device)
    own = torch.nn.functional.one_hot(chosen, logits.shape[1]).bool()
    return logits[own] - logits.masked_fill(own, -torch.inf).logsumexp(dim=1)
