"""The generator: up-convolutions with heavy dropout. Public names: `Generator`, `build`, `sample`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from auditcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from auditcli.generator._conditions import Conditions

LATENT = 16
WIDTH = 16
DROPOUT = 0.2
_GROUPS = 4
_START = 0.1
"""Share of its usual size at which the last layer starts, so that the first images are near grey."""
_SLOPE = 0.2


class Generator(nn.Module):
    """Noise and conditions -> images: a linear seed, then up-convolutions; see `build`.

    It has no batch norm and no state beside its weights, so that an image depends on no other image.
    """

    centre: Tensor

    def __init__(self, shape: tuple[int, int, int], classes: int, *, latent: int, width: int, dropout: float) -> None:
        super().__init__()
        channels, *image = shape
        self.latent, self.dropout = latent, dropout
        self.sizes, self.meeting = _sizes((image[0], image[1]), classes)
        last = len(self.sizes) - 1
        self.widths = [_GROUPS * -(-width * 2 ** min(2, last - 1 - i) // _GROUPS) for i in range(last)]
        reads = [wide + (i == self.meeting) for i, wide in enumerate(self.widths)]  # a matrix is one channel more
        height, across = self.sizes[0]
        self.seed = nn.Linear(latent + classes, self.widths[0] * height * across)
        self.norms = nn.ModuleList(nn.GroupNorm(_GROUPS, wide) for wide in self.widths)
        self.growths = nn.ModuleList(
            _growth(into, out, small, large)
            for into, out, small, large in zip(reads, self.widths[1:], self.sizes, self.sizes[1:], strict=False)
        )
        self.growths.append(_smooth_growth(reads[-1], channels, self.sizes[-1]))
        self.register_buffer("centre", torch.zeros(1, channels, 1, 1))

    def forward(self, noise: Tensor, conditions: Conditions, rng: torch.Generator) -> Tensor:
        """Images (n, c, h, w), pixels around [0, 1] and not held to it.

        Args:
            noise: (n, latent).
            conditions: What each image is to be.
            rng: Of the dropout, which is part of the noise and is never switched off.
        """
        maps = self.seed(torch.cat([noise, conditions.vectors], dim=1)).view(len(noise), self.widths[0], *self.sizes[0])
        for index, (norm, growth) in enumerate(zip(self.norms, self.growths, strict=True)):
            maps = self._thinned(functional.leaky_relu(norm(maps), _SLOPE), rng)
            if index == self.meeting:
                maps = torch.cat([maps, conditions.matrices(self.sizes[index])], dim=1)
            height, width = self.sizes[index + 1]
            maps = growth(maps)[..., :height, :width]
        images: Tensor = maps + self.centre
        return images

    def _thinned(self, maps: Tensor, rng: torch.Generator) -> Tensor:
        kept = torch.rand(*maps.shape[:2], 1, 1, generator=rng) >= self.dropout
        return maps * (kept.to(maps.device) / (1 - self.dropout))


def build(
    shape: tuple[int, int, int],
    classes: int,
    rng: torch.Generator,
    *,
    latent: int = LATENT,
    width: int = WIDTH,
    dropout: float = DROPOUT,
    centre: Sequence[float] = (0.5,),
) -> Generator:
    """A generator with fresh weights, on the CPU.

    The maps double from a seed of a few pixels up to the image; the matrices join where the map is N x N, or at half
    the image where it has fewer than N pixels a side.

    Args:
        shape: (c, h, w) of the images.
        classes: N, at least 2.
        rng: Of the initial weights; torch's own generator stays as it was.
        latent: Length of the noise.
        width: Channels of the last map but one; earlier ones have up to four times as many.
        dropout: Share of channels dropped from every map, in [0, 1).
        centre: Pixel value the images start around, one a channel or one for all: a model's normalisation mean.

    Raises:
        UsageError: a number is out of its range.

    Reference:
        Suhail and Sethi, arXiv:2502.00760, give the conditioning and the heavy dropout, not the layers. These are ours:
        transposed convolutions that double a map, a bilinear last growth, group norm, channels dropped whole.
    """
    for name, value, usable in (
        ("latent", latent, latent >= 1),
        ("width", width, width >= 1),
        ("dropout", dropout, 0 <= dropout < 1),
    ):
        if not usable:
            raise UsageError(
                f"a generator cannot have {name} {value}",
                hint="latent and width are at least 1, dropout is at least 0 and below 1",
            )
    with torch.device("meta"):  # there torch's own initialisation draws nothing
        net = Generator(shape, classes, latent=latent, width=width, dropout=dropout)
    net.to_empty(device="cpu")
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, a=_SLOPE, mode="fan_out", generator=rng)
        else:
            nn.init.constant_(parameter, float(name.startswith("norms.") and name.endswith(".weight")))
    with torch.no_grad():
        next(net.growths[-1].parameters()).mul_(_START)
    net.centre.copy_(torch.tensor(tuple(centre)).view(1, -1, 1, 1))
    return net


def sample(net: Generator, conditions: Conditions, rng: torch.Generator) -> Tensor:
    """Images (n, c, h, w) in [0, 1] from fresh noise, on the generator's device; no gradient is kept.

    Args:
        net: As `build` makes it and `invert` trains it.
        conditions: What each image is to be.
        rng: Of noise and dropout.
    """
    device = net.seed.weight.device
    with torch.no_grad():
        noise = torch.randn(len(conditions), net.latent, generator=rng).to(device)
        images: Tensor = net(noise, conditions.to(device), rng)
    return images.clamp(0, 1)


def _sizes(image: tuple[int, int], classes: int) -> tuple[list[tuple[int, int]], int]:
    """Sizes of the maps, growing, and the index of the one that meets the matrices."""
    met = (classes, classes) if classes <= min(image) else (-(-image[0] // 2), -(-image[1] // 2))
    after = [image]
    while (half := _half(after[0]))[0] > met[0] and half[1] > met[1]:
        after.insert(0, half)
    before = [_half(met)]
    while max(before[0]) > 7:
        before.insert(0, _half(before[0]))
    before = [] if before == [met] else before
    return [*before, met, *after], len(before)


def _growth(into: int, out: int, small: tuple[int, int], large: tuple[int, int]) -> nn.Module:
    """From one map to the next: to twice its size (a row and a column too many are cut), or to any other."""
    if _half(large) == small:
        return nn.ConvTranspose2d(into, out, 4, stride=2, padding=1)
    return _smooth_growth(into, out, large)


def _smooth_growth(into: int, out: int, large: tuple[int, int]) -> nn.Module:
    """To any size without the checkerboard of a transposed convolution."""
    return nn.Sequential(nn.Upsample(large, mode="bilinear"), nn.Conv2d(into, out, 3, padding=1))


def _half(size: tuple[int, int]) -> tuple[int, int]:
    return -(-size[0] // 2), -(-size[1] // 2)
