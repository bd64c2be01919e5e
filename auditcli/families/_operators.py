"""The family that the operators of an ONNX graph give away: `family_of`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditcli.types import Family

if TYPE_CHECKING:
    from auditcli.types import Checkpoint, Graph

_BETWEEN = frozenset({"Softmax", "Cast", "Identity", "Dropout", "Where", "IsNaN"})
"""What exporters put between the softmax of an attention and the product: casts, and guards against NaN."""


def family_of(checkpoint: Checkpoint) -> tuple[Family, str]:
    """Family of a graph, and one line for people."""
    graph = checkpoint.graph
    if graph is None:
        raise TypeError("a checkpoint with a graph was expected")
    attentions, convolutions = _attentions(checkpoint, graph), sum(node.op == "Conv" for node in graph.nodes)
    if attentions:
        return Family.VIT, f"ONNX graph with {attentions} attention layers"
    # One convolution is how a mixer cuts patches; it then turns the tokens around.
    patches = convolutions == 1 and any(node.op == "Transpose" for node in graph.nodes)
    if convolutions and not patches and not _inner_softmaxes(graph):
        return Family.CNN, f"ONNX graph with {convolutions} convolutions"
    return Family.UNKNOWN, f"ONNX graph of {len(graph.nodes)} operators"


def _attentions(checkpoint: Checkpoint, graph: Graph) -> int:
    """Attention operators, or softmaxes whose output is multiplied by another computed value."""
    soft: set[str] = set()
    found = sum(node.op == "Attention" for node in graph.nodes)
    for node in graph.nodes:
        if node.op == "Softmax" or (node.op in _BETWEEN and soft & set(node.inputs)):
            soft |= set(node.outputs)
        elif node.op in {"MatMul", "Einsum"} and soft & set(node.inputs):
            found += not any(name in checkpoint.tensors for name in node.inputs)
    return found


def _inner_softmaxes(graph: Graph) -> int:
    return sum(node.op == "Softmax" for node in graph.nodes) - (graph.final == "Softmax")
