"""Graphs in the version of the ONNX operators that an older converter knows: `in_older_version`.

Most versions since only widened an operator's types. Where the meaning of a node would change, its attributes are
rewritten; where an operator is new, the standard's formula replaces it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from auditcli.loading.conversion.definitions import spelled_out
from auditcli.loading.conversion.draft import Draft, attributes_of, rewritten
from auditcli.loading.conversion.substitutes import without_layer_norms, without_slices

if TYPE_CHECKING:
    from onnx import NodeProto

_KNOWN = 17
_FORMULAS = frozenset(
    {
        *(
            "Gelu",
            "Mish",
            "Swish",
            "HardSwish",
            "ThresholdedRelu",
            "Shrink",
            "CastLike",
            "GreaterOrEqual",
            "LessOrEqual",
        ),
        *("GroupNormalization", "RMSNormalization", "MeanVarianceNormalization", "Attention", "RotaryEmbedding"),
    }
)
_AXES_AS_ATTRIBUTE = frozenset(
    f"Reduce{how}" for how in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
)
_NEW_ATTRIBUTES: dict[str, dict[str, object]] = {
    "Reshape": {"allowzero": 0},
    "Cast": {"saturate": 1, "round_mode": "up"},
    "Split": {"num_outputs": None},
    "Resize": {"antialias": 0, "keep_aspect_ratio_policy": "stretch"},
    "AveragePool": {"dilations": 1},
}
"""Attributes that opset 17 does not have, and the value with which leaving them out changes nothing; None for any."""


def in_older_version(draft: Draft) -> Draft:
    """The draft in opset 17, or as it is where it is older.

    Raises:
        ValueError: naming an operator that says something which opset 17 cannot.
    """
    draft = without_slices(without_layer_norms(spelled_out(draft, _FORMULAS)))
    nodes = tuple(_older(draft, node) for node in draft.nodes)
    return replace(draft, nodes=nodes, opset=min(draft.opset, _KNOWN)).pruned()


def _older(draft: Draft, node: NodeProto) -> NodeProto:
    given = attributes_of(node)
    if node.op_type in _AXES_AS_ATTRIBUTE and draft.opset > _KNOWN:
        if len(node.input) > 1 and node.input[1]:
            axes = draft.constants.get(node.input[1])
            if axes is None or not axes.size:
                raise ValueError(f"{node.op_type} has axes that opset {_KNOWN} cannot express")
            node = rewritten(node, inputs=node.input[:1], put={"axes": [int(axis) for axis in axes.ravel()]})
        return rewritten(node, drop=("noop_with_empty_axes",))
    if node.op_type == "Pad" and len(node.input) > 3:
        raise ValueError(f"Pad has axes, which opset {_KNOWN} cannot express")
    dropped = [name for name in _NEW_ATTRIBUTES.get(node.op_type, ()) if name in given]
    for name in dropped:
        default = _NEW_ATTRIBUTES[node.op_type][name]
        values = given[name] if isinstance(given[name], list) else [given[name]]
        harmless = name == "allowzero" and 0 not in draft.constants.get(node.input[1], np.zeros(1))
        if default is not None and not harmless and any(value != default for value in values):
            raise ValueError(f"{node.op_type} has {name}={given[name]}, which opset {_KNOWN} cannot express")
    return rewritten(node, drop=dropped) if dropped else node
