"""What a hypothesis makes of images: how often it is right, and how well batch norm finds its inputs (`measure`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from auditcli.types import Target

_BATCH = 64


@dataclass(frozen=True, slots=True)
class Layer:
    """What a batch norm layer recorded in training, and what its inputs are now; c channels, n images."""

    mean: Tensor
    """(c,) recorded."""
    variance: Tensor
    """(c,) recorded."""
    first: Tensor
    """(n, c) mean of the inputs of each image."""
    second: Tensor
    """(n, c) mean of their squares."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A hypothesis on the same n images as all others."""

    logits: Tensor
    """(n, outputs)."""
    layers: tuple[Layer, ...]

    def right(self, labels: Tensor) -> Tensor:
        """(n,) whether the predicted class is the label."""
        if self.logits.shape[1] == 1:
            return (self.logits[:, 0] > 0) == (labels == 1)
        return self.logits.argmax(1) == labels

    def distances(self, weights: Tensor) -> Tensor:
        """(b,) how far the recorded statistics are from those of the images, in [0, 1], under b weightings (b, n).

        The squared Hellinger distance between two normal distributions of these means and variances, averaged over
        channels, then over layers.
        """
        return torch.stack([_hellinger(layer, weights).mean(1) for layer in self.layers]).mean(0)


def measure(target: Target, images: Tensor) -> Measured:
    """Run a model on images (n, c, h, w) in [0, 1] and look into its batch norms."""
    norms = [module for module in target.module.modules() if _records(module)]
    seen: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {norm: [] for norm in norms}

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        places = inputs[0].flatten(2) if inputs[0].ndim > 2 else inputs[0].unsqueeze(2)
        seen[module].append((places.mean(2), places.square().mean(2)))

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    try:
        with torch.no_grad():
            logits = torch.cat([target(batch) for batch in images.split(_BATCH)])
    finally:
        for hook in hooks:
            hook.remove()
    return Measured(logits, tuple(_layer(norm, parts) for norm, parts in seen.items() if parts))


def _records(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None


def _layer(norm: nn.Module, parts: Sequence[tuple[Tensor, Tensor]]) -> Layer:
    first, second = (torch.cat(each).double() for each in zip(*parts, strict=True))
    mean, variance = (getattr(norm, name).double() for name in ("running_mean", "running_var"))
    return Layer(mean, variance, first, second)


def _hellinger(layer: Layer, weights: Tensor) -> Tensor:
    """(b, c) squared Hellinger distances."""
    share = weights / weights.sum(1, keepdim=True)
    mean = share @ layer.first
    variance = (share @ layer.second - mean.square()).clamp_min(0)
    # A dead channel has no variance, recorded or found; a little of the layer's keeps the distance defined.
    floor = 1e-6 * layer.variance.mean().clamp_min(1e-12)
    one, other = layer.variance + floor, variance + floor
    total = one + other
    overlap = (2 * (one * other).sqrt() / total).sqrt() * torch.exp(-(mean - layer.mean).square() / (4 * total))
    return 1 - overlap.nan_to_num(0.0)
