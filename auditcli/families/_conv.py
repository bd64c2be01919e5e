"""Plain convolutional networks: what weights and statements say (`plan`), and the module (`ConvNet`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from auditcli.families._activations import activation
from auditcli.families._dense import Dense, DenseChain, LayerNorm, Norm, head
from auditcli.families._geometry import Geometry, Slot, pooling, solve
from auditcli.families._layers import Group, groups
from auditcli.families._order import grouped, reads
from auditcli.families._row import Row, assume_dropout, row
from auditcli.families._state import norm_eps, norm_place, recorded
from auditcli.families._template import Mismatch

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier

_RESIDUAL = re.compile(r"downsample|shortcut|skip|residual|(?:^|\.)layer\d+\.\d+\.|(?:^|\.)blocks?\.?\d+\..*conv_?\d")
_EXPORT = "export it to ONNX, which holds the graph: torch.onnx.export(model.eval(), (images,), F)"
_CUSTOMARY = {1: (28, 32, 64), 3: (32, 64, 28, 96, 128, 224)}
"""Sides of images by channels, the most usual first."""


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution and what follows it."""

    layer: Group
    groups: int
    norm: Norm | LayerNorm | None
    place: str
    """Of the norm: `before` the activation, `after` it, or `last`, behind the pooling."""
    active: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is needed to build the network."""

    first: Norm | LayerNorm | None
    """A batch norm on the input."""
    convs: tuple[Conv, ...]
    chain: DenseChain
    """The linear layers; its activation holds for the convolutions too."""
    geometry: Geometry
    input_shape: tuple[int, int, int]

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the input and behind each convolution."""
        return (self.input_shape[0], *(conv.layer.width for conv in self.convs))


class ConvNet(nn.Module):
    """A plan as a module: convolutions, pooling, linear layers."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        stages: list[nn.Module] = [] if plan.first is None else [plan.first.module(nn.BatchNorm2d)]
        for index, conv in enumerate(plan.convs):
            norm = [] if conv.norm is None else [conv.norm.module(nn.BatchNorm2d)]
            act = [activation(plan.chain.activation)] if conv.active else []
            pool = _pool(plan.geometry.pool[index])
            stages.append(_conv(conv, plan.geometry, index))
            stages += {"before": [*norm, *act, *pool], "after": [*act, *norm, *pool], "last": [*act, *pool, *norm]}[
                conv.place
            ]
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
        OpenQuestion: it is one, but its geometry, input shape or order is open.
    """
    layers = groups(dossier.tensors)
    if mismatch := _mismatch(dossier, layers):
        return mismatch
    found = row(dossier, layers)
    if isinstance(found, Mismatch):
        return found
    return _planned(dossier, found)


def _planned(dossier: Dossier, found: Row) -> Plan | Mismatch:
    convs = [stage for stage in found.stages if stage.layer.kind == "convolution"]
    linears = found.stages[len(convs) :]
    channels = reads(convs[0].layer)
    widths = [channels, *(stage.layer.width for stage in convs)]
    by_groups = [grouped(before, stage.layer) or 1 for before, stage in zip(widths, convs, strict=False)]
    if any(count > 1 for count in by_groups):
        dossier.note("grouped convolutions, by the channels that they read")
    name = dossier.activation("relu")
    normed = found.first is not None or any(stage.norm for stage in found.stages)
    places, eps = norm_place(dossier, found.stages), norm_eps(dossier) if normed else 0.0
    slots = [Slot(_kernel(stage.layer), stage.layer.width, stage.pools) for stage in convs]
    shape = _input_shape(dossier, channels, convs[0].layer)
    sides = [(shape[1], shape[2])] if shape else [(side, side) for side in _CUSTOMARY[channels]]
    geometry, (height, width) = solve(dossier, slots, sides, reads(linears[0].layer))
    if shape is None:
        dossier.assume(
            "input shape",
            f"{channels}x{height}x{width}",
            why=f"customary for {channels} channels",
            flag="--input-shape C,H,W",
        )
    pools = [int(word != "none") for word in geometry.pool]
    pools[-1] += geometry.final == "average"
    assume_dropout(dossier, found.stages[:-1], [*(1 + pool for pool in pools), *(1 for _ in linears[:-1])])
    dense = tuple(
        Dense(
            stage.layer.weight,
            stage.layer.bias,
            recorded(stage.norm, eps),
            norm_after=places.get(stage.layer.name, "before") != "before",
            active=stage.active,
        )
        for stage in linears
    )
    return Plan(
        first=recorded(found.first, eps),
        convs=tuple(
            Conv(
                stage.layer,
                count,
                recorded(stage.norm, eps),
                places.get(stage.layer.name, "before"),
                stage.active,
            )
            for stage, count in zip(convs, by_groups, strict=True)
        ),
        chain=DenseChain(dense, name),
        geometry=geometry,
        input_shape=shape or (channels, height, width),
    )


def _mismatch(dossier: Dossier, layers: Sequence[Group]) -> Mismatch | None:
    convs = [layer for layer in layers if layer.kind == "convolution"]
    widths = {layer.width for layer in layers if layer.kind == "linear"}
    foreign = [
        layer
        for layer in layers
        if layer.kind not in {"convolution", "linear", "batch norm"}
        and not (layer.kind == "norm" and layer.bias is not None and layer.width in widths - {c.width for c in convs})
    ]
    explained = 1 - sum(len(layer.parts) for layer in foreign) / len(dossier.tensors)
    if not convs:
        return Mismatch("it has no convolution", 0.0)
    if foreign:
        what = f"{foreign[0].name or ', '.join(foreign[0].parts)} is neither convolution, batch norm nor linear layer"
        return Mismatch(what, explained, _EXPORT)
    if not widths:
        return Mismatch("it has no linear layer at its end", explained, _EXPORT)
    # A residual network without downsampling layers has the very shapes of a plain one: only names give it away.
    residual = next((conv.name for conv in convs if _RESIDUAL.search(conv.name)), None)
    stated = dossier.options.assumed("template") == "cnn" or dossier.checkpoint.description.get("family") == "cnn"
    if residual is not None and not stated:
        return Mismatch(
            f"{residual} is named like a part of a residual block, which shapes do not show", explained, _EXPORT
        )
    return None


def _input_shape(dossier: Dossier, channels: int, first: Group) -> tuple[int, int, int] | None:
    stated = dossier.input_shape()
    if stated is None and channels not in _CUSTOMARY:
        raise dossier.open_question(
            f"the size of its {channels}-channel input is not in the weights", "--input-shape C,H,W"
        )
    if stated is not None and stated[0] != channels:
        raise dossier.open_question(
            f"an input of {stated[0]} channels is stated, {first.name} reads {channels}", "--input-shape C,H,W"
        )
    return stated


def _kernel(layer: Group) -> tuple[int, int]:
    height, width = layer.weight.shape[2:]
    return height, width


def _conv(conv: Conv, geometry: Geometry, index: int) -> nn.Conv2d:
    weight, bias = conv.layer.weight, conv.layer.bias
    module = nn.Conv2d(
        weight.shape[1] * conv.groups,
        len(weight),
        _kernel(conv.layer),
        geometry.strides[index],
        geometry.paddings[index],
        geometry.dilations[index],
        conv.groups,
        bias=bias is not None,
        device="meta",
    )
    module.weight = nn.Parameter(weight)
    if bias is not None:
        module.bias = nn.Parameter(bias)
    return module


def _pool(word: str) -> list[nn.Module]:
    if word == "none":
        return []
    kind = nn.MaxPool2d if word.startswith("max") else nn.AvgPool2d
    return [kind(*pooling(word))]
