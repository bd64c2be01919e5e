"""An ONNX graph as a chain of linear layers: `dense_chain`.

The operators are walked in order and sorted into linear layers and what stands between them. Whether they are really
connected as a chain is not followed here: the caller compares the chain's outputs with the graph's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from auditcli.families._dense import Dense, DenseChain, Norm
from auditcli.types import Checkpoint, Node

if TYPE_CHECKING:
    from torch import Tensor

_RESHAPES = frozenset({"Flatten", "Reshape", "Identity", "Dropout", "Cast", "Squeeze", "Unsqueeze"})
_BY_OPERATORS: Mapping[frozenset[str], str] = MappingProxyType(
    {
        frozenset(): "identity",
        frozenset({"Relu"}): "relu",
        frozenset({"Tanh"}): "tanh",
        frozenset({"Sigmoid"}): "sigmoid",
        frozenset({"Sigmoid", "Mul"}): "silu",
        frozenset({"Swish"}): "silu",
        frozenset({"Elu"}): "elu",
        frozenset({"Selu"}): "selu",
        frozenset({"Softplus"}): "softplus",
        frozenset({"Mish"}): "mish",
        frozenset({"Softplus", "Tanh", "Mul"}): "mish",
        frozenset({"HardSwish"}): "hardswish",
        frozenset({"Erf", "Div", "Add", "Mul"}): "gelu",
        frozenset({"Erf", "Add", "Mul"}): "gelu",
        frozenset({"Tanh", "Add", "Mul", "Pow"}): "gelu_tanh",
        frozenset({"Tanh", "Add", "Mul"}): "gelu_tanh",
    }
)


@dataclass
class _Walk:
    """Linear layers met so far, and the operators since the last one."""

    constants: dict[str, Tensor]
    layers: list[Dense] = field(default_factory=list)
    between: list[tuple[Node, ...]] = field(default_factory=list)
    pending: list[Node] = field(default_factory=list)

    def linear(self, weight: Tensor, bias: Tensor | None) -> None:
        self.between.append(tuple(self.pending))
        self.pending.clear()
        self.layers.append(Dense(weight, bias))


def dense_chain(checkpoint: Checkpoint, start: str) -> DenseChain | None:
    """The chain that the operators behind the value `start` spell, or None where they spell something else."""
    graph = checkpoint.graph
    if graph is None:
        return None
    walk = _Walk(dict(checkpoint.tensors))
    reached = {start}
    sizes: set[str] = set()
    for node in graph.nodes:
        data = [name for name in node.inputs if name in reached]
        if node.op == "Shape" or (sizes & set(node.inputs) and not data):
            sizes |= set(node.outputs)
        elif data:
            if not _step(walk, node):
                return None
            reached |= set(node.outputs)
            if graph.output_name in node.outputs:
                break
        else:
            _fold(walk.constants, node)
    if not walk.layers or walk.pending or walk.between[0]:
        return None
    names = {_activation(nodes) for nodes in walk.between[1:]} or {"identity"}
    name = names.pop()
    return None if names or name is None else DenseChain(tuple(walk.layers), name)


def _step(walk: _Walk, node: Node) -> bool:
    """Take one operator on the data; False where a chain of linear layers has no place for it."""
    constants = [walk.constants[name] for name in node.inputs if name in walk.constants]
    match node.op:
        case "Gemm":
            return _gemm(walk, node)
        case "MatMul":
            if len(constants) != 1 or constants[0].ndim != 2 or node.inputs[1] not in walk.constants:
                return False
            walk.linear(constants[0].T, None)
        case "Add" if walk.layers and not walk.pending and _is_bias(walk.layers[-1], constants):
            walk.layers[-1] = Dense(walk.layers[-1].weight, constants[0].reshape(-1))
        case "BatchNormalization":
            return _batch_norm(walk, node, constants)
        case op if op not in _RESHAPES:
            walk.pending.append(node)
    return True


def _is_bias(layer: Dense, constants: list[Tensor]) -> bool:
    fits = len(constants) == 1 and constants[0].numel() == len(layer.weight) and constants[0].shape[-1:].numel() > 0
    return fits and constants[0].ndim in {1, 2} and layer.bias is None and layer.norm is None


def _gemm(walk: _Walk, node: Node) -> bool:
    weight = walk.constants.get(node.inputs[1])
    bias = walk.constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
    plain = all(node.attributes.get(key, default) == default for key, default in _GEMM_DEFAULTS.items())
    if weight is None or weight.ndim != 2 or not plain or (len(node.inputs) > 2 and bias is None):
        return False
    weight = weight if node.attributes.get("transB", 0) else weight.T
    if bias is not None:
        bias = bias.reshape(-1).expand(len(weight)) if bias.numel() in {1, len(weight)} else None
        if bias is None:
            return False
    walk.linear(weight, bias)
    return True


_GEMM_DEFAULTS: Mapping[str, float] = MappingProxyType({"alpha": 1.0, "beta": 1.0, "transA": 0})


def _batch_norm(walk: _Walk, node: Node, constants: list[Tensor]) -> bool:
    """Batch norm right behind a linear layer; anywhere else the chain has no place for it."""
    if not walk.layers or walk.pending or walk.layers[-1].norm is not None or len(constants) != 4:
        return False
    weight, bias, mean, variance = constants
    norm = Norm(mean, variance, weight, bias, float(node.attributes.get("epsilon", 1e-5)))
    walk.layers[-1] = Dense(walk.layers[-1].weight, walk.layers[-1].bias, norm)
    return True


def _activation(nodes: tuple[Node, ...]) -> str | None:
    match [node.op for node in nodes]:
        case ["LeakyRelu"]:
            slope = float(f"{nodes[0].attributes.get('alpha', 0.01):.6g}")
            return "leaky_relu" if slope == 0.01 else f"leaky_relu({slope})"
        case ["Gelu"]:
            return "gelu_tanh" if nodes[0].attributes.get("approximate") == "tanh" else "gelu"
        case operators:
            return _BY_OPERATORS.get(frozenset(operators))


def _fold(constants: dict[str, Tensor], node: Node) -> None:
    """Compute what exporters leave between a weight and its layer."""
    source = constants.get(node.inputs[0]) if node.inputs else None
    if source is None:
        return
    if node.op in {"Identity", "Cast"}:
        constants[node.outputs[0]] = source
    elif node.op == "Transpose":
        order = node.attributes.get("perm", tuple(reversed(range(source.ndim))))
        constants[node.outputs[0]] = torch.permute(source, order)
