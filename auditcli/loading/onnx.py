"""ONNX files: `read` and `members`. Parsing one runs no code; the graph is converted to torch and checked (`_convert`).

Weights in other files are read from the model's own folder alone.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from auditcli.errors import LoadError
from auditcli.loading._files import digest, inside, printable
from auditcli.loading.safetensors import refuse_non_finite
from auditcli.types import Checkpoint, Format, Graph, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto, TensorProto
    from torch import Tensor

MAX_FILE_BYTES = 2**31
"""Protobuf, and so the checker, ends here. Counted with the weights that lie in other files."""
MAX_ELEMENTS = 2**28
"""Largest tensor a graph may compute for one image (1 GB as float32): a few bytes of ONNX can ask for any size."""
_BROKEN = (TypeError, ValueError, AttributeError, IndexError, KeyError, RuntimeError)
"""What a damaged protobuf makes its users raise: names that are bytes, fields that are not there, absurd numbers."""
_CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_EXPORT = "export it again: torch.onnx.export(model.eval(), (images,), 'model.onnx')"


def read(path: Path) -> Checkpoint:
    """Read, check and convert one ONNX file.

    Raises:
        LoadError: damaged, too large, weights outside the folder or not finite, an operator that cannot be run, no
            image classifier, or no converter whose result agrees with the reference evaluator.
    """
    try:
        return _read(path)
    except _BROKEN as error:
        raise _damaged(path, f"it is inconsistent ({type(error).__name__})") from error


def members(path: Path) -> tuple[Path, ...]:
    """The ONNX file and the files its weights lie in.

    Raises:
        LoadError: damaged, or a weight file that is missing or outside the folder.
    """
    try:
        places = {_location(tensor) for tensor in _external(_parse(path, inline=False))}
        return (path, *(inside(path.parent, place) for place in sorted(places)))
    except _BROKEN as error:
        raise _damaged(path, f"it is inconsistent ({type(error).__name__})") from error


def _read(path: Path) -> Checkpoint:
    from auditcli.loading._classifier import classifier
    from auditcli.loading._convert import convert

    model = _parse(path)
    _refuse_operators(path, model)
    _load_external(path, model)
    _check(path, model)
    tensors = _tensors(path, model)
    parts = classifier(path, model)
    converted = convert(path, parts.model, parts.input_shape)
    files = members(path)
    return Checkpoint(
        path=path,
        format=Format.ONNX,
        sha256=digest(files, path.parent),
        bytes=sum(file.stat().st_size for file in files),
        tensors=tensors,
        graph=Graph(
            nodes=tuple(_nodes(model)),
            input_name=parts.input_name,
            output_name=parts.output_name,
            input_shape=parts.input_shape,
            module=converted.module,
            converter=converted.converter,
            difference=converted.difference,
            checked_against=converted.checked_against,
            final=parts.final,
        ),
    )


def _parse(path: Path, *, inline: bool = True) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx.inliner import inline_local_functions

    if path.stat().st_size >= MAX_FILE_BYTES:
        raise _too_large(path, path.stat().st_size)
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise _damaged(path, "it is no ONNX protobuf") from error
    if not model.graph.node:
        raise _damaged(path, "its graph has no operators")
    return inline_local_functions(model) if inline and model.functions else model


def _refuse_operators(path: Path, model: ModelProto) -> None:
    import onnx

    for node in model.graph.node:
        standard = node.domain in {"", "ai.onnx"}
        if not standard or not onnx.defs.has(node.op_type):
            name = printable(node.op_type if standard else f"{node.domain}.{node.op_type}")
            raise LoadError(
                f"{printable(path)} uses the operator {name}, which is not in the ONNX standard",
                hint="export it without runtime-specific optimisations or custom operators",
            )
        if node.op_type in _CONTROL_FLOW:
            raise LoadError(
                f"{printable(path)} uses the operator {node.op_type}; a graph without control flow was expected",
                hint="export the model without data-dependent branches and loops",
            )


def _check(path: Path, model: ModelProto) -> None:
    import onnx

    try:
        onnx.checker.check_model(model)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise _damaged(path, f"the ONNX checker says: {str(error).strip().splitlines()[0][:160]}") from error
    # Sizes are looked at before anything runs; a symbolic dimension (the batch) counts as one.
    for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.HasField("dim_value")]
        if math.prod(sizes) > MAX_ELEMENTS:
            raise LoadError(
                f"{printable(path)}: {printable(value.name)} has {math.prod(sizes)} elements, more than {MAX_ELEMENTS}",
                hint="only classifiers of ordinary images are read",
            )


def _external(model: ModelProto) -> Iterator[TensorProto]:
    import onnx

    for tensor in onnx.external_data_helper._get_all_tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield tensor


def _location(tensor: TensorProto) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _load_external(path: Path, model: ModelProto) -> None:
    import onnx

    total = path.stat().st_size
    for tensor in _external(model):
        file = inside(path.parent, _location(tensor))
        entries = {entry.key: entry.value for entry in tensor.external_data}
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", 0))
        except ValueError as error:
            raise _damaged(path, f"the place of weight {printable(tensor.name)} is no number") from error
        if min(offset, length) < 0 or offset + length > file.stat().st_size:
            raise _damaged(path, f"weight {printable(tensor.name)} lies beyond the end of {printable(file)}")
        total += length or file.stat().st_size - offset
    if total >= MAX_FILE_BYTES:
        raise _too_large(path, total)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (onnx.checker.ValidationError, ValueError, OSError) as error:
        raise _damaged(path, f"its weights cannot be read: {str(error)[:160]}") from error


def _tensors(path: Path, model: ModelProto) -> dict[str, Tensor]:
    """Initializers and `Constant` outputs by name; floats as float32."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    tensors = {name: _tensor(path, tensor) for name, tensor in found.items()}
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensors[node.output[0]] = _constant(path, node.attribute[0])
    # A lone infinity is how masks and Clip bounds are written; in an array of weights it is damage.
    refuse_non_finite(path, {name: tensor for name, tensor in tensors.items() if tensor.ndim})
    return tensors


def _constant(path: Path, attribute: object) -> Tensor:
    import onnx

    value = onnx.helper.get_attribute_value(attribute)  # type: ignore[arg-type]
    if isinstance(value, onnx.TensorProto):
        return _tensor(path, value)
    if isinstance(value, int | float) or (isinstance(value, list) and value and not isinstance(value[0], bytes)):
        return torch.tensor(value)
    raise _damaged(path, "a Constant holds neither numbers nor a tensor")


def _tensor(path: Path, tensor: TensorProto) -> Tensor:
    import onnx

    try:
        array = onnx.numpy_helper.to_array(tensor).copy()
        value = torch.from_numpy(array.astype("float32") if array.dtype.kind in "fV" else array)
    except (ValueError, TypeError) as error:
        raise _damaged(path, f"weight {printable(tensor.name)}: {str(error)[:120]}") from error
    return value


def _nodes(model: ModelProto) -> Iterator[Node]:
    import onnx

    for node in model.graph.node:
        attributes = {
            attribute.name: onnx.helper.get_attribute_value(attribute)
            for attribute in node.attribute
            if attribute.type in {onnx.AttributeProto.FLOAT, onnx.AttributeProto.INT, onnx.AttributeProto.INTS}
            or attribute.type in {onnx.AttributeProto.FLOATS, onnx.AttributeProto.STRING}
        }
        attributes = {key: _plain(value) for key, value in attributes.items()}
        yield Node(node.op_type, tuple(node.input), tuple(node.output), attributes)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return tuple(value) if hasattr(value, "__iter__") and not isinstance(value, str) else value


def _too_large(path: Path, size: int) -> LoadError:
    return LoadError(
        f"{printable(path)} has {size} bytes with its weights; less than {MAX_FILE_BYTES} was expected",
        hint="scan the model as a Hugging Face folder or a safetensors file",
    )


def _damaged(path: Path, why: str) -> LoadError:
    return LoadError(f"{printable(path)} is not usable: {why}", hint=_EXPORT)
