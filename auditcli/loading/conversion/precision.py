"""Graphs in other floating-point types than float32: `in_float32`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from auditcli.loading.conversion.draft import Draft, attributes_of, rewritten

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import NodeProto

FLOAT = 1
_OTHER_FLOATS: Mapping[int, str] = MappingProxyType({10: "float16", 16: "bfloat16", 11: "float64"})
"""Of `onnx.TensorProto.DataType`."""
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "stash_type", "softmax_precision")


def in_float32(draft: Draft) -> Draft:
    """The draft with all weights, operators and its input in float32; a note says what they were."""
    found = {_OTHER_FLOATS[kind] for kind in _kinds(draft) if kind in _OTHER_FLOATS}
    if not found:
        return draft
    constants = {name: _array(array) for name, array in draft.constants.items()}
    nodes = tuple(_node(node) for node in draft.nodes)
    kind = FLOAT if draft.input.kind in _OTHER_FLOATS else draft.input.kind
    changed = replace(draft, nodes=nodes, constants=constants, input=draft.input._replace(kind=kind))
    return changed.noted(
        f"{' and '.join(sorted(found))} weights and operators are computed in float32", exact=found == {"float64"}
    )


def _kinds(draft: Draft) -> set[int]:
    return {draft.input.kind} | {value.kind for value in draft.values().values()}


def _array(array: NDArray[Any]) -> NDArray[Any]:
    from onnx import helper

    other = helper.np_dtype_to_tensor_dtype(array.dtype) in _OTHER_FLOATS
    return array.astype(np.float32) if other else array


def _node(node: NodeProto) -> NodeProto:
    from onnx import TensorProto, numpy_helper

    changed: dict[str, object] = {}
    for name, value in attributes_of(node).items():
        if name in _TYPE_ATTRIBUTES and value in _OTHER_FLOATS:
            changed[name] = FLOAT
        elif isinstance(value, TensorProto) and value.data_type in _OTHER_FLOATS:
            changed[name] = numpy_helper.from_array(_array(numpy_helper.to_array(value)))
    return rewritten(node, put=changed) if changed else node
