"""Hugging Face folders: profile from `config.json`, module from transformers, offline, never with the folder's code."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from auditcli.errors import LoadError
from auditcli.families._layers import parameters, table
from auditcli.types import Family, Normalisation, Profile, Trait

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier

_DEFAULT_SIDE = 224
# Keys that ask for code, other number types or other places; nothing of that is wanted.
_IGNORED_KEYS = ("auto_map", "dtype", "torch_dtype", "quantization_config", "_name_or_path", "preprocessor_config")
_DEPTH_KEYS = ("num_hidden_layers", "depths", "num_layers", "depth")


class Logits(nn.Module):
    """A transformers classifier that returns its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, outputs) of normalised images (n, c, h, w)."""
        logits: Tensor = self.model(pixel_values=x).logits
        return logits


def huggingface_profile(dossier: Dossier, family: Family) -> Profile:
    """The profile that `config.json`, `preprocessor_config.json` and the tensors give."""
    config = dossier.checkpoint.description
    shape = _input_shape(dossier, config)
    labels = _labels(config)
    outputs = len(config.get("id2label") or ()) or config.get("num_labels") or 2
    if not isinstance(outputs, int):
        raise _unusable(dossier, f"num_labels is {outputs!r}; a number was expected")
    norms = any(name.endswith(".running_var") for name in dossier.tensors)
    dossier.note(f"model_type {config.get('model_type')!r} in config.json")
    return Profile(
        family=family,
        architecture=_architecture(config),
        input_shape=shape,
        classes=2 if outputs == 1 else outputs,
        outputs=outputs,
        parameters=parameters(dossier.tensors),
        normalisation=_normalisation(dossier, config, shape[0]),
        traits=frozenset({Trait.BATCH_NORM} if norms else ()),
        layers=table(dossier.tensors),
        identified_by="config.json",
        evidence=tuple(dossier.evidence),
        assumptions=tuple(dossier.assumptions),
        labels=labels,
    )


def huggingface_module(dossier: Dossier) -> nn.Module:
    """The classifier, with every weight from the folder and none made up.

    Raises:
        LoadError: transformers is not installed, does not know the model type, or the weights are not exactly those of
            an image classifier of that configuration (a folder without its head is refused).
    """
    try:
        import transformers
        from transformers import AutoModelForImageClassification
    except ImportError as error:
        raise LoadError(
            f"{dossier.checkpoint.path.name} is a Hugging Face folder, and transformers is not installed",
            hint="pip install 'privaudit[hf]'",
        ) from error
    config = _config(dossier, transformers)
    verbosity = transformers.logging.get_verbosity()
    bar = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model_class = _sized(dossier, AutoModelForImageClassification, config)
            model, info = model_class.from_pretrained(
                None,
                config=config,
                state_dict=dict(dossier.tensors),
                attn_implementation="eager",  # Fused attention has no second derivative.
                local_files_only=True,
                output_loading_info=True,
            )
    except LoadError:
        raise
    except Exception as error:  # A configuration of strangers makes transformers raise anything.
        raise _unusable(dossier, (str(error).strip() or type(error).__name__).splitlines()[0][:160]) from error
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bar:
            transformers.logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    _require_complete(dossier, info)
    return Logits(model.float())


def _config(dossier: Dossier, transformers: Any) -> Any:
    raw = {key: value for key, value in dossier.checkpoint.description.items() if key not in _IGNORED_KEYS}
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in transformers.CONFIG_MAPPING:
        custom = " (code in the folder is never run)" if "auto_map" in dossier.checkpoint.description else ""
        raise LoadError(
            f"{dossier.checkpoint.path.name}: transformers knows no model type {kind!r}{custom}",
            hint="export the model to ONNX: torch.onnx.export(model.eval(), (images,), F)",
        )
    try:
        config = transformers.CONFIG_MAPPING[kind].from_dict(raw)
    except Exception as error:  # Each configuration class checks its own keys in its own way.
        raise _unusable(dossier, (str(error).strip() or type(error).__name__).splitlines()[0][:160]) from error
    # `from_config` walks over `architectures` and fails on a folder that does not name any.
    config.architectures = config.architectures or []
    return config


def _sized(dossier: Dossier, auto: Any, config: Any) -> Any:
    """The class of the model, once a copy without memory is no larger than the weights: a config can claim any size."""
    for key in _DEPTH_KEYS:
        depth = getattr(config, key, None)
        layers = sum(depth) if isinstance(depth, list | tuple) else depth
        if isinstance(layers, int) and layers > len(dossier.tensors):
            raise _unusable(dossier, f"{key} is {depth}, and there are {len(dossier.tensors)} tensors")
    with torch.device("meta"):
        empty = auto.from_config(config, trust_remote_code=False)
    wanted = sum(tensor.numel() for tensor in empty.parameters())
    held = parameters(dossier.tensors)
    if wanted > 2 * held + 1_000_000:
        raise _unusable(dossier, f"it describes {wanted} parameters, and the folder holds {held}")
    return type(empty)


def _require_complete(dossier: Dossier, info: Mapping[str, Any]) -> None:
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        names = sorted(str(name[0] if isinstance(name, tuple) else name) for name in info.get(what) or ())
        if names:
            headless = what == "missing_keys" and all("classif" in name or "head" in name for name in names)
            raise LoadError(
                f"{dossier.checkpoint.path.name}: {len(names)} {what.split('_')[0]} weights: {', '.join(names[:3])}"
                + (": the folder holds a model without its classifier" if headless else ""),
                hint="save the fine-tuned classifier: AutoModelForImageClassification...save_pretrained(F)",
            )


def _input_shape(dossier: Dossier, config: Mapping[str, Any]) -> tuple[int, int, int]:
    stated = dossier.input_shape()
    if stated is not None:
        return stated
    channels = config.get("num_channels", 3)
    preprocessor = _preprocessor(config)
    sizes = (("config.json", config.get("image_size")), ("preprocessor_config.json", preprocessor.get("crop_size")))
    for where, size in (*sizes, ("preprocessor_config.json", preprocessor.get("size"))):
        sides = _sides(size)
        if sides is not None and isinstance(channels, int) and 0 < channels * prod(sides) < 2**28:
            dossier.note(f"input shape: {where}")
            return (channels, *sides)
    dossier.assume(
        "input shape",
        f"{channels}x{_DEFAULT_SIDE}x{_DEFAULT_SIDE}",
        why="neither config.json nor preprocessor_config.json gives a size",
        flag="--input-shape C,H,W",
    )
    return (channels if isinstance(channels, int) else 3, _DEFAULT_SIDE, _DEFAULT_SIDE)


def _sides(size: object) -> tuple[int, int] | None:
    match size:
        case int() if size > 0:
            return (size, size)
        case [int(height), int(width)] | {"height": int(height), "width": int(width)} if min(height, width) > 0:
            return (height, width)
        case {"shortest_edge": int(edge)} if edge > 0:
            return (edge, edge)
    return None


def _normalisation(dossier: Dossier, config: Mapping[str, Any], channels: int) -> Normalisation:
    """Of pixels in [0, 1]; the preprocessor counts from 0 to 255, rescales, then normalises."""
    preprocessor = _preprocessor(config)
    if dossier.options.mean is not None or not preprocessor:
        return dossier.normalisation(channels)
    factor = preprocessor.get("rescale_factor", 1 / 255) if preprocessor.get("do_rescale", True) else 1.0
    normalises = preprocessor.get("do_normalize", True)
    mean = preprocessor.get("image_mean") or [0.0] if normalises else [0.0]
    std = preprocessor.get("image_std") or [1.0] if normalises else [1.0]
    if not _numbers(factor, mean, std, channels):
        raise LoadError(
            f"preprocessor_config.json of {dossier.checkpoint.path.name}: image_mean, image_std and rescale_factor "
            f"must be numbers, 1 or {channels} of them, deviations above 0",
            hint="--mean and --std win over the file",
        )
    dossier.note("normalisation: preprocessor_config.json")
    unit = 255 * float(factor)
    return Normalisation(tuple(float(m) / unit for m in mean), tuple(float(s) / unit for s in std))


def _numbers(factor: object, mean: object, std: object, channels: int) -> bool:
    lists = all(
        isinstance(values, list | tuple)
        and len(values) in {1, channels}
        and all(isinstance(value, int | float) for value in values)
        for values in (mean, std)
    )
    return lists and isinstance(factor, int | float) and factor > 0 and min(std) > 0  # type: ignore[call-overload]


def _preprocessor(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = config.get("preprocessor_config", {})
    return found


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names in order, empty where they are the placeholders LABEL_0, LABEL_1, ..."""
    named = config.get("id2label")
    if not isinstance(named, dict) or not all(str(key).isdecimal() for key in named):
        return ()
    labels = tuple(str(named[key]) for key in sorted(named, key=int))
    return () if labels == tuple(f"LABEL_{index}" for index in range(len(labels))) else labels


def _architecture(config: Mapping[str, Any]) -> str:
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "patch_size", "depths", "hidden_sizes")
    parts = [f"{key.replace('num_', '').replace('_', ' ')} {config[key]}" for key in keys if key in config]
    return ", ".join([str(config.get("model_type", "unknown")), *parts])


def _unusable(dossier: Dossier, why: str) -> LoadError:
    return LoadError(
        f"{dossier.checkpoint.path.name}: transformers cannot build what config.json describes: {why}",
        hint="check it with AutoModelForImageClassification.from_pretrained, or export the model to ONNX",
    )
