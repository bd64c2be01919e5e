"""Reads a model file or folder without running any code of its author.

Public names: `load`, `model_sha256`, `save_described`, `stored_types`, `Description`,
`sidecar_of`, `embed`. They are imported when first used: `model_sha256` needs no torch, and must not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditcli.loading._identity import model_sha256
    from auditcli.loading._load import load
    from auditcli.loading.description import Description, sidecar_of
    from auditcli.loading.embedding import embed
    from auditcli.loading.safetensors import save_described
    from auditcli.loading.stored import stored_types

__all__ = ["Description", "embed", "load", "model_sha256", "save_described", "sidecar_of", "stored_types"]

_HOMES = {
    "Description": "description",
    "embed": "embedding",
    "load": "_load",
    "model_sha256": "_identity",
    "save_described": "safetensors",
    "sidecar_of": "description",
    "stored_types": "stored",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
