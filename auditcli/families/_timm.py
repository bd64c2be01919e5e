"""Classifiers of the timm library, from a folder's configuration and tensors: `TimmRecipe`, `timm_recipe`.

timm builds an architecture of its own by name; nothing is downloaded, and no file that the folder names is opened.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from auditcli.errors import LoadError
from auditcli.families._blueprint import blueprint, complaint, differences, filled
from auditcli.families._declared import model_args, of_timm, outputs

if TYPE_CHECKING:
    from torch import nn

    from auditcli.families._dossier import Dossier

# Options of timm's factory that name files, downloads or other kinds of network; none is needed to rebuild one.
_REFUSED_OPTIONS = re.compile(
    r"pretrained.*|checkpoint_path|cache_dir|features_only|feature_cfg|scriptable|exportable|no_jit|device|dtype"
    r"|.*_(fn|cls|builder)|pruned|cfg|model_cfg|kwargs_filter"
)
_OF_PRETRAINED = ("num_classes", "input_size", "fixed_input_size")
"""Keys of the pretrained configuration that change what is built."""
_LARGEST = 65_536


class Unavailable(LoadError):  # noqa: N818 - what timm is
    """timm is not installed, or does not import."""


@dataclass(frozen=True, slots=True)
class TimmRecipe:
    """How timm builds the classifier of one folder."""

    dossier: Dossier
    name: str
    version: str
    make: Callable[[], nn.Module]

    def blueprint(self) -> nn.Module:
        """The network on the `meta` device, without weights.

        Raises:
            LoadError: it cannot be built, or its weights are not exactly those of the folder.
        """
        with self._built():
            net = blueprint(self.make, self.dossier.tensors)
        for what, names in differences(net, self.dossier.tensors).items():
            if names:
                raise LoadError(
                    f"{self.dossier.checkpoint.name}: {len(names)} {what} weights of timm's {self.name}: "
                    f"{', '.join(name[:80] for name in names[:3])}",
                    hint="save the model again with timm.models.save_for_hf, or export it to ONNX",
                )
        return net

    def load(self) -> nn.Module:
        """The network with every weight from the folder, which it shares; `blueprint` was called before.

        Raises:
            LoadError: it cannot be built.
        """
        with self._built():
            return filled(self.make, self.dossier.tensors)

    @contextmanager
    def _built(self) -> Iterator[None]:
        try:
            with _muted():
                yield
        except Exception as error:  # Options of strangers make timm raise anything.
            raise LoadError(
                f"{self.dossier.checkpoint.name}: timm {self.version} cannot build {self.name}: {complaint(error)}",
                hint="check it with timm.create_model, or export the model to ONNX",
            ) from error


def timm_recipe(dossier: Dossier) -> TimmRecipe:
    """How to build the classifier that `config.json` describes.

    Raises:
        LoadError: timm cannot be imported, does not know the architecture, or an option is refused.
    """
    config = dossier.checkpoint.description
    timm = _imported(dossier)
    name = config["architecture"].partition(".")[0]
    if not timm.is_model(name):
        raise LoadError(
            f"{dossier.checkpoint.name}: timm {timm.__version__} knows no architecture {name[:60]!r}",
            hint="install the timm it was made with, or export the model to ONNX",
        )
    options = _options(dossier, config)
    entry = timm.model_entrypoint(name)
    return TimmRecipe(dossier, name, timm.__version__, lambda: _made(entry, config, options))


def _made(entry: Callable[..., nn.Module], config: Mapping[str, Any], options: Mapping[str, Any]) -> nn.Module:
    stated = of_timm(config)
    pretrained = {key: stated[key] for key in _OF_PRETRAINED if stated.get(key) is not None}
    count = outputs(config)
    options = options if count is None else {"num_classes": count, **options}
    net = entry(pretrained=False, pretrained_cfg=pretrained, **options)
    wanted, made = config.get("global_pool"), _pooling(net)
    # Old folders state the pooling beside the architecture alone.
    if isinstance(wanted, str) and made and wanted != made and "global_pool" not in options:
        return entry(pretrained=False, pretrained_cfg=pretrained, global_pool=wanted, **options)
    return net


def _pooling(net: nn.Module) -> str:
    """What timm calls the network's pooling, empty where it has no word for it."""
    for holder in (net, getattr(net, "head", None)):
        pooling = getattr(holder, "global_pool", None)
        named = pooling if isinstance(pooling, str) else getattr(pooling, "pool_type", "")
        if named:
            return str(named)
    return ""


def _options(dossier: Dossier, config: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the architecture, once they are plain values of a plausible size."""
    options = {key: value for key, value in model_args(config).items() if value is not None}
    for key, value in options.items():
        if _REFUSED_OPTIONS.fullmatch(key) or not _is_plain(value):
            raise LoadError(
                f"{dossier.checkpoint.name}: the option {key[:60]!r} in model_args of config.json is refused",
                hint="save the model without it, or export it to ONNX",
            )
        layers = value if isinstance(value, list) else [value]
        if re.search("depth|layers|blocks", key) and sum(map(_whole, layers)) > len(dossier.tensors):
            raise LoadError(
                f"{dossier.checkpoint.name}: {key[:60]} is {str(value)[:40]}, but there are only "
                f"{len(dossier.tensors)} tensors",
                hint="save the model again with timm.models.save_for_hf",
            )
    return options


def _is_plain(value: object) -> bool:
    """Numbers, words and lists of them: no names of files, and no sizes that take memory before they are checked."""
    if isinstance(value, list):
        return len(value) <= 64 and all(map(_is_plain, value))
    if isinstance(value, str):
        return re.fullmatch(r"\w{0,40}", value) is not None
    return isinstance(value, bool | float) or (isinstance(value, int) and abs(value) <= _LARGEST)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _imported(dossier: Dossier) -> Any:
    try:
        with _muted():
            import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise _broken(error) from error
        raise Unavailable(
            f"{dossier.checkpoint.name} is a folder of the timm library, which is not installed",
            hint="pip install 'privaudit[timm]'",
        ) from error
    except Exception as error:  # A torchvision of another torch raises RuntimeError, a missing one ImportError.
        raise _broken(error) from error
    return timm


def _broken(error: Exception) -> Unavailable:
    return Unavailable(
        f"timm is installed and cannot be imported: {complaint(error)}",
        hint=f"install the torchvision that fits torch {torch.__version__}: pip install 'privaudit[timm]'",
    )


@contextmanager
def _muted() -> Iterator[None]:
    """Without warnings and without timm's log, which is as it was afterwards."""
    log = logging.getLogger("timm")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
