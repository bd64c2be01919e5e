"""Operators replaced by formulas of simpler ones: `spelled_out`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from auditcli.loading.conversion.constants import folded
from auditcli.loading.conversion.draft import Draft, attributes_of
from auditcli.loading.conversion.identities import without_identities


def spelled_out(draft: Draft, operators: Iterable[str]) -> Draft:
    """The draft with these operators written as simpler ones, as far as the ONNX standard has a formula for them.

    `HardSwish` becomes `HardSigmoid`, and `HardSigmoid` always `Clip`, which can be differentiated twice.
    """
    from onnx.inliner import inline_selected_functions

    wanted = [("", name) for name in sorted(set(operators) & {node.op_type for node in draft.nodes})]
    if wanted:
        inlined = inline_selected_functions(draft.typed(), wanted, exclude=False, inline_schema_functions=True)
        draft = without_identities(folded(replace(draft, nodes=tuple(inlined.graph.node))))
    return _hard_sigmoids(draft)


def _hard_sigmoids(draft: Draft) -> Draft:
    from onnx import helper

    nodes, constants = [], dict(draft.constants)
    for node in draft.nodes:
        if node.op_type != "HardSigmoid":
            nodes.append(node)
            continue
        given, out = attributes_of(node), node.output[0]
        parts = {"slope": given.get("alpha", 0.2), "middle": given.get("beta", 0.5), "low": 0, "high": 1}
        names = {part: draft.fresh(f"{out}_{part}") for part in (*parts, "sloped", "shifted", "raised")}
        constants |= {names[part]: np.array(value, dtype=np.float32) for part, value in parts.items()}
        nodes += [
            helper.make_node("Mul", [node.input[0], names["slope"]], [names["sloped"]]),
            helper.make_node("Add", [names["sloped"], names["middle"]], [names["shifted"]]),
            helper.make_node("Max", [names["shifted"], names["low"]], [names["raised"]]),
            helper.make_node("Min", [names["raised"], names["high"]], [out]),
        ]
    return replace(draft, nodes=tuple(nodes), constants=constants)
