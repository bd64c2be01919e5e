"""Membership from noise: does the answer survive it? Public name: `robustness`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditcli.membership._logits import chosen, margins, per_class
from auditcli.membership._signal import BATCH, Query, signal

if TYPE_CHECKING:
    from torch import Tensor

_RADIUS = 8 / 255
"""Of the noise, in pixel units; from 16/255 on, a convolutional network forgets more members than others."""
_DRAWS = 8


@signal(paper="ours: after Suhail and Sethi's prior for reconstruction")
def robustness(query: Query) -> Tensor:
    """Scores how well the answer on an image survives noise, as its mean margin over noisy copies.

    The noise is uniform in a cube of half-width 8/255 around the image, cut to [0, 1]; its eight draws are the same for
    all images, so that a score does not depend on where the image stands. Labels are used where known; else y is the
    class predicted without noise.

    Args:
        query: Of any classifier; its seed is that of the noise.

    Returns:
        (n,) mean margins `log(p_y / (1 - p_y))`, higher = more likely a member.

    Raises:
        AttackError: the time is up.

    Reference:
        The second of the properties by which Suhail and Sethi reconstruct training data: they are classified alike
        within a small L-infinity ball. We differ: random noise and the margin in place of a cross-entropy loss.
    """
    rng = torch.Generator().manual_seed(query.seed)
    noise = ((torch.rand(_DRAWS, *query.images.shape[1:], generator=rng) * 2 - 1) * _RADIUS).to(query.images.device)
    scores = []
    with torch.no_grad():
        for images, labels in query.batches(BATCH // _DRAWS):
            classes = chosen(per_class(query.target(images)), labels)
            copies = (images[:, None] + noise).clamp(0, 1).flatten(0, 1)
            noisy = margins(per_class(query.target(copies)), classes.repeat_interleave(_DRAWS))
            scores.append(noisy.unflatten(0, (len(images), _DRAWS)).mean(dim=1))
    return torch.cat(scores)
