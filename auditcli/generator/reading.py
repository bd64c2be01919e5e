"""What a target makes of images: logits, log-probabilities and what its last layer reads. Public: `Reading`, `read`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import Target


@dataclass(frozen=True, slots=True)
class Reading:
    """What a target makes of n images."""

    logits: Tensor
    """(n, outputs) as the target gives them: one for a binary model with a single logit."""
    features: Tensor
    """(n, f) what the last linear layer or convolution reads, flattened; the logits where there is no such layer."""
    bias: bool
    """Whether that layer adds a bias."""

    @property
    def log_probabilities(self) -> Tensor:
        """(n, classes), classes at least two: a single logit stands beside a zero."""
        single = self.logits.shape[1] == 1
        logits = torch.cat([torch.zeros_like(self.logits), self.logits], dim=1) if single else self.logits
        return logits.log_softmax(dim=1)


def read(target: Target, images: Tensor) -> Reading:
    """Ask a target about images (n, c, h, w), and look over its shoulder.

    The last layer is found by watching the calls that go to torch, not by hooks: that works for modules, for graphs
    and for functions alike, and leaves nothing on the target.
    """
    with _Watch() as watch:
        logits = target(images)
    if watch.last is None:
        return Reading(logits, logits, bias=False)
    inputs, bias = watch.last
    return Reading(logits, inputs.flatten(1), bias)


class _Watch(TorchFunctionMode):
    """Remembers what the last call of a layer read, and whether it had a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.last: tuple[Tensor, bool] | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if (look := _LAYERS.get(func)) is not None and (found := look(*args, **kwargs)) is not None:
            self.last = found
        return func(*args, **kwargs)


def _layer(input: Tensor, weight: Tensor, bias: Tensor | None = None, *_: Any, **__: Any) -> tuple[Tensor, bool]:
    return input, bias is not None


def _product(input: Tensor, other: Tensor, *_: Any, **__: Any) -> tuple[Tensor, bool] | None:
    """A product with a matrix of weights; one of two batches is attention."""
    return (input, False) if other.ndim == 2 and input.ndim >= 2 else None


def _sum_and_product(bias: Tensor, input: Tensor, weight: Tensor, *_: Any, **__: Any) -> tuple[Tensor, bool]:
    return input, True


_LAYERS: Mapping[Callable[..., Any], Callable[..., tuple[Tensor, bool] | None]] = {
    functional.linear: _layer,
    functional.conv2d: _layer,
    torch.matmul: _product,
    torch.mm: _product,
    torch.Tensor.matmul: _product,
    torch.Tensor.__matmul__: _product,
    torch.addmm: _sum_and_product,
}
