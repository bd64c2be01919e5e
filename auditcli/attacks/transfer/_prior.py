"""Deep image priors: small networks, one an image, whose very shape makes what they draw look like a picture: `Priors`.

They are trained side by side and share nothing: each layer of all of them is one grouped convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log2
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_SLOPE = 0.2
_SMALLEST = 4
"""Side of the coarsest map, about."""
_NOISE = 8
"""Channels of the fixed noise that a network draws from."""
_SKIP = 4
"""Channels that go across at each level."""


class Priors:
    """As many U-Nets as images, each on its own fixed noise.

    A level halves the side with a strided convolution and comes back by bilinear interpolation, next to what a few
    channels bring across. Nothing is brought across at the finest level, or the noise itself would be drawn. Every
    convolution but the last is followed by a normalisation of each channel of each image.
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
        self.levels = max(1, round(log2(min(height, wide) / _SMALLEST)))
        self.noise = torch.rand(images, _NOISE, height, wide, generator=rng)
        self.weights = [
            parameter
            for into, out, side in _sizes(self.levels, width, channels)
            for parameter in (
                torch.randn(images, out, into, side, side, generator=rng) * (2 / (into * side * side)) ** 0.5,
                torch.zeros(images, out),
            )
        ]

    def to(self, device: torch.device) -> Priors:
        """Moves weights and noise, and makes the weights trainable."""
        self.noise = self.noise.to(device)
        self.weights = [weight.to(device).requires_grad_() for weight in self.weights]
        return self

    def __call__(self) -> Tensor:
        """What they draw at present, (images, c, h, w) in [0, 1]."""
        layers = zip(self.weights[::2], self.weights[1::2], strict=True)
        x, across, sizes = self.noise, [], []
        for level in range(self.levels):
            sizes.append(x.shape[2:])
            if level:
                across.append(_active(_convolved(x, next(layers))))
            x = _active(_convolved(x, next(layers), stride=2))
            x = _active(_convolved(x, next(layers)))
        for size in reversed(sizes):
            x = functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
            x = torch.cat([x, across.pop()], dim=1) if across else x
            x = _active(_convolved(x, next(layers)))
        return _convolved(x, next(layers)).sigmoid()


def _sizes(levels: int, width: int, channels: int) -> Iterator[tuple[int, int, int]]:
    """Channels in and out and side of the kernels, in the order in which they are used."""
    for level in range(levels):
        if level:
            yield width, _SKIP, 1
        yield width if level else _NOISE, width, 3
        yield width, width, 3
    for level in reversed(range(levels)):
        yield width + (_SKIP if level else 0), width, 3
    yield width, channels, 1


def _convolved(x: Tensor, layer: tuple[Tensor, Tensor], stride: int = 1) -> Tensor:
    """Each image by a convolution of its own."""
    weight, bias = layer
    reach = weight.shape[-1] // 2
    padded = functional.pad(x, (reach,) * 4, mode="reflect") if reach else x
    flat = padded.flatten(0, 1)[None]
    out: Tensor = functional.conv2d(flat, weight.flatten(0, 1), bias.flatten(), stride=stride, groups=len(x))
    images: Tensor = out[0].unflatten(0, (len(x), -1))
    return images


def _active(x: Tensor) -> Tensor:
    return functional.leaky_relu(functional.instance_norm(x), _SLOPE)
