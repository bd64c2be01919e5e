"""Plain convolutional networks: convolutions (batch norm, activation, pooling) in a row, then linear layers.

Strides, padding and pooling are not in the weights. They are taken from the description or `--assume`, else from the
one conventional choice with which the sizes fit; where several fit, the user is asked. Branched networks (such as a
ResNet) come as ONNX or as a Hugging Face folder.
"""

from __future__ import annotations

from auditcli.families._conv import ConvNet, Plan, plan
from auditcli.families._dossier import Dossier
from auditcli.families._huggingface import huggingface_module, huggingface_profile
from auditcli.families._layers import parameters, table
from auditcli.families._onnx import build_graph, graph_profile
from auditcli.families._template import Built, Mismatch, Template
from auditcli.types import Family, Format, Profile, Trait

_MODEL_TYPES = frozenset(
    {
        "resnet", "convnext", "convnextv2", "mobilenet_v1", "mobilenet_v2", "efficientnet", "regnet", "bit", "dinat",
        "focalnet", "van", "poolformer", "cvt", "levit", "mobilevit", "mobilevitv2", "hgnet_v2",
    }
)  # fmt: skip


def _recognise(dossier: Dossier) -> Profile | Mismatch:
    checkpoint = dossier.checkpoint
    if checkpoint.format is Format.HUGGINGFACE:
        kind = checkpoint.description.get("model_type")
        return huggingface_profile(dossier, Family.CNN) if kind in _MODEL_TYPES else Mismatch(f"it is {kind!r}", 0.0)
    if checkpoint.graph is None:
        found = plan(dossier)
        return found if isinstance(found, Mismatch) else _profile(dossier, found)
    count = sum(node.op == "Conv" for node in checkpoint.graph.nodes)
    attends = any(node.op == "Attention" for node in checkpoint.graph.nodes)
    # One convolution is how a ViT or a mixer cuts patches; the ViT's own test looks for attention.
    if not count or attends or _has_inner_softmax(dossier) or (count == 1 and _transposes(dossier)):
        return Mismatch("its graph is not made of convolutions", 0.0)
    return graph_profile(dossier, Family.CNN, f"ONNX graph with {count} convolutions")


def _has_inner_softmax(dossier: Dossier) -> bool:
    graph = dossier.checkpoint.graph
    softmaxes = sum(node.op == "Softmax" for node in graph.nodes) if graph else 0
    return bool(graph) and softmaxes > (graph.final == "Softmax" if graph else 0)


def _transposes(dossier: Dossier) -> bool:
    graph = dossier.checkpoint.graph
    return bool(graph) and any(node.op == "Transpose" for node in (graph.nodes if graph else ()))


def _profile(dossier: Dossier, found: Plan) -> Profile:
    channels = "-".join(map(str, found.channels))
    widths = "-".join(map(str, found.chain.widths))
    outputs = found.chain.widths[-1]
    classes = dossier.classes(outputs)
    norms = any(found.norms) or any(layer.norm for layer in found.chain.layers)
    return Profile(
        family=Family.CNN,
        architecture=f"convolutions {channels}, linear {widths}, {found.chain.activation}",
        input_shape=found.input_shape,
        classes=classes,
        outputs=outputs,
        parameters=parameters(dossier.tensors),
        normalisation=dossier.normalisation(found.input_shape[0]),
        traits=frozenset({Trait.BATCH_NORM} if norms else ()),
        layers=table(dossier.tensors),
        identified_by=dossier.identified_by,
        evidence=(f"{len(found.convs)} convolutions whose channels chain, then linear layers", *dossier.evidence),
        assumptions=tuple(dossier.assumptions),
        labels=dossier.labels(classes),
    )


def _build(dossier: Dossier, _: Profile) -> Built:
    if dossier.checkpoint.format is Format.HUGGINGFACE:
        return Built(huggingface_module(dossier))
    if dossier.checkpoint.graph is not None:
        return build_graph(dossier)
    found = plan(dossier)
    if isinstance(found, Mismatch):
        raise TypeError("build was called with a profile that is not of this checkpoint")
    return Built(ConvNet(found))


CNN = Template(Family.CNN, _recognise, _build)
