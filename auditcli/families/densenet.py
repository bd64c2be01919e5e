"""Densely connected networks under the names of torchvision and timm, and those for 32 pixels.

`features.{conv0, norm0, denseblockB.denselayerN.{norm1, conv1, norm2, conv2}, transitionB.{norm, conv}, norm5}`, then
`classifier`. Reference: Huang et al. 2016, arXiv:1608.06993v5, section 3.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from auditcli.families._activations import activation
from auditcli.families._published import Architecture, Misfit, Plan, Weights, published
from auditcli.families._state import norm_eps
from auditcli.families._weightless import global_pool, settled_pool
from auditcli.types import Family

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseNetPlan(Plan):
    """Sizes of a densely connected network."""

    width: int
    """Channels behind the first convolution."""
    kernel: int
    """Of the first convolution."""
    normed: bool
    """Whether batch norm and activation follow the first convolution."""
    depths: tuple[int, ...]
    """Layers of each block."""
    growth: int
    bottleneck: int
    """Channels between the two convolutions of a layer."""
    transitions: tuple[int, ...]
    """Channels behind each transition."""
    stem: str
    """Stride of the first convolution, and whether a maximum pool follows: `2+pool` or `1`."""
    pool: str = "avg"
    act: str = "relu"
    eps: float = 1e-5


class DenseLayer(nn.Module):
    """What a layer adds to the channels it reads."""

    def __init__(self, plan: DenseNetPlan, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels, eps=plan.eps)
        self.conv1 = nn.Conv2d(channels, plan.bottleneck, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(plan.bottleneck, eps=plan.eps)
        self.conv2 = nn.Conv2d(plan.bottleneck, plan.growth, 3, padding=1, bias=False)
        self.act = activation(plan.act)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c + growth, h, w)."""
        added = self.conv2(self.act(self.norm2(self.conv1(self.act(self.norm1(x))))))
        return torch.cat([x, added], 1)


class Transition(nn.Module):
    """Fewer channels, half the height and width."""

    def __init__(self, plan: DenseNetPlan, channels: int, outer: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=plan.eps)
        self.conv = nn.Conv2d(channels, outer, 1, bias=False)
        self.act, self.pool = activation(plan.act), nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, outer, h / 2, w / 2)."""
        halved: Tensor = self.pool(self.conv(self.act(self.norm(x))))
        return halved


class DenseNet(nn.Module):
    """A densely connected network; its parameters have torchvision's names."""

    def __init__(self, plan: DenseNetPlan) -> None:
        super().__init__()
        stride, _, pool = plan.stem.partition("+")
        first = nn.Conv2d(plan.channels, plan.width, plan.kernel, int(stride), plan.kernel // 2, bias=False)
        parts: dict[str, nn.Module] = {"conv0": first}
        if plan.normed:
            parts |= {"norm0": nn.BatchNorm2d(plan.width, eps=plan.eps), "relu0": activation(plan.act)}
        if pool:
            parts["pool0"] = nn.MaxPool2d(3, 2, 1)
        channels = plan.width
        for number, depth in enumerate(plan.depths, start=1):
            parts[f"denseblock{number}"] = nn.Sequential(
                OrderedDict(
                    (f"denselayer{layer + 1}", DenseLayer(plan, channels + layer * plan.growth))
                    for layer in range(depth)
                )
            )
            channels += depth * plan.growth
            if number <= len(plan.transitions):
                parts[f"transition{number}"] = Transition(plan, channels, plan.transitions[number - 1])
                channels = plan.transitions[number - 1]
        parts |= {"norm5": nn.BatchNorm2d(channels, eps=plan.eps), "relu5": activation(plan.act)}
        self.features = nn.Sequential(OrderedDict(parts))
        self.pool = global_pool(plan.pool)
        self.classifier = plan.head.module(channels, plan.act)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (n, c, h, w) -> logits (n, outputs)."""
        logits: Tensor = self.classifier(self.pool(self.features(x)))
        return logits


def _plan(weights: Weights) -> DenseNetPlan:
    width, channels, kernel, _ = weights.shape("features.conv0.weight", 4)
    if kernel not in {3, 7}:
        raise Misfit(f"features.conv0 has a kernel of {kernel}, 3 or 7 was expected")
    blocks = weights.count("features.denseblock", start=1)
    layer = "features.denseblock1.denselayer1"
    return DenseNetPlan(
        head=weights.head("classifier"),
        channels=channels,
        side=224 if kernel == 7 else 32,
        width=width,
        kernel=kernel,
        normed="features.norm0.weight" in weights,
        stem="2+pool" if kernel == 7 else "1",
        depths=tuple(
            weights.count(f"features.denseblock{number}.denselayer", start=1) for number in range(1, blocks + 1)
        ),
        growth=weights.shape(f"{layer}.conv2.weight", 4)[0],
        bottleneck=weights.shape(f"{layer}.conv1.weight", 4)[0],
        transitions=tuple(
            weights.shape(f"features.transition{number}.conv.weight", 4)[0] for number in range(1, blocks)
        ),
    )


def _settle(dossier: Dossier, plan: DenseNetPlan) -> DenseNetPlan:
    what, why = "stride and pool of the first convolution", f"published for one of {plan.kernel}x{plan.kernel}"
    stem = dossier.settle("stem", plan.stem, what, why=why, alternatives=("2+pool", "2", "1+pool", "1"))
    plan = replace(plan, stem=stem)
    return replace(plan, pool=settled_pool(dossier), act=dossier.activation(plan.act), eps=norm_eps(dossier))


def _describe(plan: DenseNetPlan) -> str:
    depths = "/".join(map(str, plan.depths))
    return f"dense blocks of {depths} layers, growth {plan.growth}, first {plan.kernel}x{plan.kernel}, {plan.act}"


DENSENET = published(
    Architecture(
        name="densenet",
        family=Family.CNN,
        anchors=("features.conv0.weight",),
        classifier="classifier",
        plan=_plan,
        network=DenseNet,
        settle=_settle,
        describe=_describe,
        renames=(
            (r"^(features\.denseblock\d+\.denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2."),
            (r"^features\.norm_final\.", "features.norm5."),
        ),
    )
)
