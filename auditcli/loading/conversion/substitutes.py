"""Operators that onnx2torch knows but gets wrong, as others: `without_layer_norms` and `without_slices`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from auditcli.loading.conversion.draft import Draft, Value, attributes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import NodeProto

_AXES_ARE_INPUTS = 18
"""Opset since which this holds of reductions."""


def without_slices(draft: Draft) -> Draft:
    """Slices at constant places as gathers: onnx2torch's own index tensors in a way that torch gives up."""
    constants, nodes, values = dict(draft.constants), [], draft.values()
    for node in draft.nodes:
        given = [constants.get(name) for name in node.input[1:] if name]
        if node.op_type == "Slice" and len(given) >= 2 and not any(array is None for array in given):
            nodes += _gathers(draft, node, constants, values) or [node]
        else:
            nodes.append(node)
    return replace(draft, nodes=tuple(nodes), constants=constants)


def _gathers(
    draft: Draft, node: NodeProto, constants: dict[str, NDArray[Any]], values: dict[str, Value]
) -> list[NodeProto]:
    """One gather an axis; none where the size of a sliced axis is not known."""
    from onnx import helper

    def given(place: int, default: list[int]) -> list[int]:
        name = node.input[place] if len(node.input) > place else ""
        return [int(value) for value in constants[name].ravel()] if name else default

    starts, ends = given(1, []), given(2, [])
    axes, steps = given(3, list(range(len(starts)))), given(4, [1] * len(starts))
    shape = values.get(node.input[0], Value(0, None)).shape
    nodes, source = [], node.input[0]
    for count, (start, end, axis, step) in enumerate(zip(starts, ends, axes, steps, strict=True), 1):
        size = None if shape is None else shape[axis]
        if size is None:
            return []
        # What lies before the first place is how ONNX writes that a slice runs backwards to its end.
        stop = None if step < 0 and end < -size else end
        places = np.arange(size, dtype=np.int64)[start:stop:step]
        name, out = draft.fresh(f"{node.output[0]}_places_{axis}"), node.output[0]
        constants[name] = places
        target = out if count == len(starts) else draft.fresh(f"{out}_sliced_{axis}")
        nodes.append(helper.make_node("Gather", [source, name], [target], axis=axis))
        source = target
    return nodes


def without_layer_norms(draft: Draft) -> Draft:
    """Layer norms as mean and deviation: onnx2torch's own trusts a shape that may be unknown."""
    if not any(node.op_type == "LayerNormalization" for node in draft.nodes):
        return draft
    constants, nodes, values = dict(draft.constants), [], draft.values()
    for node in draft.nodes:
        if node.op_type == "LayerNormalization" and len([name for name in node.output if name]) == 1:
            nodes += _layer_norm(draft, node, constants, values)
        else:
            nodes.append(node)
    return replace(draft, nodes=tuple(nodes), constants=constants)


def _layer_norm(
    draft: Draft, node: NodeProto, constants: dict[str, NDArray[Any]], values: dict[str, Value]
) -> list[NodeProto]:
    from onnx import helper

    given, out = attributes_of(node), node.output[0]
    shape = values.get(node.input[0], Value(0, None)).shape
    axis = given.get("axis", -1)
    if axis >= 0 and shape is None:
        raise ValueError("LayerNormalization reads a value of unknown rank")
    first = axis - len(shape or ()) if axis >= 0 else axis
    mean, centred, squared, variance, shifted, deviation, scaled = (
        draft.fresh(f"{out}_{part}") for part in ("mean", "centred", "squared", "var", "shifted", "std", "scaled")
    )
    epsilon, axes = draft.fresh(f"{out}_epsilon"), draft.fresh(f"{out}_axes")
    constants[epsilon] = np.array(given.get("epsilon", 1e-5), dtype=np.float32)
    constants[axes] = np.arange(first, 0, dtype=np.int64)

    def average(source: str, name: str) -> NodeProto:
        if draft.opset >= _AXES_ARE_INPUTS:
            return helper.make_node("ReduceMean", [source, axes], [name])
        return helper.make_node("ReduceMean", [source], [name], axes=list(range(first, 0)))

    bias = node.input[2] if len(node.input) > 2 else ""
    normalised = draft.fresh(f"{out}_normalised") if bias else out
    nodes = [
        average(node.input[0], mean),
        helper.make_node("Sub", [node.input[0], mean], [centred]),
        helper.make_node("Mul", [centred, centred], [squared]),
        average(squared, variance),
        helper.make_node("Add", [variance, epsilon], [shifted]),
        helper.make_node("Sqrt", [shifted], [deviation]),
        helper.make_node("Div", [centred, deviation], [scaled]),
        helper.make_node("Mul", [scaled, node.input[1]], [normalised]),
    ]
    return [*nodes, helper.make_node("Add", [normalised, bias], [out])] if bias else nodes
