"""Chooses the reader of a path: `load`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from auditcli.errors import LoadError
from auditcli.loading import hub, huggingface, onnx, safetensors
from auditcli.loading._files import printable
from auditcli.loading._identity import unreadable
from auditcli.loading._sniff import sniff
from auditcli.loading.description import describe
from auditcli.types import Checkpoint, Format


def load(path: str | Path) -> Checkpoint:
    """Read a model: a safetensors file, an ONNX file, a Hugging Face folder, or a model of the Hugging Face hub.

    The format follows from the content first and the suffix second. Weights come as float32, other numbers as they
    are. Nothing is unpickled, and no Python of the model's author runs.

    Args:
        path: A file, a folder with `config.json` and `*.safetensors`, or `hf://owner/name[@revision]`, whose
            configurations and safetensors are downloaded into the cache of huggingface_hub.

    Returns:
        The tensors by name, what the file says about itself, and for ONNX the converted and checked graph.

    Raises:
        LoadError: no such file, a refused format (pickles, TorchScript, `.pt2`), a damaged or lying file, weights that
            are not finite, an ONNX graph that is no image classifier, or a model of the hub that cannot be had.
    """
    if hub.is_hub_id(path):
        return _load_from_hub(path)
    path = Path(path)
    try:
        match sniff(path):
            case Format.SAFETENSORS:
                return safetensors.read(path)
            case Format.ONNX:
                checkpoint = onnx.read(path)
                description, by = describe(path, {}, checkpoint.sha256)
                return replace(checkpoint, description=description, described_by=by)
            case Format.HUGGINGFACE:
                return huggingface.read(path)
    except OSError as error:
        raise unreadable(path, error) from error


def _load_from_hub(hub_id: str | Path) -> Checkpoint:
    snapshot = hub.fetch(hub_id)
    try:
        return replace(load(snapshot.path), origin=snapshot.origin)
    except LoadError as error:  # The folder has the name of the commit, which says little to a reader.
        message = error.message.replace(printable(snapshot.path), snapshot.origin)
        raise LoadError(message, hint=error.hint) from error
