"""ONNX graphs: run as they were converted, or rebuilt from their weights where they are a chain of linear layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from auditcli.families._dense import head
from auditcli.families._onnx import build_graph, dense_graph, dense_profile, graph_profile
from auditcli.families._operators import family_of
from auditcli.families._template import Built, Rank, Template
from auditcli.types import Format, Profile, Trait

if TYPE_CHECKING:
    from auditcli.families._dossier import Dossier


def _recognise(dossier: Dossier) -> Profile:
    chain = dense_graph(dossier.checkpoint)
    if chain is not None:
        return dense_profile(dossier, chain)
    family, architecture = family_of(dossier.checkpoint)
    return graph_profile(dossier, family, architecture)


def _build(dossier: Dossier, profile: Profile) -> Built:
    if Trait.DENSE not in profile.traits:
        return build_graph(dossier)
    found = dense_graph(dossier.checkpoint)
    if found is None:
        raise TypeError("build was called with a profile that is not of this checkpoint")
    return Built(nn.Sequential(nn.Flatten(), *head(found.chain)), found.chain.stack())


GRAPH = Template("graph", Rank.DECLARED, frozenset({Format.ONNX}), _recognise, _build)
