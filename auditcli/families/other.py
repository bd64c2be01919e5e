"""Graphs and transformers classifiers of no other family: they run as they are, for attacks that need logits alone."""

from __future__ import annotations

from auditcli.families._dossier import Dossier
from auditcli.families._huggingface import huggingface_module, huggingface_profile
from auditcli.families._onnx import build_graph, graph_profile
from auditcli.families._template import Built, Mismatch, Template
from auditcli.types import Family, Format, Profile


def _recognise(dossier: Dossier) -> Profile | Mismatch:
    if dossier.checkpoint.graph is not None:
        return graph_profile(dossier, Family.UNKNOWN, f"ONNX graph of {len(dossier.checkpoint.graph.nodes)} operators")
    if dossier.checkpoint.format is Format.HUGGINGFACE:
        return huggingface_profile(dossier, Family.UNKNOWN)
    return Mismatch("weights alone do not say how they are connected", 0.0)


def _build(dossier: Dossier, _: Profile) -> Built:
    return build_graph(dossier) if dossier.checkpoint.graph is not None else Built(huggingface_module(dossier))


OTHER = Template(Family.UNKNOWN, _recognise, _build, fallback=True)
