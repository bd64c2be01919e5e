"""Whether an ONNX graph is an image classifier, and the part of it that computes logits: `classifier`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auditcli.errors import LoadError
from auditcli.loading._files import printable

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

_FINAL = frozenset({"Softmax", "LogSoftmax", "Sigmoid"})
_TRANSPARENT = frozenset({"Identity", "Cast", "Dropout"})


@dataclass(frozen=True, slots=True)
class Classifier:
    """A graph with one image input and one output of logits."""

    model: ModelProto
    """Cut before a final softmax or sigmoid, with that one output."""
    input_name: str
    input_shape: tuple[int | None, ...]
    """(n, c, h, w), (n, h, w, c) or (n, d); None where the file leaves a size open."""
    output_name: str
    final: str
    """`Softmax`, `LogSoftmax` or `Sigmoid` where the graph was cut, else empty."""


def classifier(path: Path, model: ModelProto) -> Classifier:
    """Check the graph's contract and cut it before its final probabilities.

    Raises:
        LoadError: not one float image in and (n, classes) floats out.
    """
    import onnx

    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise _no_classifier(path, f"has {len(inputs)} inputs")
    _require_float(path, inputs[0], "input")
    input_shape = _shape(inputs[0])
    if len(input_shape) not in {2, 4}:
        raise _no_classifier(path, f"takes input of shape {_written(input_shape)}")
    if (input_shape[0] or 1) != 1:
        raise LoadError(
            f"{printable(path)} is fixed to batches of {input_shape[0]}; one image, or any number, was expected",
            hint="export it again with dynamic_shapes={'x': {0: 'n'}}, or with one image",
        )
    output = _logits(path, onnx.shape_inference.infer_shapes(model))
    cut = type(model)()
    cut.CopyFrom(model)
    name, final = _before_final(model, output.name)
    del cut.graph.output[:]
    renamed = cut.graph.output.add()
    renamed.CopyFrom(output)
    renamed.name = name
    if final:
        _drop_unused(cut)
    return Classifier(cut, inputs[0].name, input_shape, name, final)


def _logits(path: Path, inferred: ModelProto) -> ValueInfoProto:
    outputs = list(inferred.graph.output)
    flat = [value for value in outputs if len(_shape(value)) == 2]
    named = [value for value in flat if value.name == "logits"]
    chosen = named or flat
    if len(chosen) != 1:
        shapes = ", ".join(_written(_shape(value)) for value in outputs)
        raise _no_classifier(path, f"returns {shapes or 'nothing'}")
    _require_float(path, chosen[0], "output")
    found: ValueInfoProto = chosen[0]
    return found


def _require_float(path: Path, value: ValueInfoProto, role: str) -> None:
    import onnx

    kind = value.type.tensor_type.elem_type
    if kind != onnx.TensorProto.FLOAT:
        name = onnx.TensorProto.DataType.Name(kind).lower() if kind in onnx.TensorProto.DataType.values() else kind
        raise LoadError(
            f"{printable(path)}: its {role} {printable(value.name)} is {name}; float was expected",
            hint="export the float32 model, with logits out and without decoding, argmax or quantisation in the graph",
        )


def _shape(value: ValueInfoProto) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims)


def _written(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"


def _before_final(model: ModelProto, output: str) -> tuple[str, str]:
    """What a final softmax or sigmoid reads, and its name; the output itself and an empty name where there is none."""
    makers: dict[str, NodeProto] = {name: node for node in model.graph.node for name in node.output}
    name = output
    while name in makers and makers[name].op_type in _TRANSPARENT:
        name = makers[name].input[0]
    if name in makers and makers[name].op_type in _FINAL:
        return makers[name].input[0], makers[name].op_type
    return output, ""


def _drop_unused(model: ModelProto) -> None:
    """Remove what the output does not need: converters would compute it all the same."""
    needed = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))


def _no_classifier(path: Path, what: str) -> LoadError:
    return LoadError(
        f"{printable(path)} {what}; an image classifier takes one (n, c, h, w) or (n, d) and returns (n, classes)",
        hint="export the classifier itself, with one image tensor in and the logits out",
    )
