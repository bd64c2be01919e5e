"""Reads a model file or folder without running any code of its author.

Public names: `load`, `model_sha256`, `save_described`, `stored_types`, `Description`,
`sidecar_of`, `embed`.
"""

from auditcli.loading._load import load, model_sha256
from auditcli.loading.description import Description, sidecar_of
from auditcli.loading.embedding import embed
from auditcli.loading.safetensors import save_described
from auditcli.loading.stored import stored_types

__all__ = ["Description", "embed", "load", "model_sha256", "save_described", "sidecar_of", "stored_types"]
