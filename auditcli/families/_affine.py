"""The normalisation that the first operators of an ONNX graph compute: `leading_normalisation`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditcli.types import Checkpoint, Graph, Node, Normalisation

if TYPE_CHECKING:
    from torch import Tensor

_ARITHMETIC = frozenset({"Sub", "Div", "Mul", "Add"})
_TRANSPARENT = frozenset({"Identity", "Cast", "Dropout"})


def leading_normalisation(checkpoint: Checkpoint) -> tuple[Normalisation | None, str]:
    """Mean and deviation that the first operators subtract and divide by, and the name of the value they return.

    None where there are none, where they are no multiple of pixels plus a constant a channel, or for a graph in
    (n, h, w, c) order; the name is then that of the graph's input.
    """
    graph = checkpoint.graph
    if graph is None:
        return None, ""
    scale, shift, name = torch.ones(()), torch.zeros(()), graph.input_name
    end, found = name, False
    while (node := _only_consumer(graph, name)) is not None:
        if node.op in _ARITHMETIC:
            constant = _channel_constant(checkpoint, graph, node, name)
            if constant is None:
                break
            scale, shift = _applied(node, name, constant, scale, shift)
            end, found = node.outputs[0], True
        elif node.op not in _TRANSPARENT:
            break
        name = node.outputs[0]
    scale, shift = torch.broadcast_tensors(scale.double().flatten(), shift.double().flatten())
    if not found or not bool((scale > 0).all()) or not bool((scale.isfinite() & shift.isfinite()).all()):
        return None, graph.input_name
    return Normalisation(tuple((-shift / scale).tolist()), tuple((1 / scale).tolist())), end


def _applied(node: Node, name: str, constant: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    reversed_ = node.inputs[0] != name
    match node.op:
        case "Add":
            return scale, shift + constant
        case "Mul":
            return scale * constant, shift * constant
        case "Sub":
            return (-scale, constant - shift) if reversed_ else (scale, shift - constant)
        case _:
            # A constant divided by pixels is no normalisation: NaN makes the caller refuse it.
            return (scale * torch.nan, shift) if reversed_ else (scale / constant, shift / constant)


def _only_consumer(graph: Graph, name: str) -> Node | None:
    consumers = [node for node in graph.nodes if name in node.inputs and node.op != "Shape"]
    return consumers[0] if len(consumers) == 1 else None


def _channel_constant(checkpoint: Checkpoint, graph: Graph, node: Node, name: str) -> Tensor | None:
    """The node's constant as a scalar or one value a channel (c,)."""
    other = next((value for value in node.inputs if value != name), "")
    constant = checkpoint.tensors.get(other)
    if constant is None or not constant.is_floating_point():
        return None
    if constant.numel() == 1:
        return constant.double().reshape(())
    images = len(graph.input_shape) == 4
    per_channel = constant.numel() == constant.shape[-3] if images and constant.ndim in {3, 4} else False
    return constant.double().flatten() if per_channel and constant.shape[-3] == graph.input_shape[1] else None
