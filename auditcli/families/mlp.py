"""Multi-layer perceptrons: linear layers with one activation, batch norm between them or not.

Read from a bare or described state dict.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from auditcli.families._dense import DenseChain, head
from auditcli.families._dossier import Dossier
from auditcli.families._layers import Group, groups, parameters, table
from auditcli.families._state import chain_of, ordered
from auditcli.families._template import Built, Mismatch, Rank, Template
from auditcli.types import Family, Format, Profile


def _recognise(dossier: Dossier) -> Profile | Mismatch:
    layers = groups(dossier.tensors)
    linears = _by_kind(layers, "linear")
    foreign = [layer for layer in layers if layer.kind not in {"linear", "batch norm"}]
    explained = 1 - sum(len(layer.parts) for layer in foreign) / len(dossier.tensors)
    if foreign:
        parts = ", ".join(f"{name} {tuple(part.shape)}" for name, part in list(foreign[0].parts.items())[:3])
        return Mismatch(f"{foreign[0].name or 'a tensor without a layer'} is no linear layer: {parts}", explained)
    if not linears:
        return Mismatch("it has no linear layer", 0.0)
    chain = _chain(dossier, linears, _by_kind(layers, "batch norm"))
    return chain if isinstance(chain, Mismatch) else _profile(dossier, chain)


def _chain(dossier: Dossier, linears: Sequence[Group], norms: Sequence[Group]) -> DenseChain | Mismatch:
    in_order = ordered(dossier, linears)
    if isinstance(in_order, Mismatch):
        return in_order
    name = dossier.activation("relu") if len(in_order) > 1 else "identity"
    return chain_of(dossier, in_order, norms, name)


def _profile(dossier: Dossier, chain: DenseChain) -> Profile:
    widths = chain.widths
    shape = dossier.flat_input_shape(widths[0])
    classes = dossier.classes(widths[-1])
    return Profile(
        family=Family.MLP,
        architecture=f"{'-'.join(map(str, widths))}, {chain.activation}",
        input_shape=shape,
        classes=classes,
        outputs=widths[-1],
        parameters=parameters(dossier.tensors),
        normalisation=dossier.normalisation(shape[0]),
        traits=chain.traits,
        layers=table(dossier.tensors),
        identified_by=dossier.identified_by,
        evidence=(
            f"{len(chain.layers)} linear layers whose widths chain: {'-'.join(map(str, widths))}",
            *dossier.evidence,
        ),
        assumptions=tuple(dossier.assumptions),
        labels=dossier.labels(classes),
    )


def _build(dossier: Dossier, _: Profile) -> Built:
    layers = groups(dossier.tensors)
    chain = _chain(dossier, _by_kind(layers, "linear"), _by_kind(layers, "batch norm"))
    if not isinstance(chain, DenseChain):
        raise TypeError("build was called with a profile that is not of this checkpoint")
    return Built(nn.Sequential(nn.Flatten(), *head(chain)), chain.stack())


def _by_kind(layers: Sequence[Group], kind: str) -> tuple[Group, ...]:
    return tuple(layer for layer in layers if layer.kind == kind)


MLP = Template("mlp", Rank.SHAPED, frozenset({Format.SAFETENSORS}), _recognise, _build, Family.MLP)
