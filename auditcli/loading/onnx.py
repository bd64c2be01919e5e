"""ONNX files: `read` and `members`. Parsing one runs no code; `conversion` makes a checked torch module of the graph.

Weights in other files are read from the model's own folder alone. `members` needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditcli.errors import LoadError
from auditcli.loading._files import digest, inside, printable
from auditcli.types import Checkpoint, Format, Graph, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto
    from torch import Tensor

    from auditcli.loading.conversion import Converted, Draft

MAX_FILE_BYTES = 2**31
"""Protobuf, and so the checker, ends here. Counted with the weights that lie in other files."""
MAX_OPERATORS = 20_000
"""Some five times those of the largest classifiers; converters take time that grows with their square."""
_BROKEN = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError, StopIteration)
"""What a damaged protobuf makes its users raise: names that are bytes, fields that are not there, absurd numbers."""
_CONTROL_FLOW = frozenset({"Loop", "Scan", "SequenceMap"})
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
    from auditcli.loading.conversion import convert

    converted = convert(path, _classifier(path))
    files = members(path)
    return Checkpoint(
        path=path,
        format=Format.ONNX,
        sha256=digest(files, path.parent),
        bytes=sum(file.stat().st_size for file in files),
        tensors={name: _tensor(path, name, array) for name, array in converted.draft.constants.items()},
        graph=_graph(converted),
    )


def _classifier(path: Path) -> Draft:
    """The checked graph; the file's protobuf is gone when this returns, so that the weights lie in memory once."""
    from auditcli.loading._classifier import classifier

    model = _parse(path)
    _refuse_operators(path, model)
    _load_external(path, model)
    _check(path, model)
    _refuse_non_finite(path, model)
    return classifier(path, model)


def _graph(converted: Converted) -> Graph:
    draft = converted.draft
    nodes = [_node(node) for node in draft.nodes]
    if converted.final:
        nodes.append(Node(converted.final, (draft.output_name,), (draft.fresh("final"),), {"axis": 1}))
    return Graph(
        nodes=tuple(nodes),
        input_name=draft.input_name,
        output_name=draft.output_name,
        input_shape=draft.input.shape or (),
        module=converted.module,
        converter=converted.converter,
        difference=converted.difference,
        checked_against=converted.checked_against,
        final=converted.final,
        opset=draft.opset,
        gradient_difference=converted.gradient_difference,
        batching=converted.module.batching.value,
        notes=draft.notes,
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
    if len(model.graph.node) > MAX_OPERATORS:
        raise _damaged(path, f"its graph has {len(model.graph.node)} operators; at most {MAX_OPERATORS} are read")
    return inline_local_functions(model) if inline and model.functions else model


def _refuse_operators(path: Path, model: ModelProto) -> None:
    import onnx

    for node in _nodes(model.graph):
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


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """All operators, also those of the graphs inside others."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _check(path: Path, model: ModelProto) -> None:
    import onnx

    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise _damaged(path, f"the ONNX checker says: {str(error).strip().splitlines()[0][:160]}") from error


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


def _refuse_non_finite(path: Path, model: ModelProto) -> None:
    import onnx

    from auditcli.loading.safetensors import refuse_non_finite

    values = [attribute.t for node in _nodes(model.graph) if node.op_type == "Constant" for attribute in node.attribute]
    for tensor in (*model.graph.initializer, *values):
        # A lone infinity is how masks and Clip bounds are written; in an array of weights it is damage.
        if tensor.dims:
            refuse_non_finite(path, {tensor.name: _tensor(path, tensor.name, onnx.numpy_helper.to_array(tensor))})


def _tensor(path: Path, name: str, array: NDArray[Any]) -> Tensor:
    import torch

    try:
        return torch.from_numpy(array.astype("float32") if array.dtype.kind in "fV" else array.copy())
    except (ValueError, TypeError) as error:
        raise _damaged(path, f"weight {printable(name)}: {str(error)[:120]}") from error


def _node(node: NodeProto) -> Node:
    import onnx

    kinds = onnx.AttributeProto
    plain = {kinds.FLOAT, kinds.INT, kinds.INTS, kinds.FLOATS, kinds.STRING}
    attributes = {
        attribute.name: _plain(onnx.helper.get_attribute_value(attribute))
        for attribute in node.attribute
        if attribute.type in plain
    }
    return Node(node.op_type, tuple(node.input), tuple(node.output), attributes)


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
