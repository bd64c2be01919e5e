"""ONNX graphs: run as they were converted, or rebuilt where they are a chain of linear layers or signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from auditcli.families._binary import integers
from auditcli.families._dense import head
from auditcli.families._onnx import build_graph, dense_graph, graph_profile, signed_graph
from auditcli.families._template import Built, Rank, Template
from auditcli.types import Format, Profile, Trait

if TYPE_CHECKING:
    from auditcli.families._dossier import Dossier


def _build(dossier: Dossier, profile: Profile) -> Built:
    if Trait.BINARISED in profile.traits and (signed := signed_graph(dossier, profile)) is not None:
        return Built(signed, binarised=integers(signed))
    if Trait.DENSE not in profile.traits:
        return build_graph(dossier)
    found = dense_graph(dossier, profile.input_shape)
    if found is None:
        raise TypeError("build was called with a profile that is not of this checkpoint")
    return Built(nn.Sequential(nn.Flatten(), *head(found.chain)), found.chain.stack())


GRAPH = Template("graph", Rank.DECLARED, frozenset({Format.ONNX}), graph_profile, _build)
