"""Quantised graphs as the float graphs they approximate: `in_floats`.

Weights are dequantised by constant folding, which comes first. What is left are the quantisers of activations: a
rounding, whose derivative is zero almost everywhere, and a range. The rounding is passed straight through. The range is
kept, because it is part of what the network computes: quantisation tools drop a ReLU where the range begins at zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from auditcli.loading.conversion.draft import Draft, attributes_of, rewritten

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import NodeProto

_REARRANGING = frozenset(
    {"Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "MaxPool"}
)
"""Operators that do the same to floats as to the integers that stand for them."""
_NEVER_NEGATIVE = frozenset({"Relu", "Sigmoid", "Softmax", "HardSigmoid"})
_INTEGER_PRODUCTS = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}


@dataclass
class _Rewriting:
    """The new graph while the old one is walked."""

    draft: Draft
    constants: dict[str, NDArray[Any]]
    nodes: list[NodeProto] = field(default_factory=list)
    same: dict[str, str] = field(default_factory=dict)
    """What reads a key shall read its value."""
    scales: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Scale and zero point of the values that were integers."""
    input_range: tuple[float, float] = (-np.inf, np.inf)
    pixels: set[str] = field(default_factory=set)
    """The graph's input, and what only rearranges it."""
    dynamic: set[str] = field(default_factory=set)
    """Values that were quantised by a scale computed from them; they are now in floats, with scale one."""

    def constant(self, wish: str, value: float | NDArray[Any]) -> str:
        name = self.draft.fresh(wish)
        self.constants[name] = np.array(value, dtype=np.float32)
        return name


def in_floats(draft: Draft) -> Draft:
    """The draft without quantisers, their roundings passed straight through; a note says so.

    Raises:
        ValueError: an operator computes with the integers in a way that has no such float counterpart.
    """
    if not any(node.op_type in _STEPS for node in draft.nodes):
        return draft
    work = _Rewriting(draft, dict(draft.constants), pixels={draft.input_name})
    for node in draft.nodes:
        step = _STEPS.get(node.op_type)
        if step is not None:
            step(work, node)
        else:
            if node.op_type in _REARRANGING and node.input[0] in work.pixels:
                work.pixels.add(node.output[0])
            if node.op_type in _REARRANGING and node.input[0] in work.scales:
                work.scales[node.output[0]] = work.scales[node.input[0]]
            elif any(name in work.scales for name in node.input):
                raise ValueError(f"{node.op_type} computes with quantised integers")
            work.nodes.append(node)
    changed = replace(draft, nodes=tuple(work.nodes), constants=work.constants, input_range=work.input_range)
    return changed.renamed(work.same).noted(
        "quantised: weights are folded to floats, the rounding of activations is passed straight through "
        "and their ranges are kept",
        exact=False,
    )


def _quantise(work: _Rewriting, node: NodeProto) -> None:
    """QuantizeLinear: the range that its integers can express."""
    source, (out,) = node.input[0], node.output
    scale, zero, kind = _scale(work, node)
    low, high = ((limit - zero) * scale for limit in _limits(kind))
    work.scales[out] = (scale, zero)
    if source in work.pixels:
        # Pixels stay inside the range that was calibrated on pixels; a clip here would stop gradients at its ends.
        work.input_range = (low, high)
        work.same[out] = source
    else:
        _clip(work, source, out, low, high)


def _dequantise(work: _Rewriting, node: NodeProto) -> None:
    """DequantizeLinear of an activation: what was quantised, now that it never was."""
    from onnx import helper

    source, (out,) = node.input[0], node.output
    scale, zero, _ = _scale(work, node)
    if source in work.scales:
        if work.scales[source] != (scale, zero):
            raise ValueError("DequantizeLinear has another scale than the QuantizeLinear before it")
        work.same[out] = source
        return
    # Integers that no operator of the graph made are its pixels.
    shifted = work.draft.fresh(f"{out}_shifted")
    work.nodes += [
        helper.make_node("Sub", [source, work.constant(f"{out}_zero", zero)], [shifted]),
        helper.make_node("Mul", [shifted, work.constant(f"{out}_scale", scale)], [out]),
    ]


def _quantise_dynamically(work: _Rewriting, node: NodeProto) -> None:
    """DynamicQuantizeLinear: its range is that of its values, so nothing is left of it but a scale, taken as one."""
    quantised, scale, zero = node.output
    work.same[quantised] = node.input[0]
    work.constants[scale] = np.array(1, dtype=np.float32)
    work.constants[zero] = np.array(0, dtype=np.uint8)
    work.dynamic.add(quantised)


def _multiply(work: _Rewriting, node: NodeProto) -> None:
    """MatMulInteger or ConvInteger with constant weights: the product of floats."""
    values, weights, *zeros = node.input
    if values not in work.dynamic or weights not in work.constants or not set(zeros) <= {"", *work.constants}:
        raise ValueError(f"{node.op_type} computes with quantised integers")
    zero = work.constants[zeros[1]] if len(zeros) > 1 and zeros[1] else np.array(0)
    if node.op_type == "ConvInteger" and zero.size > 1:
        zero = zero.reshape(-1, *[1] * (work.constants[weights].ndim - 1))
    floats = work.constants[weights].astype(np.float32) - zero.astype(np.float32)
    name = work.constant(f"{node.output[0]}_weight", floats)
    work.nodes.append(rewritten(node, op=_INTEGER_PRODUCTS[node.op_type], inputs=[values, name]))


_STEPS = {
    "QuantizeLinear": _quantise,
    "DequantizeLinear": _dequantise,
    "DynamicQuantizeLinear": _quantise_dynamically,
    "MatMulInteger": _multiply,
    "ConvInteger": _multiply,
}


def _scale(work: _Rewriting, node: NodeProto) -> tuple[float, int, Any]:
    """Scale and zero point of a quantiser, and the integer type between."""
    from onnx import helper

    scale, zero = node.input[1], node.input[2] if len(node.input) > 2 else ""
    if scale not in work.constants or (zero and zero not in work.constants):
        raise ValueError(f"{node.op_type} has a scale that depends on pixels")
    if work.constants[scale].size != 1:
        raise ValueError(f"{node.op_type} has a scale for each channel of an activation")
    kind = work.constants[zero].dtype if zero else np.dtype(np.uint8)
    stated = attributes_of(node).get("output_dtype", 0) if node.op_type == "QuantizeLinear" else 0
    if stated and not zero:
        kind = helper.tensor_dtype_to_np_dtype(stated)
    return work.constants[scale].item(), int(work.constants[zero].item()) if zero else 0, kind


def _limits(kind: Any) -> tuple[int, int]:
    import ml_dtypes

    try:
        limits: Any = ml_dtypes.iinfo(kind)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise ValueError(f"QuantizeLinear to {kind} is no quantisation to integers") from error
    return int(limits.min), int(limits.max)


def _clip(work: _Rewriting, source: str, out: str, low: float, high: float) -> None:
    from onnx import helper

    makers: Mapping[str, NodeProto] = {name: node for node in work.nodes for name in node.output}
    maker = makers.get(work.same.get(source, source))
    if low > 0 or maker is None or maker.op_type not in _NEVER_NEGATIVE:
        raised = work.draft.fresh(f"{out}_raised")
        above = [source] if low == 0 else [source, work.constant(f"{out}_low", low)]
        work.nodes.append(helper.make_node("Relu" if low == 0 else "Max", above, [raised]))
        source = raised
    work.nodes.append(helper.make_node("Min", [source, work.constant(f"{out}_high", high)], [out]))
