"""Random damage to ONNX graphs that leaves a protobuf in order: `edit_graph`."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import onnx
from fuzz_edits import INTRUDER, NUMBERS, TEXTS
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

_NAMES = tuple(text for text in TEXTS if len(text) < 1000 and "\ud800" not in text)
_INTEGERS = tuple(int(number) for number in NUMBERS if isinstance(number, int) and -(2**63) <= number < 2**63)
_OPERATORS = (
    *("Relu", "Sqrt", "Softmax", "Transpose", "Reshape", "Flatten", "Identity", "Dropout", "Cast", "Gemm", "MatMul"),
    *("Conv", "ConvTranspose", "MaxPool", "GlobalAveragePool", "BatchNormalization", "Expand", "Tile", "Pad", "Resize"),
    *("ConstantOfShape", "Range", "Loop", "If", "Scan", "NonZero", "TopK", "StringNormalizer", "RandomNormal"),
    *("Einsum", "SequenceAt", "Gather", "GridSample", "STFT", "ArgMax", "NoSuchOperator", "QuantizeLinear"),
)
_TYPES = (0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 14, 16, 17, 20, 22, 23, 99, -1)


def edit_graph(content: bytes, rng: Random) -> bytes:
    """A few changes to operators, attributes, weights, shapes, names and edges."""
    model = onnx.load_from_string(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        rng.choice(_EDITS)(model, rng)
    written: bytes = model.SerializeToString()
    return written


def _operator(model: ModelProto, rng: Random) -> None:
    _node(model, rng).op_type = rng.choice(_OPERATORS)


def _attribute(model: ModelProto, rng: Random) -> None:
    node = _node(model, rng)
    if not node.attribute or rng.random() < 0.2:
        name = rng.choice(("axis", "perm", "alpha", "kernel_shape", "group", "auto_pad", "to", "value", "epsilon"))
        value = rng.choice((rng.choice(_INTEGERS), [rng.choice(_INTEGERS)] * 4, 1e30, "SAME_UPPER", INTRUDER))
        node.attribute.append(helper.make_attribute(name, value))
        return
    attribute = rng.choice(node.attribute)
    match attribute.type:
        case AttributeProto.INT:
            attribute.i = rng.choice(_INTEGERS)
        case AttributeProto.FLOAT:
            attribute.f = rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
        case AttributeProto.STRING:
            attribute.s = rng.choice((b"", b"\xff\xfe", b"NOTSET", INTRUDER.encode()))
        case AttributeProto.INTS if attribute.ints:
            attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(_INTEGERS)
        case AttributeProto.TENSOR:
            _damage(attribute.t, rng)
    if rng.random() < 0.1:
        attribute.type = rng.choice((0, 1, 2, 3, 4, 6, 7, 8))
    if rng.random() < 0.1:
        attribute.ints.extend([1] * rng.choice((1, 1000)))


def _weight(model: ModelProto, rng: Random) -> None:
    if model.graph.initializer:
        _damage(rng.choice(model.graph.initializer), rng)


def _damage(tensor: TensorProto, rng: Random) -> None:
    match rng.randrange(6):
        case 0 if tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_INTEGERS)
        case 1:
            tensor.data_type = rng.choice(_TYPES)
        case 2:
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
        case 3:
            tensor.data_location = TensorProto.EXTERNAL
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", rng.choice((*_NAMES, "weights.bin", "model.onnx", "."))
            if rng.random() < 0.5:
                entry = tensor.external_data.add()
                entry.key, entry.value = rng.choice(("offset", "length")), str(rng.choice(NUMBERS))
        case 4:
            tensor.name = rng.choice(_NAMES)
        case _:
            tensor.dims[:] = [rng.choice((0, 1, 2, 4, 16, 2**20, 2**40)) for _ in range(rng.randrange(5))]


def _external(model: ModelProto, rng: Random) -> None:
    """Where weights in other files are said to lie."""
    entries = [entry for tensor in model.graph.initializer for entry in tensor.external_data]
    if entries:
        entry = rng.choice(entries)
        entry.value = rng.choice((*_NAMES, "model.onnx", str(rng.choice(NUMBERS)), "nowhere.bin", "./weights.bin"))


def _shape(model: ModelProto, rng: Random) -> None:
    value = rng.choice((*model.graph.input, *model.graph.output, *model.graph.value_info))
    kind = value.type.tensor_type
    if not kind.shape.dim or rng.random() < 0.2:
        kind.shape.dim.add().dim_value = rng.choice(_INTEGERS)
    elif rng.random() < 0.2:
        kind.elem_type = rng.choice(_TYPES) % 2**31
    elif rng.random() < 0.2:
        rng.choice(kind.shape.dim).dim_param = rng.choice(_NAMES)
    else:
        rng.choice(kind.shape.dim).dim_value = rng.choice(_INTEGERS)


def _name(model: ModelProto, rng: Random) -> None:
    """One value under another name everywhere, or a node."""
    new = rng.choice((*_NAMES, INTRUDER))
    if rng.random() < 0.4:
        _node(model, rng).name = new
        return
    old = rng.choice([name for node in model.graph.node for name in (*node.input, *node.output)] or [""])
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        if value.name == old:
            value.name = new


def _edge(model: ModelProto, rng: Random) -> None:
    """An input from somewhere else: nowhere, a weight, the node's own output, or a later node's."""
    node = _node(model, rng)
    known = [name for other in model.graph.node for name in other.output]
    weights = [tensor.name for tensor in model.graph.initializer]
    source = rng.choice(("", "nowhere", *node.output, *known, *weights))
    if node.input:
        node.input[rng.randrange(len(node.input))] = source
    if rng.random() < 0.2:
        node.input.append(source)
    if rng.random() < 0.1 and node.output:
        node.output.append(node.output[0])


def _order(model: ModelProto, rng: Random) -> None:
    """A node gone, doubled or moved."""
    nodes = list(model.graph.node)
    if not nodes:
        return
    index = rng.randrange(len(nodes))
    match rng.randrange(4):
        case 0:
            del nodes[index]
        case 1:
            nodes.insert(index, nodes[rng.randrange(len(nodes))])
        case 2:
            nodes.insert(0, nodes.pop(index))
        case _:
            nodes.append(nodes[index])
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _swell(model: ModelProto, rng: Random) -> None:
    """An operator before the last that asks for memory: sizes that stand in a few bytes of weights."""
    size = rng.choice((2**10, 2**24, 2**31, 2**40, 2**62, -1))
    sizes = numpy_helper.from_array(np.array([size, rng.choice((1, 4, 2**20))], "int64"), "sizes")
    model.graph.initializer.append(sizes)
    last = model.graph.node[-1] if model.graph.node else model.graph.node.add()
    source = last.input[0] if last.input else "x"
    inputs = {"ConstantOfShape": ["sizes"], "Range": ["sizes", "sizes", "sizes"]}
    kind = rng.choice(("ConstantOfShape", "Expand", "Tile", "Reshape", "Range", "Pad"))
    node = helper.make_node(kind, inputs.get(kind, [source, "sizes"]), ["swollen"])
    last_copy = NodeProto.FromString(last.SerializeToString())
    if last_copy.input:
        last_copy.input[0] = "swollen"
    del model.graph.node[-1:]
    model.graph.node.extend([node, last_copy])


def _intrude(model: ModelProto, rng: Random) -> None:
    """Every node named like code, behind operators whose gradient is no number, which some converters give up on."""
    if rng.random() < 0.5 and model.graph.node and model.graph.node[0].input:
        source = model.graph.node[0].input[0]
        model.graph.node[0].input[0] = "same"
        extra = (("Sub", [source, source], "zero"), ("Sqrt", ["zero"], "root"), ("Add", ["root", source], "same"))
        nodes = [helper.make_node(kind, inputs, [output]) for kind, inputs, output in extra]
        nodes += [NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    for node in model.graph.node:
        node.name = INTRUDER


def _version(model: ModelProto, rng: Random) -> None:
    match rng.randrange(4):
        case 0:
            model.ir_version = rng.choice(_INTEGERS)
        case 1 if model.opset_import:
            model.opset_import[0].version = rng.choice((0, 1, 6, 9, 13, 18, 20, 23, 99, -1, 2**62))
        case 2:
            model.opset_import.append(helper.make_opsetid(rng.choice(("", "ai.onnx.ml", INTRUDER)), rng.choice((1, 9))))
        case _:
            _node(model, rng).domain = rng.choice(("ai.onnx", "ai.onnx.ml", "com.microsoft", INTRUDER))


def _whole(model: ModelProto, rng: Random) -> None:
    """Inputs, outputs and functions of the graph itself."""
    match rng.randrange(5):
        case 0:
            model.graph.input.append(helper.make_tensor_value_info(rng.choice(_NAMES), 1, [1, 3]))
        case 1:
            del model.graph.output[:]
        case 2:
            names = [name for node in model.graph.node for name in node.output] or ["x"]
            model.graph.output.append(helper.make_tensor_value_info(rng.choice(names), 1, ["n", 3]))
        case 3:
            node = _node(model, rng)
            body = [helper.make_node(rng.choice(("Relu", node.op_type)), ["a"], ["b"], domain=node.domain)]
            opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
            model.functions.append(helper.make_function("local", node.op_type, ["a"], ["b"], body, opsets))
            node.domain = "local"
            model.opset_import.append(helper.make_opsetid("local", 1))
        case _:
            model.graph.sparse_initializer.add().dims.extend([2**40, 2**40])


_EDITS: tuple[Callable[[ModelProto, Random], None], ...] = (
    *(_operator, _attribute, _attribute, _weight, _weight, _external, _shape, _shape, _name, _name, _edge, _edge),
    *(_order, _swell, _version, _whole, _intrude),
)


def _node(model: ModelProto, rng: Random) -> NodeProto:
    node: NodeProto = rng.choice(model.graph.node) if model.graph.node else model.graph.node.add()
    return node
