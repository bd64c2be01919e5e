"""Published models known by the names and shapes of their weights, which the template of no architecture here builds.

The shipped index (`auditcli.families._publication`) says whose they are. timm or torchvision builds them, where it is
installed; vision transformers are built here, with what the name says about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from auditcli.families._blueprint import runs_on
from auditcli.families._library import library_profile
from auditcli.families._publication import Publication, as_published, publications
from auditcli.families._smooth import TwiceDifferentiable
from auditcli.families._template import Built, Mismatch, Rank, Template, discover
from auditcli.families._zoo import Exhibit, exhibit
from auditcli.types import Format, Profile

if TYPE_CHECKING:
    from auditcli.families._dossier import Dossier

_NEVER_NEAREST = -1.0
"""Of what no look-up explains: the index is no kind of network, and others say more about what differs."""


def _recognise(dossier: Dossier) -> Profile | Mismatch:
    found = publications(dossier)
    if not found:
        return Mismatch("names and shapes of its weights are those of no published model", _NEVER_NEAREST)
    builder = _builder(found[0])
    if builder is None:
        return _from_library(dossier, found)
    if builder.rank == Rank.NAMED:
        return Mismatch(f"{builder.name} builds {found[0].name}", _NEVER_NEAREST)
    profile = builder.recognise(dossier)
    if isinstance(profile, Mismatch):
        return replace(profile, why=f"{found[0].title} differs: {profile.why}")
    return as_published(dossier, profile, found[0])


def _builder(found: Publication) -> Template | None:
    """The template of this package that computes what the publication does."""
    return next((template for template in discover() if template.name == found.template), None)


def _from_library(dossier: Dossier, candidates: Sequence[Publication]) -> Profile | Mismatch:
    made, found = _exhibited(dossier, candidates)
    if isinstance(made, str):
        return Mismatch(f"{found.title} differs: {made}", 1.0)
    shape = dossier.input_shape()
    if shape is None:
        shape = (made.channels, made.side, made.side)
        why = f"that of {found.name}"
        dossier.assume("input shape", "x".join(map(str, shape)), why=why, flag="--input-shape C,H,W")
    outputs = runs_on(made.blueprint, shape)
    if isinstance(outputs, str):
        return Mismatch(f"{found.title} does not run on images of {'x'.join(map(str, shape))}: {outputs}", 1.0)
    profile = library_profile(
        dossier,
        architecture=f"built by {made.built_by}",
        built_by=f"{made.built_by} {found.name}",
        input_shape=shape,
        outputs=outputs,
    )
    return as_published(dossier, replace(profile, identified_by=dossier.identified_by), found)


def _exhibited(dossier: Dossier, candidates: Sequence[Publication]) -> tuple[Exhibit | str, Publication]:
    """The first that fits the weights also in shapes that the index leaves out; else what the first differs in."""
    made = [(exhibit(dossier, found), found) for found in candidates]
    fitting = [(one, found) for one, found in made if isinstance(one, Exhibit)]
    if not fitting:
        return made[0]
    names = {found.name for _, found in fitting}
    one, found = fitting[0]
    return one, replace(found, twins=tuple(name for name in found.twins if name in names))


def _build(dossier: Dossier, profile: Profile) -> Built:
    found = publications(dossier)
    builder = _builder(found[0])
    if builder is not None:
        return builder.build(dossier, profile)
    made, _ = _exhibited(dossier, found)
    if isinstance(made, str):
        raise TypeError("build was called with a profile that is not of this checkpoint")
    return Built(TwiceDifferentiable(made.load()))


NAMED = Template("named", Rank.NAMED, frozenset({Format.SAFETENSORS, Format.HUGGINGFACE}), _recognise, _build)
