"""What a target makes of images: logits, log-probabilities and what its last layer reads. Public: `Reading`, `read`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch._C._functorch import is_batchedtensor
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
    """(n, f) what the last linear layer or convolution reads, flattened; the logits where no such layer is seen."""
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
    and for functions alike, and leaves nothing on the target. A layer inside `torch.vmap`, which takes the images of a
    graph for one image one by one, is not seen.
    """
    with _Watch() as watch:
        logits = target(images)
    inputs = torch.cat(watch.inputs) if watch.inputs else logits
    if len(inputs) != len(images):
        return Reading(logits, logits, bias=False)
    return Reading(logits, inputs.flatten(1), watch.bias)


@dataclass(frozen=True, slots=True)
class _Call:
    input: Tensor
    weight: Tensor
    bias: bool


class _Watch(TorchFunctionMode):
    """Remembers what was read with the weights that were used last; they may be used for each image anew."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, tuple[Tensor, list[Tensor]]] = {}
        self.inputs: Sequence[Tensor] = ()
        self.bias = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        look = _LAYERS.get(func)
        if look is not None and (call := look(*args, **kwargs)) is not None and not is_batchedtensor(call.input):
            # The weights are kept beside their inputs: a transposed view would else be gone, and its id used again.
            _, inputs = self._calls.setdefault(id(call.weight), (call.weight, []))
            inputs.append(call.input)
            self.inputs, self.bias = inputs, call.bias
        return func(*args, **kwargs)


def _layer(input: Tensor, weight: Tensor, bias: Tensor | None = None, *_: Any, **__: Any) -> _Call:
    return _Call(input, weight, bias is not None)


def _product(input: Tensor, other: Tensor, *_: Any, **__: Any) -> _Call | None:
    """A product with a matrix of weights; one of two batches is attention."""
    return _Call(input, other, bias=False) if other.ndim == 2 and input.ndim >= 2 else None


def _sum_and_product(bias: Tensor, input: Tensor, weight: Tensor, *_: Any, **__: Any) -> _Call:
    return _Call(input, weight, bias=True)


_LAYERS: Mapping[Callable[..., Any], Callable[..., _Call | None]] = {
    functional.linear: _layer,
    functional.conv2d: _layer,
    torch.matmul: _product,
    torch.mm: _product,
    torch.Tensor.matmul: _product,
    torch.Tensor.__matmul__: _product,
    torch.addmm: _sum_and_product,
}
