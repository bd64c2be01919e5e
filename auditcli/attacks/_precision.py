"""How exactly a GPU multiplies matrices of float32. Public name: `products`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def products(device: torch.device, *, rough: bool) -> Iterator[None]:
    """TF32 in matrix products on CUDA, or full float32, until the block ends; elsewhere nothing changes.

    Args:
        device: Where they are computed.
        rough: TF32 keeps 10 bits of a float32's 23, and is several times as fast on the tensor cores that have it.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32" if rough else "ieee"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
