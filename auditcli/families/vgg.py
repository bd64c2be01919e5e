"""VGG under the names of torchvision and timm, with batch norm or without, and its smaller forms for 32 pixels.

`features.N` are 3x3 convolutions (and batch norms); activations and pooling have no weights and leave their places in
the sequence empty, so that the places say where they are: the layout must be one of the published ones. Then
`classifier` (torchvision), or `pre_logits.fc1, pre_logits.fc2, head.fc` (timm). Reference: Simonyan and Zisserman 2014,
arXiv:1409.1556, table 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt
from typing import TYPE_CHECKING

from torch import nn

from auditcli.families._activations import activation
from auditcli.families._head import Head
from auditcli.families._published import Architecture, Misfit, Plan, Weights, published
from auditcli.families._state import norm_eps
from auditcli.types import Family

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier

_LAYOUTS = ((1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4))
"""Convolutions in each stage of VGG-11, 13, 16 and 19."""
_WIDTHS = (1, 2, 4, 8, 8)
"""Channels of the stages, as multiples of those of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VggPlan(Plan):
    """Sizes of a VGG."""

    layout: tuple[int, ...]
    width: int
    normed: bool
    bias: bool
    features: int
    """Height and width of what the classifier reads."""
    hidden: tuple[int, int] | None
    """Widths of timm's two convolutions before its last layer; None for linear layers alone."""
    pool: str = "max"
    act: str = "relu"
    eps: float = 1e-5

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the stages."""
        return tuple(self.width * factor for factor in _WIDTHS)


class Vgg(nn.Module):
    """A VGG; its parameters have torchvision's names, or timm's."""

    def __init__(self, plan: VggPlan) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        channels = plan.channels
        for width, count in zip(plan.widths, plan.layout, strict=True):
            for _ in range(count):
                norm = [nn.BatchNorm2d(width, eps=plan.eps)] if plan.normed else []
                modules += [nn.Conv2d(channels, width, 3, padding=1, bias=plan.bias), *norm, activation(plan.act)]
                channels = width
            modules.append(nn.MaxPool2d(2) if plan.pool == "max" else nn.AvgPool2d(2))
        self.features = nn.Sequential(*modules)
        self.average = nn.AdaptiveAvgPool2d(plan.features)
        if plan.hidden is None:
            self.classifier = plan.head.module(channels * plan.features**2, plan.act)
        else:
            first, second = plan.hidden
            wide, narrow = nn.Conv2d(channels, first, plan.features), nn.Conv2d(first, second, 1)
            self.pre_logits = nn.ModuleDict({"fc1": wide, "fc2": narrow})
            self.head = nn.ModuleDict({"fc": plan.head.module(second, plan.act)})
            self.act = activation(plan.act)
        self.convolutional = plan.hidden is not None

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (n, c, h, w) -> logits (n, outputs)."""
        x = self.average(self.features(x))
        if self.convolutional:
            x = self.act(self.pre_logits["fc2"](self.act(self.pre_logits["fc1"](x))))
            logits: Tensor = self.head["fc"](x.flatten(1))
        else:
            logits = self.classifier(x.flatten(1))
        return logits


def _plan(weights: Weights) -> VggPlan:
    width, channels, *_ = weights.shape("features.0.weight", 4)
    normed = "features.1.running_var" in weights
    layout = _layout(weights, normed=normed)
    last = width * _WIDTHS[-1]
    hidden, features, head = None, 0, weights.head("classifier")
    if "pre_logits.fc1.weight" in weights:
        first, *_, features = weights.shape("pre_logits.fc1.weight", 4)
        hidden, head = (first, weights.shape("pre_logits.fc2.weight", 4)[0]), weights.head("head.fc")
    else:
        features = _features(head, last)
    return VggPlan(
        head=head,
        channels=channels,
        side=features * 2 ** len(layout),
        layout=layout,
        width=width,
        normed=normed,
        bias="features.0.bias" in weights,
        features=features,
        hidden=hidden,
    )


def _layout(weights: Weights, *, normed: bool) -> tuple[int, ...]:
    """Convolutions in each stage, from the places in `features`: a stage ends where one more place is left empty."""
    step = 3 if normed else 2
    places = [place for place in weights.numbers("features.") if _is_convolution(weights, place)]
    counts, expected = [1], step
    for place in places[1:]:
        if place not in {expected, expected + 1}:
            raise Misfit(f"features.{place} is no place of a convolution; {expected} or {expected + 1} was expected")
        if place == expected:
            counts[-1] += 1
        else:
            counts.append(1)
        expected = place + step
    if tuple(counts) not in _LAYOUTS:
        found = "-".join(map(str, counts))
        raise Misfit(f"the places in features make stages of {found} convolutions, which no VGG has")
    return tuple(counts)


def _is_convolution(weights: Weights, place: int) -> bool:
    name = f"features.{place}.weight"
    return name in weights and weights.state[name].ndim == 4


def _features(head: Head, channels: int) -> int:
    """Height and width of what the classifier reads; 7 where it is missing, so that the comparison can say so."""
    if not head.inputs:
        return 7
    side = isqrt(head.inputs // channels)
    if channels * side**2 != head.inputs:
        raise Misfit(f"the classifier reads {head.inputs} values, which are no square of {channels} channels")
    return side


def _settle(dossier: Dossier, plan: VggPlan) -> VggPlan:
    if plan.normed:
        plan = replace(plan, eps=norm_eps(dossier))
    why = "as published; the places in features show that something without weights stands there"
    pool = dossier.settle("pool", "max", "pooling behind each stage", why=why, alternatives=("avg",))
    if tuple(pool) not in {("max",), ("avg",)}:
        raise dossier.open_question("all stages of a VGG are pooled alike", "--assume pool=max or pool=avg")
    return replace(plan, pool=pool[0], act=dossier.activation(plan.act))


def _describe(plan: VggPlan) -> str:
    layers = sum(plan.layout) + (len(plan.head.layers) if plan.hidden is None else 3)
    norm = " with batch norm" if plan.normed else ""
    widths, stages = "-".join(map(str, plan.widths)), "/".join(map(str, plan.layout))
    return f"{layers} layers{norm}, {stages} convolutions of {widths} channels, {plan.act}"


VGG = published(
    Architecture(
        name="vgg",
        family=Family.CNN,
        anchors=("features.0.weight",),
        classifier="classifier",
        plan=_plan,
        network=Vgg,
        settle=_settle,
        describe=_describe,
    )
)
