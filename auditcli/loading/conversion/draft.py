"""An ONNX graph on its way to torch: `Draft`, with what a rewriting step asks of it.

A step is a function from one draft to the next. Drafts are never changed: steps build new nodes and share the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

_SMALL = 4096
"""Constants up to this many elements can be shapes, axes and the like, so shape inference gets to see their values."""

Shape = tuple[int | None, ...]


class Value(NamedTuple):
    """Type (`onnx.TensorProto.DataType`) and shape of a value; None for an open size, and for an unknown rank."""

    kind: int
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class Draft:
    """A graph of standard operators with one input and one output."""

    nodes: tuple[NodeProto, ...]
    """In an order in which each reads what earlier ones returned."""
    constants: Mapping[str, NDArray[Any]]
    input_name: str
    input: Value
    output_name: str
    opset: int
    ir_version: int
    notes: tuple[str, ...] = ()
    """Where the draft computes something else than the file: what was changed, for the report."""
    exact: bool = True
    """Whether its outputs are those of the file up to the rounding of float32."""
    input_range: tuple[float, float] = (-np.inf, np.inf)
    """Of the inputs for which it computes what the file does."""

    def makers(self) -> dict[str, NodeProto]:
        """The node behind each value."""
        return {name: node for node in self.nodes for name in node.output}

    def readers(self, name: str) -> tuple[NodeProto, ...]:
        """The nodes that read a value."""
        return tuple(node for node in self.nodes if name in node.input)

    def fresh(self, wish: str) -> str:
        """A name that no value has yet."""
        taken = {name for node in self.nodes for name in (*node.input, *node.output)} | self.constants.keys()
        taken |= {self.input_name}
        return next(name for name in chain([wish], (f"{wish}_{i}" for i in count(1))) if name not in taken)

    def noted(self, note: str, *, exact: bool = True) -> Draft:
        """The same draft with more to say."""
        return replace(self, notes=(*self.notes, note), exact=self.exact and exact)

    def pruned(self) -> Draft:
        """Without the nodes and constants that the output does not need: converters would compute them all the same."""
        needed, kept = {self.output_name}, []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                needed |= reads(node)
                kept.append(node)
        constants = {name: array for name, array in self.constants.items() if name in needed}
        return replace(self, nodes=tuple(reversed(kept)), constants=constants)

    def renamed(self, names: Mapping[str, str]) -> Draft:
        """With every reading of a key of `names` turned into a reading of what it stands for."""

        def final(name: str) -> str:
            while name in names:
                name = names[name]
            return name

        nodes = []
        for node in self.nodes:
            if any(name in names for name in node.input):
                node = rewritten(node, inputs=[final(name) for name in node.input])
            nodes.append(node)
        return replace(self, nodes=tuple(nodes), output_name=final(self.output_name))

    def model(self) -> ModelProto:
        """The whole graph as a file would hold it."""
        from onnx import numpy_helper

        model = self._skeleton(())
        model.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in self.constants.items())
        return model

    def skeleton(self) -> ModelProto:
        """The graph with all but small weights left out, for questions about its shapes and operators."""
        from onnx import numpy_helper

        large = {name for name, array in self.constants.items() if array.size > _SMALL}
        model = self._skeleton(sorted(large))
        small = {name: array for name, array in self.constants.items() if name not in large}
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in small.items())
        return model

    def typed(self) -> ModelProto:
        """The skeleton with what is known of the types and shapes of its values."""
        from onnx import helper

        model = self.skeleton()
        model.graph.value_info.extend(
            helper.make_tensor_value_info(name, value.kind, value.shape)
            for name, value in self.values().items()
            if value.kind and name not in {self.input_name, self.output_name}
        )
        return model

    def values(self) -> dict[str, Value]:
        """Types and shapes of all values, as far as ONNX's own inference knows them."""
        import onnx

        # ONNX infers nothing behind a group norm; it returns the type and shape that it reads.
        nodes = tuple(
            rewritten(node, op="Identity", inputs=node.input[:1], drop=attributes_of(node))
            if node.op_type == "GroupNormalization"
            else node
            for node in self.nodes
        )
        inferred = onnx.shape_inference.infer_shapes(replace(self, nodes=nodes).skeleton(), data_prop=True).graph
        known = {name: Value(_kind(array), array.shape) for name, array in self.constants.items()}
        for value in (*inferred.value_info, *inferred.output, *inferred.input):
            known.setdefault(value.name, described(value))
        return known

    def _skeleton(self, left_out: Iterable[str]) -> ModelProto:
        from onnx import helper

        inputs = [helper.make_tensor_value_info(self.input_name, self.input.kind, self.input.shape)]
        inputs += [
            helper.make_tensor_value_info(name, _kind(self.constants[name]), self.constants[name].shape)
            for name in left_out
        ]
        outputs = [helper.make_empty_tensor_value_info(self.output_name)]
        graph = helper.make_graph(self.nodes, "graph", inputs, outputs)
        # Before version 4, weights were inputs too, and shape inference took none of them for constants.
        version = max(4, self.ir_version)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=version)


def reads(node: NodeProto) -> set[str]:
    """The values that a node reads, also those that the graphs inside it read from outside."""
    found = set(node.input)
    for inner in (attribute.g for attribute in node.attribute if attribute.HasField("g")):
        found |= {value.name for value in inner.output}.union(*(reads(part) for part in inner.node))
    return found


def described(value: Any) -> Value:
    """What an `onnx.ValueInfoProto` says."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return Value(tensor.elem_type, None)
    dims = tensor.shape.dim
    shape = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims)
    return Value(tensor.elem_type, shape)


def rewritten(
    node: NodeProto,
    *,
    op: str = "",
    inputs: Iterable[str] | None = None,
    outputs: Iterable[str] | None = None,
    drop: Iterable[str] = (),
    put: Mapping[str, object] = MappingProxyType({}),
) -> NodeProto:
    """A copy of a node under another name, with other inputs and outputs, attributes left out or put in."""
    from onnx import helper

    copy = type(node)()
    copy.CopyFrom(node)
    if op:
        copy.op_type = op
    if inputs is not None:
        copy.input[:] = list(inputs)
    if outputs is not None:
        copy.output[:] = list(outputs)
    kept = [attribute for attribute in copy.attribute if attribute.name not in {*drop, *put}]
    del copy.attribute[:]
    copy.attribute.extend(kept)
    copy.attribute.extend(helper.make_attribute(name, value) for name, value in put.items())
    return copy


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values; strings as text."""
    from onnx import helper

    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value for name, value in values.items()
    }


def _kind(array: NDArray[Any]) -> int:
    from onnx import helper

    kind: int = helper.np_dtype_to_tensor_dtype(array.dtype)
    return kind
