"""What a `config.json` says about its classifier, in the keys of a description: `declared`, `stand_ins`.

Three kinds of configuration are known: those of transformers (`model_type`), of timm (`architecture`), and those that
name no architecture, as `PyTorchModelHubMixin` writes them. Values are a stranger's, and are checked here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from auditcli.errors import LoadError
from auditcli.families._blueprint import fit_to_print
from auditcli.families._processor import MAX_SIDE, square_or_sides, statistics

_PLACEHOLDER = re.compile(r"LABEL_\d+")
# Names of timm whose graph a template of this package builds, as far as only sizes differ.
_PLAIN: Mapping[str, str] = MappingProxyType(
    {
        r"resnet\d+": "resnet",
        r"resnext\d+_\d+x\d+d": "resnet",
        r"wide_resnet\d+_2": "resnet",
        r"vgg\d+(_bn)?": "vgg",
        r"densenet\d+": "densenet",
        r"mixer_\w\d+_\d+": "mixer",
        r"(vit|deit)_(tiny|small|base|large|huge)_patch\d+_\d+": "vit",
    }
)
_SIZES = frozenset(
    {"img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "num_heads", "global_pool"}
)
_POOLING = {"vit": "token"}


def library(config: Mapping[str, Any]) -> str:
    """`transformers`, `timm`, or empty where the configuration names no architecture of either."""
    if config.get("model_type") not in (None, "timm_wrapper"):
        return "transformers"
    return "timm" if isinstance(config.get("architecture"), str) else ""


def declared(config: Mapping[str, Any], key: str) -> tuple[Any, str] | None:
    """What the configuration says under a key of a description, and the file that says it.

    Args:
        config: `config.json`, with the JSON of the image processor beside it (`auditcli.loading.huggingface`).
        key: `input_shape`, `mean`, `std`, `classes`, `labels` or `heads`; others are never declared.

    Raises:
        LoadError: a value of the wrong kind.
    """
    read = _KEYS.get(key)
    return None if read is None else read(config)


def stand_ins(config: Mapping[str, Any]) -> frozenset[str] | None:
    """Templates that may build a network by its weights alone, or None for any.

    Weights do not show everything: those of timm's `resnetblur18` are those of a `resnet18`. So where the configuration
    names an architecture, only the template of that architecture is asked, and only where no option changes the graph.
    """
    if library(config) == "transformers":
        return frozenset()
    if library(config) == "":
        return None
    name, options = config["architecture"].partition(".")[0], model_args(config)
    for pattern, template in _PLAIN.items():
        pooling = {str(one.get("global_pool") or "") for one in (config, options)} - {"", _POOLING.get(template, "avg")}
        if re.fullmatch(pattern, name) and not pooling and _SIZES.issuperset(options):
            return frozenset({template, "named"})
    return frozenset()


def outputs(config: Mapping[str, Any]) -> int | None:
    """Logits of the classifier, where the configuration says it."""
    named = config.get("id2label")
    count = len(named) if isinstance(named, dict) and named else config.get("num_labels", config.get("num_classes"))
    if count is None:
        count = of_timm(config).get("num_classes")
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else None


def _labels(config: Mapping[str, Any]) -> tuple[tuple[str, ...], str] | None:
    """Class names in order of their index; placeholders are none."""
    named = config.get("id2label") or config.get("label_names") or config.get("labels")
    named = named or of_timm(config).get("label_names")
    if isinstance(named, list):
        named = dict(enumerate(named))
    if not isinstance(named, dict) or not named:
        return None
    by_index = {int(key): str(name) for key, name in named.items() if str(key).isdecimal() and len(str(key)) < 9}
    if sorted(by_index) != list(range(len(named))):
        return None
    labels = tuple(fit_to_print(by_index[index], 200) for index in range(len(named)))
    return None if all(map(_PLACEHOLDER.fullmatch, labels)) else (labels, "config.json")


def _classes(config: Mapping[str, Any]) -> tuple[int, str] | None:
    count = outputs(config)
    return None if count is None else (2 if count == 1 else count, "config.json")


def _mean(config: Mapping[str, Any]) -> tuple[tuple[float, ...], str] | None:
    found, where = _statistics(config)
    return None if found is None else (found[0], where)


def _std(config: Mapping[str, Any]) -> tuple[tuple[float, ...], str] | None:
    found, where = _statistics(config)
    return None if found is None else (found[1], where)


def _statistics(config: Mapping[str, Any]) -> tuple[tuple[tuple[float, ...], tuple[float, ...]] | None, str]:
    if library(config) == "timm":
        stated = of_timm(config)
        values = {"image_mean": stated.get("mean"), "image_std": stated.get("std"), "do_normalize": True}
        return statistics(values | {"rescale_factor": 1 / 255}, "config.json"), "config.json"
    processor, where = config.get("preprocessor_config"), str(config.get("preprocessor_file"))
    return (statistics(processor, where), where) if processor else (None, where)


def _input_shape(config: Mapping[str, Any]) -> tuple[tuple[int, int, int], str] | None:
    """Of timm, which writes it into `pretrained_cfg`, and into `model_args` where it was changed."""
    if library(config) != "timm":
        return None
    size, options = of_timm(config).get("input_size"), model_args(config)
    if size is None:
        return None
    if not (
        isinstance(size, list) and len(size) == 3 and all(type(one) is int and 0 < one <= MAX_SIDE for one in size)
    ):
        raise LoadError(
            "config.json: pretrained_cfg.input_size must be channels, height and width",
            hint="--input-shape C,H,W wins over the file",
        )
    channels, height, width = size
    if type(options.get("in_chans")) is int and 0 < options["in_chans"] <= MAX_SIDE:
        channels = options["in_chans"]
    height, width = square_or_sides(options.get("img_size")) or (height, width)
    return (channels, height, width), "config.json"


def _heads(config: Mapping[str, Any]) -> tuple[int, str] | None:
    heads = model_args(config).get("num_heads")
    return (heads, "config.json") if type(heads) is int and heads > 0 else None


def model_args(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options that timm's network was made with."""
    stated = config.get("model_args")
    return stated if isinstance(stated, dict) else {}


def of_timm(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What timm calls the pretrained configuration; old folders write it into the file itself."""
    if library(config) != "timm":
        return {}
    nested = config.get("pretrained_cfg")
    return nested if isinstance(nested, dict) else config


_KEYS: Mapping[str, Callable[[Mapping[str, Any]], tuple[Any, str] | None]] = MappingProxyType(
    {"input_shape": _input_shape, "mean": _mean, "std": _std, "classes": _classes, "labels": _labels, "heads": _heads}
)
