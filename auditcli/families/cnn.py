"""Plain convolutional networks: convolutions (batch norm, activation, pooling) in a row, then linear layers.

Strides, padding and pooling are not in the weights. They are taken from the description or `--assume`, else from the
least unusual choice with which the sizes fit and for which the numbers of an nn.Sequential leave room; where several
are as usual, the user is asked. Branched networks come as ONNX or as a Hugging Face folder.
"""

from __future__ import annotations

from auditcli.families._conv import ConvNet, Plan, plan
from auditcli.families._dense import Norm
from auditcli.families._dossier import Dossier
from auditcli.families._layers import parameters, table
from auditcli.families._template import Built, Mismatch, Rank, Template
from auditcli.types import Family, Format, Profile, Trait


def _recognise(dossier: Dossier) -> Profile | Mismatch:
    found = plan(dossier)
    return found if isinstance(found, Mismatch) else _profile(dossier, found)


def _profile(dossier: Dossier, found: Plan) -> Profile:
    channels = "-".join(map(str, found.channels))
    widths = "-".join(map(str, found.chain.widths))
    outputs = found.chain.widths[-1]
    classes = dossier.classes(outputs)
    norms = [found.first, *(conv.norm for conv in found.convs), *(layer.norm for layer in found.chain.layers)]
    return Profile(
        family=Family.CNN,
        architecture=f"convolutions {channels}, linear {widths}, {found.chain.activation}",
        input_shape=found.input_shape,
        classes=classes,
        outputs=outputs,
        parameters=parameters(dossier.tensors),
        normalisation=dossier.normalisation(found.input_shape[0]),
        traits=frozenset({Trait.BATCH_NORM} if any(isinstance(norm, Norm) for norm in norms) else ()),
        layers=table(dossier.tensors),
        identified_by=dossier.identified_by,
        evidence=(f"{len(found.convs)} convolutions whose channels chain, then linear layers", *dossier.evidence),
        assumptions=tuple(dossier.assumptions),
        labels=dossier.labels(classes),
    )


def _build(dossier: Dossier, _: Profile) -> Built:
    found = plan(dossier)
    if isinstance(found, Mismatch):
        raise TypeError("build was called with a profile that is not of this checkpoint")
    return Built(ConvNet(found))


CNN = Template("cnn", Rank.SHAPED, frozenset({Format.SAFETENSORS}), _recognise, _build, Family.CNN)
