"""What samples of a generator amount to, by the target alone. Public name: `agreement`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditcli.generator.reading import read

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import Target


def agreement(target: Target, images: Tensor, labels: Tensor) -> float:
    """Share of images (n, c, h, w) that the target puts into the class of their label (n,), in [0, 1]."""
    with torch.no_grad():
        chosen = read(target, images).log_probabilities.argmax(dim=1)
    return float((chosen == labels.to(chosen.device)).double().mean())
