"""Constant folding: `folded` computes what depends on no pixel once and for all.

No constant may grow: what is computed has no more elements than what it is computed from, or than `_FREE`. A few bytes
of ONNX could otherwise ask for any amount of memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from auditcli.loading.conversion.draft import Draft, Value, attributes_of, rewritten

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import NodeProto

    Array = NDArray[Any]

_FREE = 2**16
"""Elements that any constant may have."""
_QUANTISERS_SINCE = 21
_ROUNDS = 8
"""Each round can make shapes static that the next one reads."""
_ELEMENTWISE = frozenset(
    {
        *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Clip", "Abs", "Neg", "Sign", "Sqrt", "Reciprocal"),
        *("Exp", "Log", "Erf", "Floor", "Ceil", "Round", "Relu", "Sigmoid", "Tanh", "Identity", "Cast", "CastLike"),
        *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Not", "Where"),
    }
)
_NEVER_LARGER = frozenset(
    {
        *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Concat", "Split", "Shape", "Size"),
        *("ReduceProd", "ReduceSum", "ReduceMin", "ReduceMax", "ReduceMean", "Trilu"),
        *("DequantizeLinear", "QuantizeLinear"),
    }
)


def folded(draft: Draft) -> Draft:
    """The draft with its `Constant` operators, and all that follows from constants and static shapes, computed."""
    for _ in range(_ROUNDS):
        before, draft = draft.nodes, _round(draft)
        if draft.nodes == before:
            break
    return draft.pruned()


def _round(draft: Draft) -> Draft:
    constants, values = dict(draft.constants), draft.values()
    nodes: list[NodeProto] = []
    for node in draft.nodes:
        computed = _computed(node, constants, values, draft.opset)
        if computed is not None:
            constants.update(zip(filter(None, node.output), computed, strict=True))
        elif node.op_type == "If" and node.input[0] in constants:
            nodes += _branch(node, constants)
        elif node.op_type == "ConstantOfShape" and node.input[0] in constants:
            # The same as a view of one number: it takes no memory, and follows the others into another precision.
            fill = draft.fresh(f"{node.output[0]}_fill")
            constants[fill] = _fill(node)
            nodes.append(rewritten(node, op="Expand", inputs=[fill, node.input[0]], drop=("value",)))
        else:
            nodes.append(node)
    return replace(draft, nodes=tuple(nodes), constants=constants)


def _computed(
    node: NodeProto, constants: Mapping[str, Array], values: Mapping[str, Value], opset: int
) -> list[Array] | None:
    """What the node returns, or None where that depends on pixels or would grow."""
    if node.op_type == "Constant":
        return [_constant(node)]
    if node.op_type in {"Shape", "Size"} and (shape := _static(values.get(node.input[0]))) is not None:
        chosen = shape[slice(attributes_of(node).get("start", 0), attributes_of(node).get("end"))]
        return [np.array(chosen if node.op_type == "Shape" else math.prod(shape), dtype=np.int64)]
    if not node.input or not all(name in constants for name in node.input if name):
        return None
    arrays = {name: constants[name] for name in node.input if name}
    size = _size(node, [constants[name] for name in node.input if name])
    if size is None or size > max(_FREE, sum(array.size for array in arrays.values())):
        return None
    return _evaluated(node, arrays, opset)


def _branch(node: NodeProto, constants: dict[str, Array]) -> list[NodeProto]:
    """The branch that is always taken, its weights put among the constants."""
    from onnx import helper, numpy_helper

    taken = attributes_of(node)["then_branch" if bool(constants[node.input[0]].item()) else "else_branch"]
    constants.update((tensor.name, numpy_helper.to_array(tensor)) for tensor in taken.initializer)
    named = zip(taken.output, node.output, strict=True)
    return [*taken.node, *(helper.make_node("Identity", [inner.name], [outer]) for inner, outer in named)]


def _fill(node: NodeProto) -> Array:
    from onnx import numpy_helper

    value = attributes_of(node).get("value")
    return np.zeros((), np.float32) if value is None else numpy_helper.to_array(value).reshape(())


def _static(value: Value | None) -> tuple[int, ...] | None:
    if value is None or value.shape is None or None in value.shape:
        return None
    return tuple(size for size in value.shape if size is not None)


def _constant(node: NodeProto) -> Array:
    from onnx import TensorProto, helper, numpy_helper

    value = helper.get_attribute_value(node.attribute[0])
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, bytes) or not isinstance(value, int | float | list):
        raise ValueError("a Constant holds neither numbers nor a tensor")
    return np.array(value, dtype=np.float32 if node.attribute[0].name.startswith("value_float") else np.int64)


def _size(node: NodeProto, arrays: list[Array]) -> int | None:
    """A bound on the elements the node returns, known before it runs; None where there is no simple one."""
    try:
        if node.op_type in _ELEMENTWISE:
            return _broadcast(*(array.shape for array in arrays))
        if node.op_type in _NEVER_LARGER:
            return sum(array.size for array in arrays)
        rule = _SIZES.get(node.op_type)
        return None if rule is None else rule(node, arrays)
    except (ValueError, IndexError, ZeroDivisionError, OverflowError):
        return None


def _broadcast(*shapes: tuple[int, ...]) -> int:
    whole: tuple[int, ...] = np.broadcast_shapes(*shapes)
    return math.prod(whole)


def _gathered(node: NodeProto, arrays: list[Array]) -> int:
    axis: int = attributes_of(node).get("axis", 0)
    return int(arrays[1].size * (arrays[0].size // max(1, arrays[0].shape[axis])))


def _expanded(_: NodeProto, arrays: list[Array]) -> int:
    return _broadcast(arrays[0].shape, tuple(int(size) for size in arrays[1]))


def _range(_: NodeProto, arrays: list[Array]) -> int:
    start, limit, delta = (float(array.item()) for array in arrays)
    return max(0, math.ceil((limit - start) / delta))


_SIZES: Mapping[str, Callable[[NodeProto, list[Array]], int]] = MappingProxyType(
    {
        "Gather": _gathered,
        "Expand": _expanded,
        "Range": _range,
        "Tile": lambda _, arrays: arrays[0].size * math.prod(int(times) for times in arrays[1]),
        "ConstantOfShape": lambda _, arrays: math.prod(int(size) for size in arrays[0]),
    }
)


def _evaluated(node: NodeProto, arrays: Mapping[str, Array], opset: int) -> list[Array] | None:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in arrays.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    # The reference has no older versions of quantisers, which newer ones only add types and blocks to.
    opset = max(opset, _QUANTISERS_SINCE) if node.op_type in {"QuantizeLinear", "DequantizeLinear"} else opset
    model = helper.make_model(
        helper.make_graph([node], "one", inputs, outputs), opset_imports=[helper.make_opsetid("", opset)]
    )
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, dict(arrays))
    except Exception:  # What the reference cannot compute here, the evaluators are asked for with the whole graph.
        return None
    return [np.asarray(result) for result in results]
