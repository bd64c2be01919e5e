"""The end of a classifier's graph: `flat`, `before_probabilities` and `with_logarithm`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from auditcli.loading.conversion.draft import Draft, Value, attributes_of

if TYPE_CHECKING:
    from onnx import NodeProto

_FINAL = frozenset({"Softmax", "LogSoftmax", "Sigmoid"})
_REARRANGING = frozenset({"Identity", "Cast", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""What may stand behind a final softmax without changing the numbers of one image or their order."""
_TINY = 1e-30
"""Probabilities are not below this when their logarithm is taken; log(1e-30) = -69."""


def flat(draft: Draft) -> Draft:
    """The draft with outputs (n, classes, 1, 1), or ones elsewhere, flattened to (n, classes)."""
    from onnx import helper

    shape = draft.values().get(draft.output_name, Value(0, None)).shape
    if shape is None or len(shape) < 3 or sum(size != 1 for size in shape[1:]) > 1:
        return draft
    name = draft.fresh("flat")
    node = helper.make_node("Flatten", [draft.output_name], [name], axis=1)
    return replace(draft, nodes=(*draft.nodes, node), output_name=name)


def before_probabilities(draft: Draft) -> tuple[Draft, str]:
    """The draft without its final softmax or sigmoid, and the name of that operator; empty where there is none."""
    makers, values = draft.makers(), draft.values()
    name = draft.output_name
    while name in makers and makers[name].op_type in _REARRANGING and len(draft.readers(name)) <= 1:
        name = makers[name].input[0]
    last = makers.get(name)
    if last is None or last.op_type not in _FINAL or len(draft.readers(name)) > 1 or last.input[0] not in makers:
        return draft, ""
    if last.op_type != "Sigmoid" and not _over_classes(last, values.get(name, Value(0, None)), draft.opset):
        return draft, ""
    nodes = tuple(node for node in draft.nodes if node is not last)
    return replace(draft, nodes=nodes).renamed({name: last.input[0]}).pruned(), last.op_type


def _over_classes(softmax: NodeProto, value: Value, opset: int) -> bool:
    """Whether the probabilities of one image sum to one: the axis is the only one, behind the first, with a size."""
    if not value.shape:
        return False
    rank = len(value.shape)
    axis: int = attributes_of(softmax).get("axis", -1 if opset >= 13 else 1) % rank
    if opset < 13:
        return axis == 1  # All axes from this one on are one.
    return axis > 0 and all(size == 1 for place, size in enumerate(value.shape) if place not in {0, axis})


def with_logarithm(draft: Draft) -> Draft:
    """The draft, which returns probabilities, with their logarithm at its end: logits that give them again."""
    from onnx import helper

    floor, clipped, name = (draft.fresh(wish) for wish in ("tiny", "clipped", "log_probabilities"))
    nodes = [
        helper.make_node("Max", [draft.output_name, floor], [clipped]),
        helper.make_node("Log", [clipped], [name]),
    ]
    constants = {**draft.constants, floor: np.array(_TINY, dtype=np.float32)}
    changed = replace(draft, nodes=(*draft.nodes, *nodes), constants=constants, output_name=name)
    return changed.noted("returns probabilities without a softmax operator at its end: their logarithm is taken")
