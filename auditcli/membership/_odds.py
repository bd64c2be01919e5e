"""How sure models are of labels, for signals that compare the target with shadow models: `labels_of`, `log_odds`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditcli.membership._logits import chosen, per_class
from auditcli.membership._signal import Query
from auditcli.membership.confidence import confidence

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import Target

_BATCH = 256


def labels_of(query: Query, images: Tensor, known: Tensor | None) -> Tensor:
    """Classes (n,) of images, on the CPU: those known, where those of the query are known too, else as predicted.

    One rule for all images of a comparison, whether they are the query's or the population's.
    """
    if known is not None and query.labels is not None:
        return known.cpu()
    with torch.no_grad():
        logits = torch.cat([query.target(batch) for batch in images.split(_BATCH)])
    return chosen(per_class(logits), None).cpu()


def log_odds(target: Target, images: Tensor, labels: Tensor) -> Tensor:
    """`log(p / (1 - p))` of the probability p of each label, (n,) float64 on the CPU; its `logsigmoid` is log p."""
    return confidence.scores(Query(target=target, images=images, labels=labels)).double().cpu()
