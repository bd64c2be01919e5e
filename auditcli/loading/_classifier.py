"""Whether an ONNX graph is an image classifier: `classifier`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from auditcli.errors import LoadError
from auditcli.loading._files import printable
from auditcli.loading.conversion import Draft, Shape, Value, described

if TYPE_CHECKING:
    from onnx import ModelProto

_FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")


def classifier(path: Path, model: ModelProto) -> Draft:
    """The part of a checked model that computes its classes from one image.

    Args:
        path: For messages.
        model: Its weights inside, without local functions.

    Raises:
        LoadError: not one image of floats or uint8 in and (n, classes) floats out.
    """
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise _no_classifier(path, f"has {len(inputs)} inputs")
    whole = Draft(
        nodes=tuple(model.graph.node),
        constants={name: numpy_helper.to_array(tensor) for name, tensor in weights.items()},
        input_name=inputs[0].name,
        input=_image(path, inputs[0].name, described(inputs[0])),
        output_name=model.graph.output[0].name if model.graph.output else "",
        opset=max(opset.version for opset in model.opset_import if opset.domain in {"", "ai.onnx"}),
        ir_version=model.ir_version,
    )
    return replace(whole, output_name=_logits(path, model, whole)).pruned()


def _image(path: Path, name: str, value: Value) -> Value:
    _require_type(path, f"its input {printable(name)}", value, (*_FLOATS, "UINT8"))
    shape = value.shape or ()
    if len(shape) not in {2, 4}:
        raise _no_classifier(path, f"takes input of shape {_written(shape)}")
    if (shape[0] or 1) != 1:
        raise LoadError(
            f"{printable(path)} is fixed to batches of {shape[0]}; one image, or any number, was expected",
            hint="export it again with dynamic_shapes={'x': {0: 'n'}}, or with one image",
        )
    return value


def _logits(path: Path, model: ModelProto, whole: Draft) -> str:
    """Name of the output that holds the classes."""
    inferred = whole.values()
    outputs = {value.name: described(value) for value in model.graph.output}
    for name, value in outputs.items():
        known = inferred.get(name, value)
        outputs[name] = known if known.shape is not None else value
    flat = [name for name, value in outputs.items() if _is_flat(value.shape or ())]
    chosen: list[str] = [name for name in flat if name == "logits"] or flat
    if len(chosen) != 1:
        shapes = ", ".join(_written(value.shape or ()) for value in outputs.values())
        raise _no_classifier(path, f"returns {shapes or 'nothing'}")
    _require_type(path, f"its output {printable(chosen[0])}", outputs[chosen[0]], _FLOATS)
    return chosen[0]


def _is_flat(shape: Shape) -> bool:
    """(n, classes), or the same with more axes of size one."""
    return len(shape) >= 2 and sum(size != 1 for size in shape[1:]) <= 1


def _require_type(path: Path, what: str, value: Value, accepted: tuple[str, ...]) -> None:
    from onnx import TensorProto

    kinds = TensorProto.DataType
    name = kinds.Name(value.kind) if value.kind in kinds.values() else str(value.kind)
    if name not in accepted:
        raise LoadError(
            f"{printable(path)}: {what} is {name.lower()}; float was expected",
            hint="export the float32 model, with logits out and without decoding, argmax or quantisation in the graph",
        )


def _written(shape: Shape) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"


def _no_classifier(path: Path, what: str) -> LoadError:
    return LoadError(
        f"{printable(path)} {what}; an image classifier takes one (n, c, h, w) or (n, d) and returns (n, classes)",
        hint="export the classifier itself, with one image tensor in and the logits out",
    )
