"""The rule by which Haim et al. score their reconstructions: `ranked`, `ssim`, `stretched`, `Ranking`, `PUBLISHED`.

For each training image the nearest candidate by the distance of standardised images, each candidate as often as it is
nearest; the candidate stretched to fill [0, 1]; SSIM in a window of 3. Nothing here is used by the product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

TOP = 30
"""Images the authors show, of 500."""
_WINDOW, _SIGMA = 3, 1.5
_C1, _C2 = 0.01**2, 0.03**2


@dataclass(frozen=True, slots=True)
class Ranking:
    """SSIM of every image with its candidate, the best first."""

    ssim: tuple[float, ...]
    image: tuple[int, ...]
    """Index of each of the images."""
    candidate: tuple[int, ...]
    """Index of its candidate."""

    @property
    def top(self) -> tuple[float, ...]:
        """The best thirty, or all there are."""
        return self.ssim[:TOP]


PUBLISHED: Mapping[str, tuple[float, float, int, int]] = MappingProxyType(
    {"mnist": (0.239, 0.163, 0, 0), "cifar": (0.636, 0.434, 6, 17)}
)
"""Best, mean, above 0.5 and above 0.4 of the thirty pairs in the authors' notebooks (n=500, two runs), by this rule."""


def ranked(candidates: Tensor, images: Tensor, *, halved: bool, one_to_one: bool) -> Ranking:
    """Score candidates (n, c, h, w) against images (m, c, h, w) in [0, 1].

    Args:
        candidates: Not stretched yet.
        images: Of training, or controls.
        halved: Compare at half the size, as the authors do for CIFAR-10 (`ncc2`), and not for MNIST (`ncc`).
        one_to_one: Each candidate goes to one image at most, in the assignment of least total distance. The authors
            let it go to many.
    """
    distance = _distance(candidates, images, halved)
    if one_to_one:
        rows, columns = (torch.as_tensor(index) for index in linear_sum_assignment(distance.numpy()))
    else:
        columns = torch.arange(len(images))
        rows = distance.argmin(dim=0)
    scores = ssim(stretched(candidates[rows]), images[columns])
    order = scores.argsort(descending=True)
    return Ranking(tuple(scores[order].tolist()), tuple(columns[order].tolist()), tuple(rows[order].tolist()))


def stretched(images: Tensor) -> Tensor:
    """Each image stretched to fill [0, 1], over all its channels together."""
    low, high = images.flatten(1).aminmax(dim=1)
    shape = (-1, 1, 1, 1)
    return (images - low.view(shape)) / (high - low).clamp_min(torch.finfo(images.dtype).eps).view(shape)


def ssim(one: Tensor, other: Tensor) -> Tensor:
    """Mean SSIM (n,) of pairs of images (n, c, h, w): Gaussian window of 3, reflected at the edges, range 1."""
    line = torch.exp(-((torch.arange(_WINDOW, dtype=one.dtype) - _WINDOW // 2) ** 2) / (2 * _SIGMA**2))
    line = line / line.sum()
    channels = one.shape[1]
    kernel = torch.outer(line, line).expand(channels, 1, _WINDOW, _WINDOW)

    def blurred(images: Tensor) -> Tensor:
        padded = functional.pad(images, (_WINDOW // 2,) * 4, mode="reflect")
        return functional.conv2d(padded, kernel, groups=channels)

    mean, mean_other = blurred(one), blurred(other)
    variance, variance_other = blurred(one * one) - mean**2, blurred(other * other) - mean_other**2
    covariance = blurred(one * other) - mean * mean_other
    above = (2 * mean * mean_other + _C1) * (2 * covariance + _C2)
    below = (mean**2 + mean_other**2 + _C1) * (variance + variance_other + _C2)
    return (above / below).mean(dim=(1, 2, 3))


def _distance(candidates: Tensor, images: Tensor, halved: bool) -> Tensor:
    """Mean squared difference (n, m) of images standardised channel by channel."""
    rows = []
    for batch in (candidates, images):
        if halved:
            batch = functional.interpolate(batch, scale_factor=0.5, mode="bicubic", align_corners=False)
        flat = batch.flatten(2)
        flat = flat - flat.mean(dim=2, keepdim=True)
        rows.append((flat / flat.std(dim=2, keepdim=True).clamp_min(1e-8)).flatten(1))
    distance = torch.cdist(rows[0], rows[1], compute_mode="donot_use_mm_for_euclid_dist").square()
    return distance / rows[0].shape[1]
