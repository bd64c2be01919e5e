"""MobileNetV2 under the names of torchvision.

`features.0` (3x3), `features.N.conv` (inverted residual blocks: 1x1 unless the expansion is 1, 3x3 a channel, 1x1),
a last 1x1 in `features`, `classifier`. Channels and expansions are read off the weights; strides are not there, and are
taken from the published table. Reference: Sandler et al. 2018, arXiv:1801.04381v4, table 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import nn

from auditcli.families._activations import activation
from auditcli.families._published import Architecture, Misfit, Plan, Weights, published
from auditcli.families._state import norm_eps
from auditcli.families._weightless import global_pool, settled_pool
from auditcli.types import Family

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier

_REPEATS = (1, 2, 3, 4, 3, 3, 1)
"""Blocks of each stage in the published table."""
_STRIDES = "2/1/2/2/2/1/2/1"
"""Of the first convolution and of each stage, as published for 224 pixels."""
_SMALL_STRIDES = "1/1/1/2/2/1/2/1"
"""The same, as common code for 32 pixels has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileNetPlan(Plan):
    """Sizes of a MobileNetV2."""

    width: int
    """Channels behind the first convolution."""
    blocks: tuple[tuple[int, int], ...]
    """Channels inside and behind each block."""
    expanded: tuple[bool, ...]
    """Whether a block begins with a 1x1 convolution."""
    last: int
    """Channels behind the last convolution."""
    strides: tuple[int, ...] = tuple(map(int, _STRIDES.split("/")))
    pool: str = "avg"
    act: str = "relu6"
    eps: float = 1e-5


class InvertedResidual(nn.Module):
    """Wide inside, narrow outside, with a shortcut where the input fits."""

    def __init__(
        self, plan: MobileNetPlan, channels: int, sizes: tuple[int, int], stride: int, *, expanded: bool
    ) -> None:
        super().__init__()
        inner, outer = sizes
        layers: list[nn.Module] = [_unit(plan, channels, inner, 1)] if expanded else []
        layers.append(_unit(plan, inner, inner, 3, stride, groups=inner))
        layers += [nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer, eps=plan.eps)]
        self.conv = nn.Sequential(*layers)
        self.shortcut = stride == 1 and channels == outer

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, outer, h / stride, w / stride)."""
        out: Tensor = self.conv(x)
        return x + out if self.shortcut else out


class MobileNetV2(nn.Module):
    """A MobileNetV2; its parameters have torchvision's names."""

    def __init__(self, plan: MobileNetPlan) -> None:
        super().__init__()
        first, *stages = plan.strides
        modules: list[nn.Module] = [_unit(plan, plan.channels, plan.width, 3, first)]
        strides = [
            stride if place == 0 else 1
            for stride, count in zip(stages, _REPEATS, strict=True)
            for place in range(count)
        ]
        channels = plan.width
        for sizes, stride, expanded in zip(plan.blocks, strides, plan.expanded, strict=True):
            modules.append(InvertedResidual(plan, channels, sizes, stride, expanded=expanded))
            channels = sizes[1]
        modules.append(_unit(plan, channels, plan.last, 1))
        self.features = nn.Sequential(*modules)
        self.pool = global_pool(plan.pool)
        self.classifier = plan.head.module(plan.last, plan.act)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (n, c, h, w) -> logits (n, outputs)."""
        logits: Tensor = self.classifier(self.pool(self.features(x)))
        return logits


def _unit(
    plan: MobileNetPlan, channels: int, outer: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(channels, outer, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outer, eps=plan.eps), activation(plan.act))


def _plan(weights: Weights) -> MobileNetPlan:
    width, channels, *_ = weights.shape("features.0.0.weight", 4)
    count = weights.count("features.") - 2
    if count != sum(_REPEATS):
        raise Misfit(f"it has {count} blocks, the published table has {sum(_REPEATS)}")
    expanded, blocks = [], []
    for place in range(1, count + 1):
        name = f"features.{place}.conv"
        expands = f"{name}.3.weight" in weights
        expanded.append(expands)
        inner = weights.shape(f"{name}.0.0.weight", 4)[0]
        blocks.append((inner, weights.shape(f"{name}.{2 if expands else 1}.weight", 4)[0]))
    head = weights.head("classifier")
    if len(head.layers) > 1:
        raise Misfit(f"its classifier has {len(head.layers)} linear layers, one was expected")
    return MobileNetPlan(
        head=head,
        channels=channels,
        side=224,
        width=width,
        blocks=tuple(blocks),
        expanded=tuple(expanded),
        last=weights.shape(f"features.{count + 1}.0.weight", 4)[0],
    )


def _settle(dossier: Dossier, plan: MobileNetPlan) -> MobileNetPlan:
    what, why = "strides of the first convolution and the stages", "as published for 224 pixels"
    strides = dossier.settle("strides", _STRIDES, what, why=why, alternatives=(_SMALL_STRIDES,))
    if len(strides) != 1 + len(_REPEATS):
        raise dossier.open_question(
            f"{len(strides)} strides for the first convolution and {len(_REPEATS)} stages",
            f"--assume strides={_STRIDES}",
        )
    act = dossier.activation(plan.act)
    return replace(plan, strides=strides, pool=settled_pool(dossier), act=act, eps=norm_eps(dossier))


def _describe(plan: MobileNetPlan) -> str:
    widths = "-".join(map(str, dict.fromkeys((plan.width, *(outer for _, outer in plan.blocks), plan.last))))
    return f"MobileNetV2, {len(plan.blocks)} inverted residual blocks of {widths} channels, {plan.act}"


MOBILENET = published(
    Architecture(
        name="mobilenet",
        family=Family.CNN,
        anchors=("features.0.0.weight",),
        classifier="classifier",
        plan=_plan,
        network=MobileNetV2,
        settle=_settle,
        describe=_describe,
    )
)
