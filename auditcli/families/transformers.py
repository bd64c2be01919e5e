"""Hugging Face folders of the transformers library: `config.json` says what they are, transformers builds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from auditcli.errors import LoadError
from auditcli.families._blueprint import runs_on
from auditcli.families._declared import library
from auditcli.families._huggingface import recipe
from auditcli.families._library import library_profile
from auditcli.families._processor import sides, square_or_sides
from auditcli.families._smooth import TwiceDifferentiable
from auditcli.families._template import Built, Mismatch, Rank, Template
from auditcli.types import Format, Profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditcli.families._dossier import Dossier

_DEFAULT_SIDE = 224
_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "patch_size", "depths", "hidden_sizes")


def _recognise(dossier: Dossier) -> Profile | Mismatch:
    config = dossier.checkpoint.description
    if library(config) != "transformers":
        return Mismatch("config.json names no model_type of transformers", 0.0)
    made = recipe(dossier)
    shape, outputs = _input_shape(dossier, made.blueprint())
    made.load()
    _assume_classes(dossier, outputs)
    return library_profile(
        dossier,
        architecture=_architecture(config),
        built_by=f"{made.kind.__name__} in transformers {made.library.__version__}",
        input_shape=shape,
        outputs=outputs,
    )


def _input_shape(dossier: Dossier, net: nn.Module) -> tuple[tuple[int, int, int], int]:
    """The shape the network takes, and its outputs: as stated, else as the processor, else as the network was made."""
    config = dossier.checkpoint.description
    channels = next((one.in_channels for one in net.modules() if isinstance(one, nn.Conv2d)), 3)
    given: dict[str, tuple[int, int] | None] = {
        str(config.get("preprocessor_file")): sides(config.get("preprocessor_config", {})),
        "config.json": square_or_sides(_vision(config).get("image_size")),
    }
    shapes = {where: (channels, *size) for where, size in given.items() if size is not None}
    if (stated := dossier.input_shape()) is not None:
        shapes = {"--input-shape": stated}
    if not shapes:
        shapes = {"": (channels, _DEFAULT_SIDE, _DEFAULT_SIDE)}
    refused: dict[str, str] = {}
    for where, shape in shapes.items():
        outputs = runs_on(net, shape)
        if isinstance(outputs, int):
            _say_where(dossier, where, shape, {place: shapes[place] for place in refused})
            return shape, outputs
        refused[where] = outputs
    where, why = next(iter(refused.items()))
    raise LoadError(
        f"{dossier.checkpoint.name} does not run on images of {_written(shapes[where])}: {why}",
        hint="--input-shape C,H,W gives the size it was trained for",
    )


def _say_where(
    dossier: Dossier, where: str, shape: tuple[int, int, int], refused: Mapping[str, tuple[int, int, int]]
) -> None:
    if where and not refused:
        dossier.state("input shape", _written(shape), f"stated by {where}")
        return
    why = "neither config.json nor an image processor gives a size"
    if refused:
        place, other = next(iter(refused.items()))
        why = f"{place} makes images of {_written(other)}, which the network does not take"
    dossier.assume("input shape", _written(shape), why=why, flag="--input-shape C,H,W")


def _assume_classes(dossier: Dossier, outputs: int) -> None:
    """One output is what transformers takes for a regression unless told otherwise."""
    if outputs == 1 and dossier.options.assumed("classes") is None:
        why = "the model has one output, and a regression has as many"
        dossier.assume("classes", "2", why=why, flag="--assume classes=2")


def _vision(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a configuration that describes the image encoder."""
    nested = config.get("vision_config")
    return nested if isinstance(nested, dict) else config


def _architecture(config: Mapping[str, Any]) -> str:
    stated = _vision(config)
    parts = [f"{key.replace('num_', '').replace('_', ' ')} {str(stated[key])[:40]}" for key in _SIZES if key in stated]
    return ", ".join([str(config["model_type"])[:40], *parts])


def _written(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


def _build(dossier: Dossier, _: Profile) -> Built:
    return Built(TwiceDifferentiable(recipe(dossier).load()))


TRANSFORMERS = Template("transformers", Rank.DECLARED, frozenset({Format.HUGGINGFACE}), _recognise, _build)
