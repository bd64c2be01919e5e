"""Deep image priors: small networks, one an image, whose very shape makes what they draw look like a picture: `Priors`.

They are trained side by side and share nothing: each layer of all of them is one grouped convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_SLOPE = 0.2
_SMALLEST = 4
"""Side of the coarsest map, about."""
_INPUT = 8
"""Channels of the fixed noise that a network draws from."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Of one network: all the channels it needs to know."""

    images: int
    width: int
    channels: int
    levels: int


class Priors:
    """As many U-Nets as images, each on its own fixed noise.

    A level halves the side with a strided convolution and comes back by bilinear interpolation, next to what the finer
    level had. Every convolution but the last is followed by a normalisation of each channel of each image.
    """

    def __init__(self, images: int, shape: tuple[int, int, int], width: int, rng: torch.Generator) -> None:
        """Networks at random.

        Args:
            images: How many.
            shape: (c, h, w) of an image.
            width: Channels of each level.
            rng: Of noise and initial weights, drawn on the CPU.
        """
        channels, height, wide = shape
        levels = max(1, round(log2(min(height, wide) / _SMALLEST)))
        self.shape = _Shape(images, width, channels, levels)
        self.noise = torch.rand(images, _INPUT, height, wide, generator=rng)
        self.parameters = [*self._layers(rng)]

    def to(self, device: torch.device) -> Priors:
        """Moves weights and noise, and makes the weights trainable."""
        self.noise = self.noise.to(device)
        self.parameters = [parameter.to(device).requires_grad_() for parameter in self.parameters]
        return self

    def __call__(self) -> Tensor:
        """What they draw at present, (images, c, h, w) in [0, 1]."""
        weights = iter(self.parameters)
        x, finer = self.noise, []
        for _ in range(self.shape.levels):
            finer.append(x)
            x = self._convolve(x, weights, stride=2)
            x = self._convolve(x, weights)
        for before in reversed(finer):
            x = functional.interpolate(x, size=before.shape[2:], mode="bilinear", align_corners=False)
            x = self._convolve(torch.cat([x, before], dim=1), weights)
        return self._convolve(x, weights, last=True).sigmoid()

    def _layers(self, rng: torch.Generator) -> list[Tensor]:
        """Weights, each followed by its bias, in the order in which `__call__` takes them."""
        width, sizes = self.shape.width, []
        for level in range(self.shape.levels):
            sizes += [(_INPUT if level == 0 else width, width), (width, width)]
        for level in reversed(range(self.shape.levels)):
            sizes.append((width + (_INPUT if level == 0 else width), width))
        drawn = []
        for into, out in sizes:
            drawn += self._drawn(into, out, 3, rng)
        return drawn + self._drawn(width, self.shape.channels, 1, rng)

    def _drawn(self, into: int, out: int, side: int, rng: torch.Generator) -> list[Tensor]:
        weight = torch.randn(self.shape.images, out, into, side, side, generator=rng)
        return [weight * (2 / (into * side * side)) ** 0.5, torch.zeros(self.shape.images, out)]

    def _convolve(self, x: Tensor, weights: object, *, stride: int = 1, last: bool = False) -> Tensor:
        weight, bias = next(weights), next(weights)  # type: ignore[call-overload]
        side = weight.shape[-1]
        padded = functional.pad(x, (side // 2,) * 4, mode="reflect") if side > 1 else x
        flat = padded.flatten(0, 1)[None]
        out = functional.conv2d(flat, weight.flatten(0, 1), bias.flatten(), stride=stride, groups=len(x))
        out = out if last else functional.leaky_relu(functional.instance_norm(out), _SLOPE)
        return out[0].unflatten(0, (len(x), -1))
