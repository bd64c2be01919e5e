"""The module of a `Target`: pixels in [0, 1] in, logits out (`FromPixels`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import Normalisation


class FromPixels(nn.Module):
    """Normalises pixels, runs a network, and turns its outputs into log-probabilities where the graph had a softmax."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, normalisation: Normalisation, *, log_softmax: bool) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(normalisation.std).view(1, -1, 1, 1), persistent=False)
        self.log_softmax = log_softmax

    def forward(self, images: Tensor) -> Tensor:
        """Logits, or log-probabilities, (n, outputs) of images (n, c, h, w) in [0, 1]."""
        outputs: Tensor = self.net((images - self.mean) / self.std)
        return outputs.log_softmax(1) if self.log_softmax else outputs
