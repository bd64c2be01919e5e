"""Hugging Face folders: `config.json`, `preprocessor_config.json` and `*.safetensors`, read without transformers.

Code in the folder (`auto_map`, `*.py`) is never run, pickles (`pytorch_model.bin`) are never opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from auditcli.errors import LoadError
from auditcli.loading._files import digest, inside, printable, read_json
from auditcli.loading.safetensors import read_tensors
from auditcli.types import Checkpoint, Format

if TYPE_CHECKING:
    from torch import Tensor

INDEX = "model.safetensors.index.json"
PREPROCESSOR = "preprocessor_config.json"


def read(path: Path) -> Checkpoint:
    """Read a folder. The description is `config.json`, with the preprocessor's beside it under `preprocessor_config`.

    Raises:
        LoadError: only pickles, a link or name that leads out of the folder, shards that are missing or disagree with
            the index, or damaged files.
    """
    files = members(path)
    config = read_json(inside(path, "config.json"))
    if (path / PREPROCESSOR).exists():
        config = {**config, "preprocessor_config": read_json(inside(path, PREPROCESSOR))}
    return Checkpoint(
        path=path,
        format=Format.HUGGINGFACE,
        sha256=digest(files, path),
        bytes=sum(file.stat().st_size for file in files),
        tensors=_read_shards(path),
        description=config,
        described_by="config.json",
    )


def members(path: Path) -> tuple[Path, ...]:
    """The files of the folder that are read, and hashed: configurations, index and shards.

    Raises:
        LoadError: see `read`.
    """
    optional = tuple(name for name in (PREPROCESSOR, INDEX) if (path / name).exists())
    return tuple(inside(path, name) for name in ("config.json", *optional, *_shards(path)))


def _read_shards(path: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for shard in _shards(path):
        part, _ = read_tensors(inside(path, shard))
        if twice := tensors.keys() & part.keys():
            raise LoadError(f"{printable(path)}: two shards hold the tensor {printable(min(twice))}")
        tensors |= part
    if (path / INDEX).exists():
        promised = set(read_json(inside(path, INDEX))["weight_map"])
        if differing := promised ^ tensors.keys():
            raise LoadError(
                f"{printable(path)}: {INDEX} and the shards disagree on {printable(min(differing))}",
                hint="download the folder again, all files of it",
            )
    if not tensors:
        raise LoadError(f"{printable(path)} holds no tensors")
    return tensors


def _shards(path: Path) -> tuple[str, ...]:
    """Names of the safetensors files that make up the model."""
    if (path / INDEX).exists():
        weight_map = read_json(inside(path, INDEX)).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
            raise LoadError(f"{INDEX} of {printable(path)} has no weight_map from tensor names to file names")
        return tuple(sorted(set(weight_map.values())))
    names = sorted(file.name for file in path.glob("*.safetensors"))
    if "model.safetensors" in names:
        return ("model.safetensors",)
    if len(names) == 1:
        return (names[0],)
    if names:
        raise LoadError(
            f"{printable(path)} holds {len(names)} safetensors files and no {INDEX}",
            hint=f"privaudit scan {printable(path)}/{printable(names[0])}",
        )
    pickles = sorted(file.name for file in path.glob("*") if file.suffix in {".bin", ".pt", ".pth", ".h5"})
    held = f"only {printable(pickles[0])}" if pickles else "no weights"
    raise LoadError(
        f"{printable(path)} holds {held}; *.safetensors was expected, pickles are never opened",
        hint="where you trust the folder: AutoModelForImageClassification.from_pretrained(F).save_pretrained(F)",
    )
