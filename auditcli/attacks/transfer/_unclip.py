"""Pictures of CLIP image embeddings by an UnCLIP decoder on the user's disk: `decoder`, `Decoder`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from logging import CRITICAL
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from auditcli.errors import AttackError

if TYPE_CHECKING:
    from torch import Tensor

_UNUSED = frozenset({"image_encoder", "feature_extractor"})
"""They turn images into the embeddings, which are there already."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """A pipeline that draws pictures of embeddings."""

    pipeline: Any
    """`diffusers.UnCLIPImageVariationPipeline`."""

    @property
    def features(self) -> int:
        """Length of the embeddings it was trained on."""
        return int(self.pipeline.text_proj.config.clip_embeddings_dim)

    def __call__(self, embeddings: Tensor, shape: tuple[int, int, int], rng: torch.Generator) -> Tensor:
        """Pictures of embeddings, one each.

        Args:
            embeddings: (n, f), of the length and scale that CLIP's have.
            shape: (c, h, w) of the pictures; what the decoder draws is scaled to it, and grey where c is 1.
            rng: Of the diffusion's noise.

        Returns:
            (n, c, h, w) in [0, 1].
        """
        drawn = self.pipeline(image_embeddings=embeddings, generator=rng, output_type="np").images
        pictures = torch.from_numpy(drawn).permute(0, 3, 1, 2).to(embeddings.device)
        channels, *size = shape
        if channels == 1:
            pictures = pictures.mean(dim=1, keepdim=True)
        return functional.interpolate(pictures, size=size, mode="bilinear", antialias=True).clamp(0, 1)


def decoder(folder: str, features: int, device: torch.device) -> Decoder:
    """The decoder in a folder of diffusers; nothing is downloaded, and nothing is unpickled.

    Every part is loaded by the class that the pipeline itself asks for, whatever the folder says: a folder may name
    classes of any library, which diffusers would import.

    Args:
        folder: What `UnCLIPImageVariationPipeline.save_pretrained` wrote, with safetensors.
        features: Length of the embeddings that it shall draw.
        device: Where it shall run.

    Raises:
        AttackError: diffusers is not installed, the folder holds something else or only pickles, or its embeddings
            have another length.
    """
    path = Path(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from diffusers import UnCLIPImageVariationPipeline
            from diffusers.utils import logging as theirs
            from transformers.utils import logging as underneath
    except ImportError as error:
        raise AttackError(
            "transfer: the setting unclip needs diffusers, which is not installed",
            hint="pip install 'privaudit[unclip]'",
        ) from error
    if not path.is_dir():
        raise AttackError(f"transfer: there is no folder {path.name} with an UnCLIP decoder", hint=_HINT)
    with _muted(theirs, underneath):
        found = Decoder(_assembled(UnCLIPImageVariationPipeline, path).to(device))
    if found.features != features:
        raise AttackError(
            f"transfer: the decoder in {path.name} draws {found.features} features; the head reads {features}",
            hint="it must be the decoder of the backbone's own embeddings; leave unclip out for the deep image prior",
        )
    return found


_HINT = "UnCLIPImageVariationPipeline.from_pretrained(...).save_pretrained(F, safe_serialization=True)"


def _assembled(kind: Any, path: Path) -> Any:
    parts: dict[str, Any] = {}
    for name, parameter in signature(kind).parameters.items():
        if name in _UNUSED:
            continue
        models = {"use_safetensors": True} if issubclass(parameter.annotation, torch.nn.Module) else {}
        try:
            parts[name] = parameter.annotation.from_pretrained(path / name, local_files_only=True, **models)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, ImportError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise AttackError(
                f"transfer: {path.name} holds no {name} of an UnCLIP decoder that can be loaded: {first}", hint=_HINT
            ) from error
    # Where embeddings are given, the encoder is asked for the type of its numbers and for nothing else.
    pipeline = kind(**parts, image_encoder=parts["text_proj"], feature_extractor=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextmanager
def _muted(*logs: Any) -> Iterator[None]:
    """Without the logs, warnings and bars of libraries; diffusers keeps this pipeline, but no longer works on it."""
    before = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    for log in logs:
        log.set_verbosity(CRITICAL)
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, verbosity, bar in before:
            log.set_verbosity(verbosity)
            if bar:
                log.enable_progress_bar()
