"""Plain convolutional networks: what weights and statements say (`plan`), and the module (`ConvNet`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from auditcli.families._activations import activation
from auditcli.families._dense import Dense, DenseChain, Norm, head
from auditcli.families._geometry import Geometry, solve
from auditcli.families._layers import Group, attach_norms, groups
from auditcli.families._state import norm_after, norm_eps, ordered, recorded
from auditcli.families._template import Mismatch

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier

_RESIDUAL = re.compile(r"downsample|shortcut|skip|residual|(?:^|\.)layer\d+\.\d+\.|(?:^|\.)blocks?\.?\d+\..*conv_?\d")
_EXPORT = "export it to ONNX, which holds the graph: torch.onnx.export(model.eval(), (images,), F)"


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is needed to build the network."""

    convs: tuple[Group, ...]
    norms: tuple[Norm | None, ...]
    """One a convolution."""
    chain: DenseChain
    """The linear layers; its activation and the place of batch norm hold for the convolutions too."""
    geometry: Geometry
    input_shape: tuple[int, int, int]

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the input and behind each convolution."""
        return (self.input_shape[0], *(conv.width for conv in self.convs))


class ConvNet(nn.Module):
    """A plan as a module: convolutions, pooling, linear layers."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for index, (conv, after) in enumerate(zip(plan.convs, plan.norms, strict=True)):
            norm = [] if after is None else [after.module(nn.BatchNorm2d)]
            act = [activation(plan.chain.activation)]
            stages.append(_conv(conv, plan.geometry.strides[index], plan.geometry.paddings[index]))
            stages += [*act, *norm] if plan.chain.norm_after else [*norm, *act]
            stages += _pool(plan.geometry.pool[index])
        if plan.geometry.final == "average":
            stages.append(nn.AdaptiveAvgPool2d(1))
        self.features = nn.Sequential(*stages)
        self.classifier = head(plan.chain)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (n, c, h, w) -> logits (n, outputs)."""
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


def plan(dossier: Dossier) -> Plan | Mismatch:
    """Everything about a plain convolutional network, or why the checkpoint is none.

    Raises:
        UnknownModel: it is one, but its geometry, input shape or order is open.
    """
    layers = groups(dossier.tensors)
    convs, linears = _by_kind(layers, "convolution"), _by_kind(layers, "linear")
    if mismatch := _mismatch(dossier, layers, convs, linears):
        return mismatch
    in_order = ordered(dossier, linears)
    if isinstance(in_order, Mismatch):
        return in_order
    attached = attach_norms([*convs, *in_order], _by_kind(layers, "batch norm"))
    if attached is None:
        raise dossier.open_question(
            "it is open which layers the batch norms follow",
            "name them alike (conv1, bn1), or export the model to ONNX",
        )
    after = bool(attached) and norm_after(dossier)
    eps = norm_eps(dossier) if attached else 0.0
    dense = [Dense(layer.weight, layer.bias, recorded(attached.get(layer.name), eps)) for layer in in_order]
    chain = DenseChain(tuple(dense), dossier.activation("relu"), norm_after=after)
    input_shape = _input_shape(dossier, convs[0])
    return Plan(
        convs=convs,
        norms=tuple(recorded(attached.get(conv.name), eps) for conv in convs),
        chain=chain,
        geometry=solve(dossier, [tuple(conv.weight.shape) for conv in convs], input_shape, chain.widths[0]),
        input_shape=input_shape,
    )


def _mismatch(
    dossier: Dossier, layers: Sequence[Group], convs: Sequence[Group], linears: Sequence[Group]
) -> Mismatch | None:
    known = {"convolution", "linear", "batch norm"}
    foreign = [layer for layer in layers if layer.kind not in known]
    explained = 1 - sum(len(layer.parts) for layer in foreign) / len(dossier.tensors)
    if not convs:
        return Mismatch("it has no convolution", 0.0)
    if foreign:
        what = f"{foreign[0].name or ', '.join(foreign[0].parts)} is neither convolution, batch norm nor linear layer"
        return Mismatch(what, explained, _EXPORT)
    if not linears:
        return Mismatch("it has no linear layer at its end", explained, _EXPORT)
    for before, after in pairwise(convs):
        if after.weight.shape[1] != before.width:
            what = (
                f"{after.name} reads {after.weight.shape[1]} channels, {before.name} before it returns {before.width}"
            )
            return Mismatch(f"{what} (a branched or grouped network)", explained, _EXPORT)
    # A residual network without downsampling layers has the very shapes of a plain one: only names give it away.
    residual = next((conv.name for conv in convs if _RESIDUAL.search(conv.name)), None)
    if residual is not None and dossier.checkpoint.description.get("family") != "cnn":
        return Mismatch(
            f"{residual} is named like a part of a residual block, which shapes do not show", explained, _EXPORT
        )
    return None


def _input_shape(dossier: Dossier, first: Group) -> tuple[int, int, int]:
    channels = first.weight.shape[1]
    stated = dossier.input_shape()
    if stated is not None:
        if stated[0] != channels:
            raise dossier.open_question(
                f"an input of {stated[0]} channels is stated, {first.name} reads {channels}", "--input-shape C,H,W"
            )
        return stated
    side = {1: 28, 3: 32}.get(channels)
    if side is None:
        raise dossier.open_question(
            f"the size of its {channels}-channel input is not in the weights", "--input-shape C,H,W"
        )
    dossier.assume(
        "input shape",
        f"{channels}x{side}x{side}",
        why=f"customary for {channels} channels",
        flag="--input-shape C,H,W",
    )
    return (channels, side, side)


def _conv(group: Group, stride: int, padding: int) -> nn.Conv2d:
    out, channels, height, width = group.weight.shape
    conv = nn.Conv2d(channels, out, (height, width), stride, padding, bias=group.bias is not None, device="meta")
    conv.weight = nn.Parameter(group.weight.clone())
    if group.bias is not None:
        conv.bias = nn.Parameter(group.bias.clone())
    return conv


def _pool(kind: str) -> list[nn.Module]:
    if kind == "none":
        return []
    return [nn.MaxPool2d(2) if kind == "max" else nn.AvgPool2d(2)]


def _by_kind(layers: Sequence[Group], kind: str) -> tuple[Group, ...]:
    return tuple(layer for layer in layers if layer.kind == kind)
