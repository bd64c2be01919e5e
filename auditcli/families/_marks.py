"""What is known about one tensor on its way through a network (`Mark`), and how operators pass it on.

Public names: `Mark`, `Call`, `degree_after`, `is_affine`, `axes_after`, `contraction`, `tensors_in`, and the kinds of
operators.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from auditcli.families._axes import Axes, axis, image, labels, regrouped, resized

if TYPE_CHECKING:
    from torch import Tensor


def _operators(names: str) -> frozenset[str]:
    return frozenset(names.split())


VIEWS = _operators(
    "view _unsafe_view reshape expand t transpose permute unsqueeze squeeze select slice split split_with_sizes unbind "
    "clone contiguous alias detach detach_ _to_copy copy_ lift_fresh lift_fresh_copy index index_select cat stack flip "
    "roll unfold im2col as_strided narrow pixel_shuffle pixel_unshuffle _reshape_alias chunk repeat dropout"
)
"""Operators that move numbers and change none."""
_LINES = _operators(
    "relu relu_ leaky_relu leaky_relu_ threshold max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d "
    "adaptive_max_pool2d _adaptive_avg_pool2d mean sum amax amin max min abs neg maximum minimum"
)
"""Operators that are linear pieces through zero."""
_LINES_FROM_ZERO: Mapping[str, int] = MappingProxyType({"constant_pad_nd": 2, "clamp_min": 1, "clamp_min_": 1})
"""The same where the number at this place of their arguments is zero."""
SCALES = _operators("mul mul_ div div_")
_SUMS = _operators("add add_ sub sub_ rsub")
PRODUCTS = _operators("mm bmm addmm baddbmm convolution")
BATCH_NORMS = _operators(
    "native_batch_norm cudnn_batch_norm miopen_batch_norm _native_batch_norm_legit _batch_norm_no_update "
    "_native_batch_norm_legit_no_training _batch_norm_with_update"
)
FUSED_ATTENTION = ("_scaled_dot_product", "_native_multi_head_attention", "_transformer_encoder_layer_fwd")
KEEPS_SOFTNESS = VIEWS | SCALES | frozenset({"where", "masked_fill", "nan_to_num"})


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known about one tensor on its way."""

    data: bool = False
    """Computed from the image."""
    degree: int | None = 0
    """Scaling all parameters by a > 0 scales it by a to this power; None where it does not."""
    affine: bool = True
    """Pixels in another order, shifted and scaled, and no more."""
    axes: Axes | None = None
    soft: bool = False
    """A softmax, moved or scaled."""
    bias_of: int | None = None
    """Index of the step whose output it is, still without a bias."""


@dataclass(frozen=True)
class Call:
    """One operator with its arguments."""

    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors among the arguments, in order."""
        return tuple(tensors_in((*self.args, *self.kwargs.values())))

    @property
    def numbers(self) -> list[float]:
        """Plain numbers among the operands of an arithmetic operator."""
        return [value for value in self.args[:2] if isinstance(value, int | float)]


def tensors_in(values: Sequence[Any]) -> Iterator[Tensor]:
    """The tensors among values and lists of them, in order."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from tensors_in(value)


def axes_after(call: Call, before: list[Mark], out: Tensor) -> Axes | None:
    """What the axes of an operator's result stand for; None where that cannot be followed."""
    found = _axes(call, before, out)
    return found if found is not None and len(found) == out.ndim else None


def _axes(call: Call, before: list[Mark], out: Tensor) -> Axes | None:
    tensor, mark = next((tensor, mark) for tensor, mark in zip(call.tensors, before, strict=True) if mark.data)
    shape, axes = tuple(out.shape), mark.axes
    if call.name == "convolution":
        places = axes is not None and labels(axes[1:2]) == {"s"} and "c" in labels(axes[2:])
        return image(shape) if not places else (*image(shape)[:1], axis("s", shape[1]), axis("c", shape[2]))
    if axes is None:
        return None
    if call.name in {"t", "transpose", "permute"}:
        return _permuted(call, axes)
    if call.name in PRODUCTS:
        turned = not _leads(call, before)
        contracted, left_over = contraction(axes, convolution=False, turned=turned)
        places = labels(contracted) == {"s"} and "c" in labels(left_over)
        made = axis("s" if places else "c", shape[-2 if turned else -1])
        return (*left_over[:-1], made, left_over[-1]) if turned else (*left_over, made)
    if call.name in {"select", "mean", "sum", "amax", "amin", "unbind"} and len(shape) < len(axes):
        return _reduced(call, axes)
    if shape == tuple(tensor.shape):
        return axes
    if len(shape) != len(axes) or call.name in {"view", "_unsafe_view", "reshape", "_reshape_alias"}:
        return regrouped(axes, shape)
    return resized(axes, shape)


def _leads(call: Call, before: list[Mark]) -> bool:
    """Whether the data are the left factor of a product."""
    factors = before[1:3] if call.name in {"addmm", "baddbmm"} else before[:2]
    return factors[0].data


def contraction(axes: Axes | None, *, convolution: bool, turned: bool) -> tuple[Axes, Axes]:
    """The axes that a product sums over, and those that it leaves."""
    if axes is None:
        return (), ()
    if convolution:
        return axes[1:2], axes[2:]
    at = len(axes) - (2 if turned and len(axes) > 1 else 1)
    return axes[at : at + 1], (*axes[:at], *axes[at + 1 :])


def _permuted(call: Call, axes: Axes) -> Axes | None:
    if call.name == "permute":
        order = [int(dim) % len(axes) for dim in call.args[1]]
    else:
        one, two = (0, 1) if call.name == "t" else (int(call.args[1]), int(call.args[2]))
        order = list(range(len(axes)))
        if len(axes) < 2:
            return axes
        order[one], order[two] = order[two], order[one]
    return tuple(axes[index] for index in order)


def _reduced(call: Call, axes: Axes) -> Axes | None:
    dims = call.args[1] if len(call.args) > 1 else None
    dims = [0] if dims is None and call.name == "unbind" else dims
    gone = {int(dim) % len(axes) for dim in ([dims] if isinstance(dims, int) else dims or range(len(axes)))}
    return tuple(each for index, each in enumerate(axes) if index not in gone)


def is_affine(call: Call, before: list[Mark]) -> bool:
    """Whether the result is still pixels, moved, shifted and scaled."""
    data = [mark for mark in before if mark.data]
    arithmetic = call.name in SCALES | _SUMS and len(data) == 1
    backwards = call.name in {"div", "div_"} and not before[0].data
    moved = call.name in VIEWS and not (call.name in {"cat", "stack"} and len(data) != len(before))
    return all(mark.affine for mark in data) and (moved or (arithmetic and not backwards))


def degree_after(call: Call, before: list[Mark]) -> int | None:
    """The power of the parameters that an operator's result scales with."""
    degrees = [mark.degree for mark in before]
    if not before:
        return 0
    if None in degrees:
        return None
    known = [degree for degree in degrees if degree is not None]
    name = call.name
    if name in PRODUCTS:
        bias = call.tensors[0] if name in {"addmm", "baddbmm"} else None
        factors, shift = (known[1:3], known[0]) if bias is not None else (known[:2], None)
        if name == "convolution" and len(call.tensors) > 2:
            bias, shift = call.tensors[2], known[2]
        return _summed(sum(factors), [] if bias is None or shift is None else [(bias, shift)])
    if name in SCALES:
        return sum(known) if name in {"mul", "mul_"} else known[0] - sum(known[1:])
    if name in _SUMS:
        if any(call.numbers) and any(known):
            return None
        return _sum_of(call, before, known)
    if name in VIEWS | _LINES or (name in _LINES_FROM_ZERO and call.args[_LINES_FROM_ZERO[name] :] in ((), (0,))):
        return known[0] if len(set(known)) == 1 else None
    return None if any(known) or any(mark.data for mark in before) else 0


def _summed(degree: int, shifts: Sequence[tuple[Tensor, int]]) -> int | None:
    return degree if all(power == degree or not bool(shift.any()) for shift, power in shifts) else None


def _sum_of(call: Call, before: list[Mark], known: list[int]) -> int | None:
    index = next((index for index, mark in enumerate(before) if mark.data), 0)
    others = [(tensor, known[i]) for i, tensor in enumerate(call.tensors) if i != index and i < len(known)]
    return _summed(known[index], others)
