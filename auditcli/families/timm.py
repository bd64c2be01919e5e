"""Hugging Face folders of the timm library: `config.json` names an architecture, timm builds it.

Where timm cannot be used, templates that go by the weights may build those architectures that have no option which
weights do not show; what the configuration says about pixels and labels reaches them all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditcli.errors import LoadError
from auditcli.families._blueprint import runs_on
from auditcli.families._declared import library, stand_ins
from auditcli.families._library import library_profile
from auditcli.families._smooth import TwiceDifferentiable
from auditcli.families._template import Built, Mismatch, Rank, Template
from auditcli.families._timm import Unavailable, timm_recipe
from auditcli.types import Format, Profile

if TYPE_CHECKING:
    from auditcli.families._dossier import Dossier


def _recognise(dossier: Dossier) -> Profile | Mismatch:
    config = dossier.checkpoint.description
    if library(config) != "timm":
        return Mismatch("config.json names no architecture of timm", 0.0)
    try:
        made = timm_recipe(dossier)
    except Unavailable as error:
        if stand_ins(config):
            return Mismatch(error.message, 1.0, error.hint)
        raise
    shape = _input_shape(dossier)
    outputs = runs_on(made.blueprint(), shape)
    if isinstance(outputs, str):
        raise LoadError(
            f"{dossier.checkpoint.name} does not run on images of {'x'.join(map(str, shape))}: {outputs}",
            hint="--input-shape C,H,W gives the size it was trained for",
        )
    return library_profile(
        dossier,
        architecture=f"{made.name} of timm",
        built_by=f"{made.name} in timm {made.version}",
        input_shape=shape,
        outputs=outputs,
    )


def _input_shape(dossier: Dossier) -> tuple[int, int, int]:
    shape = dossier.input_shape()
    if shape is None:
        shape = (3, 224, 224)
        why = "config.json gives no input_size"
        dossier.assume("input shape", "3x224x224", why=why, flag="--input-shape C,H,W")
    return shape


def _build(dossier: Dossier, _: Profile) -> Built:
    return Built(TwiceDifferentiable(timm_recipe(dossier).load()))


TIMM = Template("timm", Rank.DECLARED, frozenset({Format.HUGGINGFACE}), _recognise, _build)
