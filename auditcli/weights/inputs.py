"""From pixels to what the first layer reads. Public name: `flat_inputs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import DenseStack, Normalisation


def flat_inputs(dense: DenseStack, normalisation: Normalisation, images: Tensor) -> Tensor:
    """Images (n, c, h, w) in [0, 1] as flat inputs (n, d) of the first layer, in the precision of its weights."""
    mean, std = (
        torch.tensor(values, device=images.device)[:, None, None] for values in (normalisation.mean, normalisation.std)
    )
    return ((images - mean) / std).flatten(1).to(dense.weights[0].dtype)
