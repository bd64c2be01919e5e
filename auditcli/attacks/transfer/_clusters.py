"""What independent starts agree on, found without any image: `representatives`, `agreement`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.cluster import AgglomerativeClustering
from torch.nn import functional

from auditcli.errors import AttackError

if TYPE_CHECKING:
    from torch import Tensor


def representatives(embeddings: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Means of clusters of candidates, those that most starts share first.

    Args:
        embeddings: (s, n, f): n candidates of each of s starts.
        reach: Clusters are merged while their mean cosine distance is below it.

    Returns:
        Directions (k, f) of length 1, and (k,) how many starts share each; among equals the tighter cluster is first.

    Raises:
        AttackError: an embedding is not finite.

    Reference:
        Oz et al. 2024, arXiv:2407.15845, take large clusters. We count the starts that a cluster holds candidates of,
        since one start can place many candidates at one point.
    """
    starts, each, _ = embeddings.shape
    if not embeddings.isfinite().all():
        raise AttackError("transfer diverged: its embeddings are not finite", hint="another --seed starts elsewhere")
    directions = functional.normalize(embeddings.flatten(0, 1), dim=1)
    if len(directions) == 1:
        return directions, torch.ones(1, dtype=torch.long)
    tree = AgglomerativeClustering(n_clusters=None, metric="cosine", linkage="average", distance_threshold=reach)
    labels = torch.from_numpy(tree.fit_predict(directions.double().cpu().numpy()))
    origin = torch.arange(starts).repeat_interleave(each)
    count = int(labels.max()) + 1
    held = torch.zeros(count, starts, dtype=torch.bool)
    held[labels, origin] = True
    sums = torch.zeros(count, directions.shape[1], dtype=directions.dtype, device=directions.device)
    sums.index_add_(0, labels.to(directions.device), directions)
    size = torch.bincount(labels, minlength=count)
    tightness = sums.norm(dim=1).cpu() / size
    shared = held.sum(dim=1)
    order = torch.from_numpy(np.lexsort((-tightness.numpy(), -shared.numpy())))
    return functional.normalize(sums, dim=1)[order.to(sums.device)], shared[order]


def agreement(starts: int, shared: Tensor) -> int:
    """How many starts must share a cluster: half of all; where none is so well shared, as many as share the best."""
    return min((starts + 1) // 2, int(shared.max()))
