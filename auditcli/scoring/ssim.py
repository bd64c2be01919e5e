"""Structural similarity of every candidate with every image, exactly as scikit-image defines it.

Public names: `pairwise_ssim`, `WindowName`, `K1`, `K2`, `DATA_RANGE`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from auditcli.errors import SampleError
from auditcli.threads import one_thread

WindowName = Literal["uniform-7", "gaussian-11"]

K1 = 0.01
K2 = 0.03
DATA_RANGE = 1.0
"""Fixed, never taken from the pixels: otherwise the score of a pair would change with what else is in the batch."""

_C1 = (K1 * DATA_RANGE) ** 2
_C2 = (K2 * DATA_RANGE) ** 2
_TILE_ROWS, _TILE_COLUMNS = 256, 512
"""Pairs worked on at a time, so that the intermediate results stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class _Window:
    side: int
    weights: Tensor
    """(side * side,) float64, sum 1."""
    norm: float
    """Factor on the (co)variance: N / (N - 1) for the sample covariance, else 1."""


@dataclass(frozen=True, slots=True)
class _Factors:
    """SSIM of a pair at a window position is `structure * luminance / scale`, each an inner product over the last axis.

    All are (positions, images, terms).
    """

    structure: Tensor
    luminance: Tensor
    scale: Tensor


def pairwise_ssim(
    candidates: Tensor, images: Tensor, *, window: WindowName = "uniform-7", chunk_bytes: int = 64 << 20
) -> Tensor:
    """SSIM of every pair, on valid windows only, averaged over positions and channels.

    Equal to `skimage.metrics.structural_similarity(a, b, data_range=1.0, channel_axis=0)`; the Gaussian window adds
    `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`. Each window position is one matrix product
    of centred patches; as the mean is taken off before the product, flat images lose no digits in float32.

    Args:
        candidates: (n, c, h, w) floating point, pixels in [0, 1].
        images: (m, c, h, w) floating point, pixels in [0, 1].
        window: `uniform-7`, scikit-image's default, or `gaussian-11`, as in the paper.
        chunk_bytes: Bound on the memory of the patches held at a time, in bytes; at least one window position is.

    Returns:
        (n, m) in [-1, 1]; float64 where an input is, else float32.

    Raises:
        SampleError: shapes differ, images are smaller than the window, or pixels are not finite floating point.

    Reference:
        Wang, Bovik, Sheikh, Simoncelli 2004, doi:10.1109/TIP.2003.819861, eq. 13, K1 = 0.01, K2 = 0.03.
    """
    spec = _window(window)
    _check(candidates, images, spec.side)
    candidates, images = candidates.detach(), images.detach()
    with one_thread() as workers:
        # One block of images a worker, no smaller than a tile.
        block = max(-(-len(images) // workers), _TILE_COLUMNS)
        score = partial(_block_ssim, candidates, window=spec, chunk_bytes=chunk_bytes // workers)
        with ThreadPoolExecutor(workers) as pool:
            return torch.cat(list(pool.map(score, images.split(block))), dim=1)


def _block_ssim(candidates: Tensor, images: Tensor, *, window: _Window, chunk_bytes: int) -> Tensor:
    dtype = torch.promote_types(torch.promote_types(candidates.dtype, images.dtype), torch.float32)
    n, channels, height, width = candidates.shape
    rows, columns = height - window.side + 1, width - window.side + 1
    # Patches in float64, their square and the cast copy live at the same time: three times eight bytes.
    step = max(1, chunk_bytes // max(1, (n + len(images)) * window.side**2 * 24))
    total = torch.zeros(n, len(images), dtype=torch.float64, device=candidates.device)
    for channel in range(channels):
        for row in range(rows):
            left, right = (x[:, channel, row : row + window.side] for x in (candidates, images))
            for start in range(0, columns, step):
                strip = slice(start, min(start + step, columns) + window.side - 1)
                _add(
                    total,
                    _candidate_factors(left[..., strip], window, dtype),
                    _image_factors(right[..., strip], window, dtype),
                )
    return total.div_(channels * rows * columns).to(dtype)


def _window(name: WindowName) -> _Window:
    if name == "uniform-7":
        return _Window(7, torch.full((49,), 1 / 49, dtype=torch.float64), 49 / 48)
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    line = torch.exp(-0.5 * (offsets / 1.5) ** 2)
    line /= line.sum()
    return _Window(11, torch.outer(line, line).flatten(), 1.0)


def _check(candidates: Tensor, images: Tensor, side: int) -> None:
    if candidates.ndim != 4 or images.ndim != 4 or candidates.shape[1:] != images.shape[1:]:
        raise SampleError(
            f"SSIM needs candidates and images of one shape (c, h, w), got {tuple(candidates.shape)} "
            f"and {tuple(images.shape)}",
            hint="give images of the model's input size: privaudit inspect MODEL shows it",
        )
    height, width = images.shape[2:]
    if min(height, width) < side:
        raise SampleError(
            f"SSIM needs images of at least {side}x{side} pixels, got {height}x{width}",
            hint="privaudit inspect MODEL shows the input size; --input-shape C,H,W sets it",
        )
    for name, pixels in (("candidates", candidates), ("images", images)):
        if not pixels.is_floating_point() or not bool(pixels.isfinite().all()):
            raise SampleError(
                f"SSIM needs finite floating-point pixels in [0, 1], the {name} are not (dtype {pixels.dtype})",
                hint="divide uint8 pixels by 255",
            )


def _moments(strip: Tensor, window: _Window) -> tuple[Tensor, Tensor, Tensor]:
    """Centred patches (p, n, side**2), their mean (p, n, 1) and variance (p, n, 1) of a strip (n, side, columns)."""
    patches = strip.double().unfold(2, window.side, 1).permute(2, 0, 1, 3).flatten(2)
    weights = window.weights.to(strip.device)
    mean = (patches @ weights).unsqueeze(2)
    centred = patches - mean
    variance = window.norm * (centred.square() @ weights).unsqueeze(2)
    return centred, mean, variance


def _candidate_factors(strip: Tensor, window: _Window, dtype: torch.dtype) -> _Factors:
    centred, mean, variance = _moments(strip, window)
    one, square = torch.ones_like(mean), mean.square()
    weighted = centred.mul_(2 * window.norm * window.weights.to(strip.device))
    return _Factors(
        structure=torch.cat([weighted, _C2 * one], dim=2).to(dtype),
        luminance=torch.cat([2 * mean, _C1 * one], dim=2).to(dtype),
        scale=torch.cat([square * variance, square, variance, one], dim=2).to(dtype),
    )


def _image_factors(strip: Tensor, window: _Window, dtype: torch.dtype) -> _Factors:
    centred, mean, variance = _moments(strip, window)
    one, square, variance = torch.ones_like(mean), mean.square() + _C1, variance + _C2
    return _Factors(
        structure=torch.cat([centred, one], dim=2).to(dtype),
        luminance=torch.cat([mean, one], dim=2).to(dtype),
        scale=torch.cat([one, variance, square, square * variance], dim=2).to(dtype),
    )


def _add(total: Tensor, left: _Factors, right: _Factors) -> None:
    """Adds the SSIM of all pairs, summed over the window positions of the factors, to total (n, m)."""
    positions = len(left.structure)
    for i in range(0, total.shape[0], _TILE_ROWS):
        for j in range(0, total.shape[1], _TILE_COLUMNS):
            tile = total[i : i + _TILE_ROWS, j : j + _TILE_COLUMNS]
            group = max(1, _TILE_ROWS * _TILE_COLUMNS // tile.numel())
            for p in range(0, positions, group):
                a = (slice(p, p + group), slice(i, i + _TILE_ROWS))
                b = (slice(p, p + group), slice(j, j + _TILE_COLUMNS))
                similarity = torch.bmm(left.structure[a], right.structure[b].mT)
                similarity.mul_(torch.bmm(left.luminance[a], right.luminance[b].mT))
                similarity.div_(torch.bmm(left.scale[a], right.scale[b].mT))
                tile += similarity.sum(dim=0)
