"""Chooses the reader of a path: `load` and `model_sha256`."""

from __future__ import annotations

from pathlib import Path

from auditcli.errors import LoadError
from auditcli.loading import huggingface, onnx, safetensors
from auditcli.loading._files import digest, printable
from auditcli.loading._sniff import sniff
from auditcli.types import Checkpoint, Format


def load(path: Path) -> Checkpoint:
    """Read a model: a safetensors file, an ONNX file, or a Hugging Face folder.

    The format follows from the content first and the suffix second. Weights come as float32, other numbers as they
    are. Nothing is unpickled, and no Python of the model's author runs.

    Args:
        path: A file, or a folder with `config.json` and `*.safetensors`.

    Returns:
        The tensors by name, what the file says about itself, and for ONNX the converted and checked graph.

    Raises:
        LoadError: no such file, a refused format (pickles, TorchScript, `.pt2`), a damaged or lying file, weights that
            are not finite, or an ONNX graph that is no image classifier.
    """
    path = Path(path)
    try:
        match sniff(path):
            case Format.SAFETENSORS:
                return safetensors.read(path)
            case Format.ONNX:
                return onnx.read(path)
            case Format.HUGGINGFACE:
                return huggingface.read(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def model_sha256(path: Path) -> str:
    """The hash `load` puts into `Checkpoint.sha256`, without reading the weights into memory.

    Raises:
        LoadError: as `load`, as far as the names and headers of the files show it.
    """
    path = Path(path)
    try:
        match sniff(path):
            case Format.SAFETENSORS:
                return digest((path,), path.parent)
            case Format.ONNX:
                return digest(onnx.members(path), path.parent)
            case Format.HUGGINGFACE:
                return digest(huggingface.members(path), path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> LoadError:
    reason = (error.strerror or str(error)).lower()
    return LoadError(f"{printable(path)} cannot be read: {reason}", hint="check the path and its permissions: ls -l")
