"""Graphs that take uint8 pixels: `on_unit_pixels` makes them take floats in [0, 1], which gradients can reach."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from auditcli.loading.conversion.draft import Draft, attributes_of

if TYPE_CHECKING:
    from onnx import NodeProto

FLOAT, UINT8 = 1, 2
"""Of `onnx.TensorProto.DataType`."""
_FLOATS = frozenset({1, 10, 11, 16})
_REARRANGING = frozenset(
    {"Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "Split", "Concat"}
)
"""Operators that do the same to floats as to integers."""
MAX_PIXEL = 255


def on_unit_pixels(draft: Draft) -> Draft:
    """The draft with its uint8 input replaced by floats in [0, 1], which are multiplied by 255 first.

    Raises:
        ValueError: an operator computes with the integers before they become floats.
    """
    from onnx import helper

    if draft.input.kind != UINT8:
        return draft
    _require_cast(draft)
    name, scale = draft.fresh("unit_pixels"), draft.fresh("max_pixel")
    first = helper.make_node("Mul", [name, scale], [draft.input_name])
    changed = replace(
        draft,
        nodes=(first, *draft.nodes),
        constants={**draft.constants, scale: np.array(MAX_PIXEL, dtype=np.float32)},
        input_name=name,
        input=draft.input._replace(kind=FLOAT),
    )
    return changed.noted("takes uint8 pixels: cut behind their cast to float; pixels in [0, 1] are multiplied by 255")


def _require_cast(draft: Draft) -> None:
    integers = {draft.input_name}
    for node in draft.nodes:
        if not integers & set(node.input):
            continue
        if node.op_type in _REARRANGING:
            integers |= set(node.output)
        elif not _makes_floats(node):
            raise ValueError(f"{node.op_type} computes with uint8 pixels; a Cast to float was expected before it")


def _makes_floats(node: NodeProto) -> bool:
    if node.op_type == "Cast":
        return attributes_of(node)["to"] in _FLOATS
    return node.op_type in {"Shape", "DequantizeLinear"}
