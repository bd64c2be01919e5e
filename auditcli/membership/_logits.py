"""What signals read off logits, in the log domain. Public names: `per_class`, `chosen`, `margins`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def per_class(logits: Tensor) -> Tensor:
    """Logits (n, classes), at least two: a single logit (n, 1) stands beside a zero."""
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits


def chosen(logits: Tensor, labels: Tensor | None) -> Tensor:
    """The class (n,) each image is scored by: its label, or without labels the one predicted by logits (n, classes)."""
    return logits.argmax(dim=1) if labels is None else labels.to(logits.device)


def margins(logits: Tensor, classes: Tensor) -> Tensor:
    """`log(p_y / (1 - p_y)) = f_y - logsumexp_{j != y} f_j`, (n,), of logits (n, classes) and classes y (n,).

    The cross-entropy loss is `softplus(-margin)`. The margin does not run out of digits where the model is certain.
    """
    own = torch.arange(logits.shape[1], device=logits.device) == classes[:, None]
    return (logits * own).sum(dim=1) - logits.masked_fill(own, -torch.inf).logsumexp(dim=1)
