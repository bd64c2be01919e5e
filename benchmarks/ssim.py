"""Time, memory and exactness of the pairwise SSIM: `python benchmarks/ssim.py`."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, get_args

import torch
from skimage.metrics import structural_similarity

from auditcli.scoring.ssim import DATA_RANGE, WindowName, pairwise_ssim

_reference: Callable[..., float] = structural_similarity
_SKIMAGE: dict[str, dict[str, Any]] = {
    "uniform-7": {},
    "gaussian-11": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
}


def main() -> None:
    """Prints one line a window."""
    arguments = _arguments()
    generator = torch.Generator().manual_seed(arguments.seed)
    shape = (arguments.channels, arguments.side, arguments.side)
    dtype = getattr(torch, arguments.dtype)
    candidates = torch.rand(arguments.candidates, *shape, generator=generator).to(dtype)
    images = torch.rand(arguments.images, *shape, generator=generator).to(dtype)
    # Flat and nearly flat images: where float32 loses its digits if the variance is taken the usual way.
    images[1::4] = 0.5 + 1e-3 * images[1::4]
    images[2::4] = images[2::4, :, :1, :1]
    print(
        f"{len(candidates):,} candidates x {len(images):,} images {shape}, {arguments.dtype}, "
        f"{torch.get_num_threads()} threads"
    )
    imported = _peak_megabytes()
    for window in get_args(WindowName):
        began = time.perf_counter()
        scores = pairwise_ssim(candidates, images, window=window)
        seconds = time.perf_counter() - began
        difference, reference = _check(candidates, images, scores, window, arguments.checked)
        print(
            f"{window:12} {seconds:7.1f} s  {seconds / scores.numel() * 1e6:7.2f} us a pair  "
            f"(scikit-image {reference * 1e6:7.1f} us)  "
            f"peak {_peak_megabytes():6.0f} MB, {_peak_megabytes() - imported:4.0f} MB above the start  "
            f"largest difference {difference:.1e} in {arguments.checked} pairs"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--side", type=int, default=28, help="height and width in pixels")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--checked", type=int, default=400, help="pairs compared with scikit-image")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _check(
    candidates: torch.Tensor, images: torch.Tensor, scores: torch.Tensor, window: str, pairs: int
) -> tuple[float, float]:
    """Largest difference from scikit-image in float64, and its seconds a pair."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(len(candidates), (pairs,), generator=generator).tolist()
    columns = torch.randint(len(images), (pairs,), generator=generator).tolist()
    began = time.perf_counter()
    exact = [
        _reference(
            candidates[i].double().numpy(),
            images[j].double().numpy(),
            data_range=DATA_RANGE,
            channel_axis=0,
            **_SKIMAGE[window],
        )
        for i, j in zip(rows, columns, strict=True)
    ]
    seconds = (time.perf_counter() - began) / pairs
    return float((scores[rows, columns].double() - torch.tensor(exact)).abs().max()), seconds


def _peak_megabytes() -> float:
    """Peak resident memory of this process; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    main()
