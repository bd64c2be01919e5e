"""Pictures of CLIP image embeddings by an UnCLIP decoder on the user's disk: `decoder`, `Decoder`."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from auditcli.errors import AttackError

if TYPE_CHECKING:
    from torch import Tensor

_LIBRARIES = frozenset({"diffusers", "transformers", "unclip", "deprecated.unclip"})
"""Where the classes come from that a folder of diffusers may name; `unclip` are those of its UnCLIP pipelines."""
_MODEL = "model_index.json"


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
        with torch.no_grad():
            drawn = self.pipeline(image_embeddings=embeddings, generator=rng, output_type="np").images
        pictures = torch.from_numpy(drawn).permute(0, 3, 1, 2).to(embeddings.device)
        channels, *size = shape
        if channels == 1:
            pictures = pictures.mean(dim=1, keepdim=True)
        return functional.interpolate(pictures, size=size, mode="bilinear", antialias=True).clamp(0, 1)


def decoder(folder: str, features: int, device: torch.device) -> Decoder:
    """The decoder in a folder of diffusers; nothing is downloaded, and nothing is unpickled.

    Args:
        folder: What `UnCLIPImageVariationPipeline.save_pretrained` wrote, with safetensors.
        features: Length of the embeddings that it shall draw.
        device: Where it shall run.

    Raises:
        AttackError: diffusers is not installed, the folder holds something else or only pickles, or its embeddings
            have another length.
    """
    path = Path(folder)
    _require_known_classes(path)
    try:
        from diffusers import UnCLIPImageVariationPipeline
        from diffusers.utils import logging
    except ImportError as error:
        raise AttackError(
            "transfer: the setting unclip needs diffusers, which is not installed",
            hint="pip install 'privaudit[unclip]'",
        ) from error
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipeline = UnCLIPImageVariationPipeline.from_pretrained(path, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise AttackError(
            f"transfer: {path.name} holds no UnCLIP decoder that diffusers can load: {first}", hint=_HINT
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    pipeline.set_progress_bar_config(disable=True)
    found = Decoder(pipeline.to(device))
    if found.features != features:
        raise AttackError(
            f"transfer: the decoder in {path.name} draws embeddings of {found.features} numbers; the head reads {features}",
            hint="it must be the decoder of the backbone's own embeddings; leave unclip out for the deep image prior",
        )
    return found


_HINT = "UnCLIPImageVariationPipeline.from_pretrained(...).save_pretrained(F, safe_serialization=True)"


def _require_known_classes(path: Path) -> None:
    """A folder may name classes of any library, which diffusers would import."""
    try:
        parts = json.loads((path / _MODEL).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AttackError(
            f"transfer: {path.name} has no {_MODEL}; a folder of diffusers was expected", hint=_HINT
        ) from error
    named = parts.get("_class_name") if isinstance(parts, dict) else None
    if named != "UnCLIPImageVariationPipeline":
        raise AttackError(
            f"transfer: {path.name} holds {str(named)[:60]}; UnCLIPImageVariationPipeline was expected", hint=_HINT
        )
    for name, part in parts.items():
        if not name.startswith("_") and not (isinstance(part, list) and part and part[0] in _LIBRARIES):
            raise AttackError(
                f"transfer: {path.name} names {str(part)[:60]} as its {name[:40]}, which is not loaded", hint=_HINT
            )
