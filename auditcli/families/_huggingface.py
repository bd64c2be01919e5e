"""Classifiers of the transformers library, from a folder's configuration and tensors: `Recipe`, `recipe`.

transformers is the only code that runs: no lookup on the network, no code of the folder, no initial weights.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from auditcli.errors import LoadError
from auditcli.families._blueprint import blueprint, complaint
from auditcli.families._processor import flips

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier

# Keys that ask for code, kernels to download, other number types or other places; nothing of that is wanted.
_IGNORED_KEYS = re.compile(
    r"auto_map|custom_pipelines|(torch_)?dtype|quantization_config|_name_or_path|_commit_hash|use_kernels"
    r"|_?(attn|experts)_implementation(_internal)?|preprocessor_(config|file)"
)
_DEPTH_KEYS = ("num_hidden_layers", "depths", "num_layers", "depth")
_CLASSIFIER = re.compile(r"\w+ForImageClassification\w*")
_TO_ONNX = "export the model to ONNX: torch.onnx.export(model.eval(), (images,), F)"


class Logits(nn.Module):
    """A transformers classifier that returns its logits alone."""

    def __init__(self, model: nn.Module, *, flipped: bool) -> None:
        super().__init__()
        self.model = model
        self.flipped = flipped

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, outputs) of normalised images (n, c, h, w) in RGB; `flipped` models read BGR."""
        outputs = self.model(pixel_values=x.flip(1) if self.flipped else x)
        logits: Tensor = outputs.logits if "logits" in outputs else outputs.last_hidden_state
        return logits


@dataclass(frozen=True, slots=True)
class Recipe:
    """How transformers builds the classifier of one folder."""

    dossier: Dossier
    library: Any
    kind: Any
    """The class of the classifier."""
    configure: Callable[[], Any]
    """A new configuration each time: transformers writes into it."""

    def blueprint(self) -> Logits:
        """The classifier on the `meta` device, without weights.

        Raises:
            LoadError: the configuration describes nothing that can be built, or something far larger than the weights.
        """
        with self._built():
            return self._wrapped(blueprint(lambda: self.kind(self.configure()), self.dossier.tensors))

    def load(self) -> Logits:
        """The classifier with every weight from the folder, which it shares, and none made up.

        Raises:
            LoadError: the weights are not exactly those of the configuration; a folder without its head is refused.
        """
        with self._built():
            model, info = self.kind.from_pretrained(
                None,
                config=self.configure(),
                state_dict=dict(self.dossier.tensors),
                attn_implementation="eager",
                local_files_only=True,
                ignore_mismatched_sizes=True,  # So that they are named; they are refused below.
                output_loading_info=True,
            )
        _require_complete(self.dossier, {what.removesuffix("_keys"): names for what, names in info.items()})
        return self._wrapped(model.float().eval())

    def _wrapped(self, model: nn.Module) -> Logits:
        return Logits(model, flipped=flips(self.dossier.checkpoint.description.get("preprocessor_config", {})))

    @contextmanager
    def _built(self) -> Iterator[None]:
        with _muted(self.library):
            try:
                yield
            except LoadError:
                raise
            except Exception as error:  # A configuration of strangers makes transformers raise anything.
                raise _unusable(self.dossier, complaint(error)) from error


def recipe(dossier: Dossier) -> Recipe:
    """How to build the classifier that `config.json` describes.

    Raises:
        LoadError: it describes something else, or transformers is not installed or does not know it.
    """
    config = dossier.checkpoint.description
    stated = _refuse_other_tasks(dossier, config)
    transformers = _imported(dossier)
    kind, custom = config.get("model_type"), "auto_map" in config
    if not isinstance(kind, str) or kind not in transformers.CONFIG_MAPPING:
        never = " (code in the folder is never run)" if custom else ""
        known = f"transformers {transformers.__version__} knows no model type {str(kind)[:60]!r}{never}"
        raise LoadError(f"{dossier.checkpoint.name}: {known}", hint=_TO_ONNX)
    configuration = transformers.CONFIG_MAPPING[kind]
    try:
        classes = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[configuration]
    except KeyError as error:
        raise _no_classifier(dossier, f"{kind} is a model type without image classifiers") from error
    named = {one.__name__: one for one in (classes if isinstance(classes, tuple) else (classes,))}
    if stated and stated not in named:
        raise _no_classifier(dossier, f"{stated[:60]} is none of the image classifiers of {kind}: {', '.join(named)}")
    _refuse_depth(dossier, config)
    raw = _without_ignored(config)
    return Recipe(
        dossier, transformers, named.get(stated, next(iter(named.values()))), lambda: _configured(configuration, raw)
    )


def _refuse_other_tasks(dossier: Dossier, config: Mapping[str, Any]) -> str:
    """The class that the configuration names, empty where it names none, once it can be an image classifier."""
    problem = config.get("problem_type")
    if problem not in (None, "single_label_classification"):
        raise _no_classifier(dossier, f"its problem_type is {str(problem)[:60]!r}, and one class an image was expected")
    named = config.get("architectures")
    first = str(named[0]) if isinstance(named, list) and named else ""
    if first and not _CLASSIFIER.fullmatch(first):
        headless = ": the folder holds a model without its classifier" if "For" not in first else ""
        raise _no_classifier(dossier, f"config.json names {first[:60]!r}{headless}")
    return first


def _imported(dossier: Dossier) -> Any:
    try:
        import transformers
        from transformers import AutoModelForImageClassification  # noqa: F401 - torch is there and fits
    except ImportError as error:
        raise LoadError(
            f"{dossier.checkpoint.name} is a folder of the transformers library, which is not installed",
            hint="pip install 'privaudit[hf]'",
        ) from error
    return transformers


def _configured(configuration: Any, raw: Mapping[str, Any]) -> Any:
    config = configuration.from_dict(dict(raw))
    # transformers looks into `architectures` and fails on a folder that does not name any.
    config.architectures = config.architectures or []
    return config


def _without_ignored(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_ignored(one) for key, one in value.items() if not _IGNORED_KEYS.fullmatch(key)}
    return value


def _refuse_depth(dossier: Dossier, config: Mapping[str, Any]) -> None:
    """A depth beyond the number of tensors makes lists before it makes layers."""
    nested = config.get("vision_config")
    for part in (config, nested if isinstance(nested, dict) else {}):
        for key in _DEPTH_KEYS:
            depth = part.get(key)
            layers = depth if isinstance(depth, list) else [depth]
            if sum(one for one in layers if isinstance(one, int)) > len(dossier.tensors):
                raise _unusable(dossier, f"{key} is {str(depth)[:40]}, and there are {len(dossier.tensors)} tensors")


def _require_complete(dossier: Dossier, differences: Mapping[str, Any]) -> None:
    for what in ("missing", "unexpected", "mismatched"):
        names = sorted(str(name[0] if isinstance(name, tuple) else name) for name in differences.get(what) or ())
        if names:
            headless = what == "missing" and all("classif" in name or "head" in name for name in names)
            raise LoadError(
                f"{dossier.checkpoint.name}: {len(names)} {what} weights: {', '.join(name[:80] for name in names[:3])}"
                + (": the folder holds a model without its classifier" if headless else ""),
                hint="save the fine-tuned classifier: AutoModelForImageClassification...save_pretrained(F)",
            )


@contextmanager
def _muted(transformers: Any) -> Iterator[None]:
    """Without the library's log and progress bars, which are as they were afterwards."""
    verbosity = transformers.logging.get_verbosity()
    bar = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bar:
            transformers.logging.enable_progress_bar()


def _no_classifier(dossier: Dossier, why: str) -> LoadError:
    return LoadError(
        f"{dossier.checkpoint.name}: {why}; an image classifier was expected",
        hint="save the fine-tuned classifier: AutoModelForImageClassification...save_pretrained(F)",
    )


def _unusable(dossier: Dossier, why: str) -> LoadError:
    return LoadError(
        f"{dossier.checkpoint.name}: transformers cannot build what config.json describes: {why}",
        hint="check it with AutoModelForImageClassification.from_pretrained, or export the model to ONNX",
    )
