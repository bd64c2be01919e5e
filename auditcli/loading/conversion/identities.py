"""Operators that return what they read: `without_identities`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from auditcli.loading.conversion.draft import Draft, Value, attributes_of

if TYPE_CHECKING:
    from onnx import NodeProto


def without_identities(draft: Draft) -> Draft:
    """The draft without `Identity`, without `Dropout` as inference runs it, and without casts to the type at hand."""
    values = draft.values()
    same = {node.output[0]: node.input[0] for node in draft.nodes if _is_identity(draft, node, values)}
    if draft.output_name in same and draft.renamed(same).output_name not in draft.makers():
        del same[draft.output_name]  # A graph must return what one of its operators computes.
    kept = tuple(node for node in draft.nodes if node.output[0] not in same)
    return replace(draft, nodes=kept).renamed(same).pruned() if same else draft


def _is_identity(draft: Draft, node: NodeProto, values: Mapping[str, Value]) -> bool:
    match node.op_type:
        case "Identity":
            return True
        case "Cast":
            return node.input[0] in values and values[node.input[0]].kind == attributes_of(node)["to"]
        case "CastLike":
            kinds = {values[name].kind for name in node.input if name in values}
            return all(name in values for name in node.input) and len(kinds) == 1
        case "Dropout":
            mode = node.input[2] if len(node.input) > 2 else ""
            training = bool(draft.constants[mode]) if mode in draft.constants else bool(mode)
            mask = node.output[1] if len(node.output) > 1 else ""
            return not training and not (mask and (draft.readers(mask) or mask == draft.output_name))
        case _:
            return False
