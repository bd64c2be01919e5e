"""Which model a path holds: `model_sha256`. Needs no torch: a release is checked where none is installed."""

from __future__ import annotations

from pathlib import Path

from auditcli.errors import LoadError
from auditcli.loading import hub, huggingface, onnx
from auditcli.loading._files import digest, printable
from auditcli.loading._sniff import sniff
from auditcli.types import Format


def model_sha256(path: Path) -> str:
    """The hash `load` puts into `Checkpoint.sha256`, without reading the weights into memory.

    Raises:
        LoadError: as `load`, as far as the names and headers of the files show it; or an id of the hub, which is not
            downloaded.
    """
    if hub.is_hub_id(path):
        hint = "hf download OWNER/NAME --local-dir F, and give F"
        raise LoadError(f"{printable(str(path))} is a model of the hub; a file or folder was expected", hint=hint)
    path = Path(path)
    try:
        match sniff(path):
            case Format.SAFETENSORS:
                return digest((path,), path.parent)
            case Format.ONNX:
                return digest(_onnx_members(path), path.parent)
            case Format.HUGGINGFACE:
                return digest(huggingface.members(path), path)
    except OSError as error:
        raise unreadable(path, error) from error


def _onnx_members(path: Path) -> tuple[Path, ...]:
    try:
        return onnx.members(path)
    except ImportError as error:
        raise LoadError(
            f"{printable(path)} may keep weights in other files, and to find them takes onnx, which is not installed",
            hint="pip install onnx",
        ) from error


def unreadable(path: Path, error: OSError) -> LoadError:
    """What a failing disk, or permissions, look like to the user."""
    reason = (error.strerror or str(error)).lower()
    return LoadError(f"{printable(path)} cannot be read: {reason}", hint="check the path and its permissions: ls -l")
