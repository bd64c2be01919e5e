"""What a network does with an image, operator by operator, whoever wrote it: `trace`, `noise`, `Trace`, `Step`.

The network runs once, and torch reports each of its operators on its way. So the same is found out about a module of
ours, of transformers, of the user, and one converted from ONNX.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from auditcli.families._axes import image, labels
from auditcli.families._marks import (
    BATCH_NORMS,
    FUSED_ATTENTION,
    KEEPS_SOFTNESS,
    PRODUCTS,
    SCALES,
    VIEWS,
    Call,
    Mark,
    axes_after,
    contraction,
    degree_after,
    is_affine,
    tensors_in,
)

if TYPE_CHECKING:
    from torch import Tensor

_BEGINNING = 4_096
"""Values kept of what is not one vector an image."""


@dataclass(frozen=True, slots=True)
class Step:
    """A linear layer, a convolution or a batch norm on the data."""

    kind: str
    """`linear`, `convolution` or `batch norm`."""
    read: Tensor
    """What it read from the data: (n, features), or where that is no vector an image, its first values, (1, k)."""
    returned: Tensor
    weight: Tensor
    """(out, in, ...) of a layer; the factor of a batch norm."""
    bias: Tensor | None
    first: bool
    """Nothing trained stood before it: it reads pixels, normalised, in some order."""
    whole: bool
    """It sums over all that an image has left: no axis but that of the images remains."""
    mixes_places: bool
    """It sums over places (tokens) and leaves the features apart."""
    vector: bool
    """It reads one vector of features an image: no places are left."""
    stride: tuple[int, ...] = ()
    groups: int = 1
    statistics: tuple[Tensor, Tensor, float] | None = None
    """Mean, variance and eps of a batch norm."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What was seen."""

    steps: tuple[Step, ...]
    operators: tuple[str, ...]
    """Of everything done to the data, by torch's names, in order."""
    attentions: int
    """Products of a softmax with other computed values."""
    products: int
    """Products of two computed values without a softmax."""
    degree: int | None
    """Of the output in the parameters; None where it is no power of them."""
    images: Tensor
    """(n, c, h, w), as the network read them."""
    output: Tensor

    @property
    def layers(self) -> tuple[Step, ...]:
        """Linear layers and convolutions."""
        return tuple(step for step in self.steps if step.kind != "batch norm")


def noise(input_shape: tuple[int, int, int]) -> Tensor:
    """One random normalised image (1, c, h, w), always the same."""
    return torch.randn(1, *input_shape, generator=torch.Generator().manual_seed(0))


def trace(net: nn.Module, images: Tensor) -> Trace:
    """Run a network and watch.

    Args:
        net: In eval mode.
        images: (n, c, h, w), as the network reads them.

    Raises:
        Exception: what the network raises.
    """
    watcher = _Watcher(net, images)
    # A path without gradients would take fused operators, in which nothing can be seen; what it saves is of no use.
    with torch.enable_grad(), saved_tensors_hooks(lambda _: None, _never), watcher:
        output = net(watcher.images)
    mark = watcher.marks.get(output, Mark(degree=None))
    return Trace(
        steps=tuple(watcher.steps),
        operators=tuple(watcher.operators),
        attentions=watcher.attentions,
        products=watcher.products,
        degree=mark.degree if mark.data else None,
        images=images,
        output=output.detach(),
    )


class _Watcher(TorchDispatchMode):
    """Follows what each tensor depends on."""

    def __init__(self, net: nn.Module, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.images = images.clone().requires_grad_()
        self.marks = WeakTensorKeyDictionary()
        self.steps: list[Step] = []
        self.operators: list[str] = []
        self.attentions = self.products = 0
        self.marks[self.images] = Mark(data=True, axes=image(images.shape))
        for parameter in net.parameters():
            self.marks[parameter] = Mark(degree=1)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled, and torch would import its compiler for seconds to say so."""
        return False

    def _kept(self, tensor: Tensor) -> Tensor:
        """What a layer read or returned, as it was: activations often write over it. A beginning, but of vectors."""
        several = tensor.ndim > 1 and len(tensor) == len(self.images)
        vectors = several and tensor[0].numel() == max(tensor.shape[1:])
        return (tensor if vectors else tensor.flatten()[None, :_BEGINNING]).detach().clone()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = Call(func.__name__.split(".")[0], args, dict(kwargs or {}))
        # Read before the operator runs: those that write in place change what they read.
        before = [self._mark(tensor) for tensor in call.tensors]
        out = func(*args, **(kwargs or {}))
        made = list(tensors_in((out,)))
        mark = self._followed(call, before, made)
        for tensor in made:
            self.marks[tensor] = replace(mark, axes=axes_after(call, before, tensor) if mark.data else None)
        return out

    def _mark(self, tensor: Tensor) -> Mark:
        found = self.marks.get(tensor)
        return found if isinstance(found, Mark) else Mark()

    def _followed(self, call: Call, before: list[Mark], made: list[Tensor]) -> Mark:
        data = any(mark.data for mark in before)
        if data:
            self.operators.append(call.name)
        soft = data and (
            call.name in {"_softmax", "softmax"}
            or (call.name in KEEPS_SOFTNESS and any(mark.soft for mark in before if mark.data))
        )
        bias_of = None
        if data and call.name in PRODUCTS:
            bias_of = self._product(call, before, made[0])
        elif data and call.name in BATCH_NORMS:
            self._batch_norm(call, before, made[0])
        elif data and call.name.startswith(FUSED_ATTENTION):
            self.attentions += 1
        elif data and (call.name in VIEWS or (call.name in SCALES and call.numbers == [1])):
            bias_of = next(mark.bias_of for mark in before if mark.data)
        elif data and call.name in {"add", "add_"}:
            self._bias(call, before, made[0])
        return Mark(
            data=data,
            degree=degree_after(call, before),
            affine=data and is_affine(call, before),
            soft=soft,
            bias_of=bias_of,
        )

    def _product(self, call: Call, before: list[Mark], out: Tensor) -> int | None:
        """Note a layer, or a product of two computed values."""
        operands = list(zip(call.tensors, before, strict=True))
        bias = operands.pop(0) if call.name in {"addmm", "baddbmm"} else None
        (left, left_mark), (right, right_mark) = operands[:2]
        if left_mark.data and right_mark.data:
            if left_mark.soft or right_mark.soft:
                self.attentions += 1
            else:
                self.products += 1
            return None
        turned = right_mark.data
        read, mark, weight = (right, right_mark, left) if turned else (left, left_mark, right)
        convolution = call.name == "convolution"
        if convolution and len(operands) > 2:
            bias = operands[2]
        contracted, left_over = contraction(mark.axes, convolution=convolution, turned=turned)
        places = labels(contracted) == {"s"} and "c" in labels(left_over)
        self.steps.append(
            Step(
                kind="convolution" if convolution else "linear",
                read=self._kept(read),
                returned=self._kept(out),
                weight=(weight if convolution or turned or weight.ndim != 2 else weight.T).detach(),
                bias=None if bias is None else bias[0].detach(),
                first=mark.affine,
                whole=not convolution and mark.axes is not None and not labels(left_over) - {"n"},
                mixes_places=places and (not convolution or tuple(weight.shape[2:]) == (1,) * (weight.ndim - 2)),
                vector=mark.axes is not None and "s" not in labels(mark.axes),
                stride=tuple(call.args[3]) if convolution else (),
                groups=int(call.args[8]) if convolution else 1,
            )
        )
        return len(self.steps) - 1 if bias is None else None

    def _bias(self, call: Call, before: list[Mark], out: Tensor) -> None:
        """A vector added to what a layer returned is its bias."""
        if len(call.tensors) != 2 or before[0].data == before[1].data or call.kwargs.get("alpha", 1) != 1:
            return
        index = before[0 if before[0].data else 1].bias_of
        other = call.tensors[1 if before[0].data else 0]
        if index is None:
            return
        step = self.steps[index]
        if step.kind == "linear" and other.numel() == len(step.weight) and other.shape[-1] == other.numel():
            self.steps[index] = replace(step, bias=other.detach().reshape(-1), returned=self._kept(out))

    def _batch_norm(self, call: Call, before: list[Mark], out: Tensor) -> None:
        read, weight, bias, mean, variance = call.args[:5]
        training = call.args[5] is True
        if mean is None or variance is None or training:
            return
        eps = next(value for value in reversed(call.args) if isinstance(value, float))
        self.steps.append(
            Step(
                kind="batch norm",
                read=self._kept(read),
                returned=self._kept(out),
                weight=torch.ones_like(mean) if weight is None else weight.detach(),
                bias=None if bias is None else bias.detach(),
                first=before[0].affine,
                whole=False,
                mixes_places=False,
                vector=False,
                statistics=(mean.detach(), variance.detach(), eps),
            )
        )


def _never(_: object) -> Tensor:
    raise RuntimeError("a network that differentiates while it runs cannot be followed")
