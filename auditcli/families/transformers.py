"""Hugging Face folders of the transformers library: `config.json` says what they are, transformers builds them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from auditcli.families._huggingface import huggingface_module, huggingface_profile
from auditcli.families._template import Built, Rank, Template
from auditcli.types import Family, Format, Profile

if TYPE_CHECKING:
    from auditcli.families._dossier import Dossier

_FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        **dict.fromkeys(
            ("vit", "deit", "beit", "data2vec-vision", "swin", "swinv2", "dinov2", "dinov2_with_registers", "ijepa"),
            Family.VIT,
        ),
        **dict.fromkeys(
            ("resnet", "convnext", "convnextv2", "mobilenet_v1", "mobilenet_v2", "efficientnet", "regnet", "bit"),
            Family.CNN,
        ),
        **dict.fromkeys(("focalnet", "van", "poolformer", "hgnet_v2"), Family.CNN),
        **dict.fromkeys(("cvt", "levit", "mobilevit", "mobilevitv2"), Family.HYBRID),
    }
)


def _recognise(dossier: Dossier) -> Profile:
    kind = str(dossier.checkpoint.description.get("model_type"))
    return huggingface_profile(dossier, _FAMILIES.get(kind, Family.UNKNOWN))


def _build(dossier: Dossier, _: Profile) -> Built:
    return Built(huggingface_module(dossier))


TRANSFORMERS = Template("transformers", Rank.DECLARED, frozenset({Format.HUGGINGFACE}), _recognise, _build)
