"""Reads a model file or folder without running any code of its author.

Public names: `load`, `model_sha256`, `save_described`, `Description`.
"""

from auditcli.loading._load import load, model_sha256
from auditcli.loading.description import Description
from auditcli.loading.safetensors import save_described

__all__ = ["Description", "load", "model_sha256", "save_described"]
