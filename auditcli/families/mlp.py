"""Multi-layer perceptrons: linear layers with one activation, batch norm or layer norm between them or not.

Read from a bare or described state dict.
"""

from __future__ import annotations

from torch import nn

from auditcli.families._dense import Dense, DenseChain, Norm, head
from auditcli.families._dossier import Dossier
from auditcli.families._layers import groups, parameters, table
from auditcli.families._row import ARCH, Row, assume_dropout, row
from auditcli.families._state import norm_eps, norm_place, recorded
from auditcli.families._template import Built, Mismatch, Rank, Template
from auditcli.types import Family, Format, Profile

_KINDS = frozenset({"linear", "batch norm", "norm"})


def _recognise(dossier: Dossier) -> Profile | Mismatch:
    found = _chain(dossier)
    return found if isinstance(found, Mismatch) else _profile(dossier, found)


def _chain(dossier: Dossier) -> DenseChain | Mismatch:
    layers = groups(dossier.tensors)
    foreign = [layer for layer in layers if layer.kind not in _KINDS]
    explained = 1 - sum(len(layer.parts) for layer in foreign) / len(dossier.tensors)
    if foreign:
        parts = ", ".join(f"{name} {tuple(part.shape)}" for name, part in list(foreign[0].parts.items())[:3])
        return Mismatch(f"{foreign[0].name or 'a tensor without a layer'} is no linear layer: {parts}", explained)
    if not any(layer.kind == "linear" for layer in layers):
        return Mismatch("it has no linear layer", 0.0)
    if (bare := next((layer for layer in layers if layer.kind == "norm" and layer.bias is None), None)) is not None:
        return Mismatch(f"{bare.name} has a weight and no bias: it is no layer norm", explained)
    found = row(dossier, layers)
    return found if isinstance(found, Mismatch) else _with_norms(dossier, found)


def _with_norms(dossier: Dossier, found: Row) -> DenseChain:
    hidden = found.stages[:-1]
    name = dossier.activation("relu") if any(stage.active for stage in hidden) else "identity"
    normed = found.first is not None or any(stage.norm for stage in found.stages)
    places, eps = norm_place(dossier, found.stages), norm_eps(dossier) if normed else 0.0
    if any(stage.norm is not None and stage.norm.kind == "norm" for stage in found.stages):
        why = "one weight and one bias a feature, and no running statistics"
        dossier.assume("norms", "layer norm", why=why, flag=ARCH)
    assume_dropout(dossier, hidden, [1] * len(hidden))
    if any(not stage.active for stage in hidden):
        dossier.note("no activation where the numbers in the names leave no place for one")
    layers = tuple(
        Dense(
            stage.layer.weight,
            stage.layer.bias,
            recorded(stage.norm, eps),
            norm_after=places.get(stage.layer.name, "before") != "before",
            active=stage.active,
        )
        for stage in found.stages
    )
    first = recorded(found.first, eps)
    return DenseChain(layers, name, first=first if isinstance(first, Norm) else None)


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
    chain = _chain(dossier)
    if not isinstance(chain, DenseChain):
        raise TypeError("build was called with a profile that is not of this checkpoint")
    return Built(nn.Sequential(nn.Flatten(), *head(chain)), chain.stack())


MLP = Template("mlp", Rank.SHAPED, frozenset({Format.SAFETENSORS}), _recognise, _build, Family.MLP)
