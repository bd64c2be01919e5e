"""Hugging Face folders: `config.json`, the image processor's JSON and `*.safetensors`, read without any library.

Code in the folder (`auto_map`, `*.py`) is never run, pickles (`pytorch_model.bin`) are never opened. The files that are
read are named here alone (`CONFIG`, `PROCESSORS`, `weights`), so that no others are downloaded or hashed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditcli.errors import LoadError
from auditcli.loading._files import digest, inside, names, printable, read_json
from auditcli.types import Checkpoint, Format

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
"""Of the image processor alone, and of a processor that holds one under `image_processor`; the first wins."""
PROCESSOR_KEY = "preprocessor_config"
PROCESSOR_FILE_KEY = "preprocessor_file"
_INDEX = re.compile(r"model\.safetensors\.index(?:\.[\w-]+)?\.json")
_SHARD = re.compile(r"model(?:\.[\w-]+)?-\d+-of-\d+\.safetensors")
_NO_MODEL = re.compile(r"adapter_.*|optimizer.*|training_.*|scaler.*|ema.*")


def read(path: Path) -> Checkpoint:
    """Read a folder. The description is `config.json`, with the image processor's JSON under `preprocessor_config`.

    Raises:
        LoadError: only pickles, a link or name that leads out of the folder, shards that are missing or disagree with
            the index, or damaged files.
    """
    files = members(path)
    return Checkpoint(
        path=path,
        format=Format.HUGGINGFACE,
        sha256=digest(files, path),
        bytes=sum(file.stat().st_size for file in files),
        tensors=_tensors(path),
        description=_description(path),
        described_by=CONFIG,
    )


def members(path: Path) -> tuple[Path, ...]:
    """The files of the folder that are read, and hashed: configurations, index and shards.

    Raises:
        LoadError: see `read`.
    """
    index, shards = _index_and_shards(path)
    held = set(names(path))
    optional = (*(name for name in PROCESSORS if name in held), *([index] if index else []))
    return tuple(inside(path, name) for name in (CONFIG, *optional, *shards))


def weights(held: Sequence[str]) -> tuple[str, ...]:
    """Of the names in a folder, those that hold its weights: one file, or an index and the shards; empty where unclear.

    `model.safetensors` is the model; others are half-precision twins of it (`model.fp16.safetensors`), or what training
    left behind.
    """
    found = [name for name in sorted(held) if name.endswith(".safetensors") and not _NO_MODEL.fullmatch(name)]
    if "model.safetensors" in found:
        return ("model.safetensors",)
    indexes = sorted((name for name in held if _INDEX.fullmatch(name)), key=len)
    if indexes:
        shards = [name for name in found if _SHARD.fullmatch(name)]
        return (indexes[0], *(shards or found))
    return tuple(found) if len(found) == 1 else ()


def _description(path: Path) -> dict[str, Any]:
    """`config.json`, in which the keys of the processor are ours."""
    config = read_json(inside(path, CONFIG))
    config |= {PROCESSOR_KEY: {}, PROCESSOR_FILE_KEY: ""}
    for name in PROCESSORS:
        if (path / name).is_file():
            processor = read_json(inside(path, name))
            processor = processor.get("image_processor", {}) if name == PROCESSORS[1] else processor
            if isinstance(processor, dict) and processor:
                return config | {PROCESSOR_KEY: processor, PROCESSOR_FILE_KEY: name}
    return config


def _tensors(path: Path) -> dict[str, Tensor]:
    from auditcli.loading.safetensors import read_tensors  # it imports torch, which `members` does without

    index, shards = _index_and_shards(path)
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        part, _ = read_tensors(inside(path, shard))
        if twice := tensors.keys() & part.keys():
            raise LoadError(f"{printable(path)}: two shards hold the tensor {printable(min(twice))}")
        tensors |= part
    if index and (differing := set(_weight_map(path, index)) ^ tensors.keys()):
        raise LoadError(
            f"{printable(path)}: {printable(index)} and the shards disagree on {printable(min(differing))}",
            hint="download the folder again, all files of it",
        )
    if not tensors:
        raise LoadError(f"{printable(path)} holds no tensors", hint="save the model again with save_pretrained")
    return tensors


def _index_and_shards(path: Path) -> tuple[str, tuple[str, ...]]:
    """Name of the index, empty where there is none, and those of the safetensors files that make up the model."""
    held = names(path)
    found = weights(held)
    if found and _INDEX.fullmatch(found[0]):
        return found[0], tuple(sorted(set(_weight_map(path, found[0]).values())))
    if found:
        return "", found
    raise refusal(printable(path), held)


def _weight_map(path: Path, index: str) -> Mapping[str, str]:
    weight_map = read_json(inside(path, index)).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise LoadError(f"{printable(index)} of {printable(path)} has no weight_map from tensor names to file names")
    return weight_map


def refusal(where: str, held: Sequence[str]) -> LoadError:
    """Why the files of these names hold no weights that can be read.

    Args:
        where: Name of the folder or repository, for the message.
        held: Names of its files.
    """
    if several := [name for name in sorted(held) if name.endswith(".safetensors") and not _NO_MODEL.fullmatch(name)]:
        return LoadError(
            f"{where} holds {len(several)} safetensors files and no model.safetensors.index.json: "
            f"{', '.join(map(printable, several[:3]))}",
            hint="keep the one that holds the model, and call it model.safetensors",
        )
    if any(name.startswith("adapter_") for name in held):
        return LoadError(
            f"{where} holds an adapter, not the model that it changes",
            hint="merge them: PeftModel.from_pretrained(base, F).merge_and_unload().save_pretrained(F)",
        )
    pickles = sorted(name for name in held if Path(name).suffix in {".bin", ".pt", ".pth", ".h5", ".msgpack"})
    only = f"only {printable(pickles[0])}" if pickles else "no weights"
    return LoadError(
        f"{where} holds {only}; *.safetensors was expected, pickles are never opened",
        hint="where you trust the folder: AutoModelForImageClassification.from_pretrained(F).save_pretrained(F)",
    )
