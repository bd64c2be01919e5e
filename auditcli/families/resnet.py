"""Residual networks: ResNet, ResNeXt and wide ResNet under the names of torchvision and timm, and those for 32 pixels.

`conv1, bn1, layerS.N.{conv1, bn1, conv2, bn2[, conv3, bn3][, downsample.0, downsample.1]}, fc`: basic blocks (two 3x3
convolutions) or bottlenecks (1x1, 3x3 in groups, 1x1). Not in the weights: where strides stand, what pools, the
activation, and shortcuts without parameters. References: He et al. 2015, arXiv:1512.03385; Xie et al. 2016,
arXiv:1611.05431; Zagoruyko and Komodakis 2016, arXiv:1605.07146.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from torch import nn

from auditcli.families._activations import activation
from auditcli.families._published import Architecture, Misfit, Plan, Weights, published
from auditcli.families._state import norm_eps
from auditcli.families._weightless import Shortcut, global_pool, settled_pool
from auditcli.types import Family

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier


_MOST_STAGES = 6


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one size."""

    blocks: int
    inner: int
    """Channels between the convolutions of a block."""
    outer: int
    """Channels behind a block."""
    groups: int
    projected: bool
    """Whether the first block's shortcut is a convolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetPlan(Plan):
    """Sizes of a residual network."""

    width: int
    """Channels behind the first convolution."""
    kernel: int
    """Of the first convolution."""
    stages: tuple[Stage, ...]
    bottleneck: bool
    bias: bool
    strides: tuple[int, ...]
    """One a stage."""
    stem: str
    """Stride of the first convolution, and whether a maximum pool follows: `2+pool` or `1`."""
    stride_in: str = "conv2"
    shortcut: str = "pad"
    """What stands beside the first block of a stage without projection."""
    pool: str = "avg"
    act: str = "relu"
    eps: float = 1e-5

    @property
    def projects(self) -> bool:
        """Whether any shortcut has weights."""
        return any(stage.projected for stage in self.stages)


class Block(nn.Module):
    """Two or three convolutions beside a shortcut."""

    def __init__(self, plan: ResNetPlan, stage: Stage, channels: int, stride: int, *, projected: bool) -> None:
        super().__init__()
        inner, outer = stage.inner, stage.outer
        if plan.bottleneck:
            first, second = (stride, 1) if plan.stride_in == "conv1" else (1, stride)
            self.conv1 = nn.Conv2d(channels, inner, 1, first, bias=plan.bias)
            self.conv2 = nn.Conv2d(inner, inner, 3, second, 1, groups=stage.groups, bias=plan.bias)
            self.conv3 = nn.Conv2d(inner, outer, 1, bias=plan.bias)
            self.bn3 = nn.BatchNorm2d(outer, eps=plan.eps)
        else:
            self.conv1 = nn.Conv2d(channels, inner, 3, stride, 1, bias=plan.bias)
            self.conv2 = nn.Conv2d(inner, outer, 3, 1, 1, bias=plan.bias)
        self.bn1 = nn.BatchNorm2d(inner, eps=plan.eps)
        self.bn2 = nn.BatchNorm2d(inner if plan.bottleneck else outer, eps=plan.eps)
        self.act = activation(plan.act)
        self.bottleneck = plan.bottleneck
        self.downsample: nn.Module = Shortcut(plan.shortcut, channels, outer, stride)
        if projected:
            convolution = nn.Conv2d(channels, outer, 1, stride, bias=plan.bias)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(outer, eps=plan.eps))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, outer, h / stride, w / stride)."""
        out = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            out = self.bn3(self.conv3(self.act(out)))
        activated: Tensor = self.act(out + self.downsample(x))
        return activated


class ResNet(nn.Module):
    """A residual network; its parameters have torchvision's names."""

    def __init__(self, plan: ResNetPlan) -> None:
        super().__init__()
        stride, _, pool = plan.stem.partition("+")
        self.conv1 = nn.Conv2d(plan.channels, plan.width, plan.kernel, int(stride), plan.kernel // 2, bias=plan.bias)
        self.bn1 = nn.BatchNorm2d(plan.width, eps=plan.eps)
        self.act = activation(plan.act)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        channels, names = plan.width, []
        for number, (stage, step) in enumerate(zip(plan.stages, plan.strides, strict=True), start=1):
            first = Block(plan, stage, channels, step, projected=stage.projected)
            rest = (Block(plan, stage, stage.outer, 1, projected=False) for _ in range(stage.blocks - 1))
            self.add_module(f"layer{number}", nn.Sequential(first, *rest))
            names.append(f"layer{number}")
            channels = stage.outer
        self.stages = tuple(names)
        self.pool = global_pool(plan.pool)
        self.fc = plan.head.module(channels, plan.act)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (n, c, h, w) -> logits (n, outputs)."""
        x = self.maxpool(self.act(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.fc(self.pool(x))
        return logits


def _plan(weights: Weights) -> ResNetPlan:
    width, channels, kernel, _ = weights.shape("conv1.weight", 4)
    bottleneck = "layer1.0.conv3.weight" in weights
    stages = tuple(_stages(weights, bottleneck=bottleneck))
    large = kernel == 7
    return ResNetPlan(
        head=weights.head("fc"),
        channels=channels,
        side=224 if large else 28 if channels == 1 else 32,
        width=width,
        kernel=kernel,
        stages=stages,
        bottleneck=bottleneck,
        bias="layer1.0.conv1.bias" in weights,
        strides=(1, *(2,) * (len(stages) - 1)),
        stem="2+pool" if large else "1",
    )


def _stages(weights: Weights, *, bottleneck: bool) -> Iterator[Stage]:
    for number in range(1, 1 + weights.count("layer", start=1)):
        name = f"layer{number}"
        inner, reads, *_ = weights.shape(f"{name}.0.conv2.weight", 4)
        inner = weights.shape(f"{name}.0.conv1.weight", 4)[0]
        if inner % reads:
            raise Misfit(f"{name}.0.conv2 reads {reads} channels of {inner}, which are no equal groups")
        outer = weights.shape(f"{name}.0.conv{3 if bottleneck else 2}.weight", 4)[0]
        projected = f"{name}.0.downsample.0.weight" in weights
        yield Stage(weights.count(f"{name}."), inner, outer, inner // reads, projected)


def _checked(plan: ResNetPlan) -> ResNetPlan:
    """The plan, once it can be a residual network.

    Raises:
        Misfit: saying why not.
    """
    if plan.kernel % 2 == 0:
        raise Misfit(f"its first convolution has a kernel of {plan.kernel}, an odd one was expected")
    if not 2 <= len(plan.stages) <= _MOST_STAGES:
        raise Misfit(f"it has {len(plan.stages)} stages, 2 to {_MOST_STAGES} were expected")
    for number, (before, stage) in enumerate(zip(_channels(plan), plan.stages, strict=False), start=1):
        if not stage.projected and (stage.outer < before or (stage.outer != before and plan.projects)):
            raise Misfit(f"layer{number}.0 makes {stage.outer} channels of {before} and has no downsample")
    return plan


def _channels(plan: ResNetPlan) -> tuple[int, ...]:
    """In front of each stage, and behind the last."""
    return (plan.width, *(stage.outer for stage in plan.stages))


def _settle(dossier: Dossier, plan: ResNetPlan) -> ResNetPlan:
    plan = replace(plan, strides=_strides(dossier, plan), stem=_stem(dossier, plan), eps=norm_eps(dossier))
    if plan.bottleneck:
        what, why = "layer of a bottleneck that strides", "customary; the publication, and Caffe's weights, have conv1"
        stride_in = dossier.settle("stride_in", plan.stride_in, what, why=why, alternatives=("conv1",))
        plan = replace(plan, stride_in=stride_in)
    if not plan.projects:
        why = "no shortcut has weights, and a network without shortcuts has these weights as well"
        shortcut = dossier.settle("shortcut", plan.shortcut, "shortcuts", why=why, alternatives=("pad-end", "none"))
        plan = replace(plan, shortcut=shortcut)
    return replace(plan, pool=settled_pool(dossier), act=dossier.activation(plan.act))


def _stem(dossier: Dossier, plan: ResNetPlan) -> str:
    what, known = "stride and pool of the first convolution", ("2+pool", "2", "1+pool", "1")
    stated: str | None = dossier.stated("stem")
    if stated is None and plan.kernel not in {3, 7} and "stem" not in dossier.options.chosen:
        raise dossier.open_question(
            f"{what}, of {plan.kernel}x{plan.kernel}, are not in the weights",
            f"--assume stem=S, one of {', '.join(known)} (its stride, and whether a maximum pool follows)",
            [{"stem": stem} for stem in known],
        )
    why = f"customary for a first convolution of {plan.kernel}x{plan.kernel}"
    chosen: str = stated or dossier.choose("stem", plan.stem, what, why=why, alternatives=known)
    return chosen


def _strides(dossier: Dossier, plan: ResNetPlan) -> tuple[int, ...]:
    """One a stage, as stated, else the customary ones."""
    stated: tuple[int, ...] | None = dossier.stated("strides")
    doubtful = _doubtful(plan)
    if stated is None and doubtful and "strides" not in dossier.options.chosen:
        steps = [(1, 2) if number in doubtful else (step,) for number, step in enumerate(plan.strides, start=1)]
        answers = ["/".join(map(str, answer)) for answer in product(*steps)]
        raise dossier.open_question(
            f"whether layer{doubtful[0]} halves height and width is not in the weights",
            f"--assume strides=..., one of {', '.join(answers)}",
            [{"strides": answer} for answer in answers],
        )
    written, what = "/".join(map(str, plan.strides)), "strides of the stages"
    why = "customary: every stage but the first halves height and width"
    strides: tuple[int, ...] = stated or dossier.choose("strides", written, what, why=why)
    if len(strides) != len(plan.stages):
        raise dossier.open_question(
            f"{len(strides)} strides for {len(plan.stages)} stages", f"--assume strides={written}, one a stage"
        )
    return strides


def _doubtful(plan: ResNetPlan) -> list[int]:
    """Stages that may halve height and width or not.

    They are layer1 with a projection that its channels do not ask for, and later ones without any.
    """
    stages = enumerate(zip(_channels(plan), plan.stages, strict=False), start=1)
    return [number for number, (before, stage) in stages if before == stage.outer and stage.projected == (number == 1)]


def _describe(plan: ResNetPlan) -> str:
    kind = "bottlenecks" if plan.bottleneck else "basic blocks"
    blocks = "/".join(str(stage.blocks) for stage in plan.stages)
    widths = "-".join(map(str, _channels(plan)))
    groups = max(stage.groups for stage in plan.stages)
    grouped = f" in {groups} groups" if groups > 1 else ""
    kernel = f"{plan.kernel}x{plan.kernel}"
    return f"{blocks} {kind}{grouped} of {widths} channels, first {kernel} with {plan.stem}, {plan.act}"


RESNET = published(
    Architecture(
        name="resnet",
        family=Family.CNN,
        anchors=("conv1.weight", "conv1.0.weight"),
        classifier="fc",
        plan=lambda weights: _checked(_plan(weights)),
        network=ResNet,
        settle=_settle,
        describe=_describe,
        renames=(
            (r"^(linear|classifier)\.(?=weight$|bias$)", "fc."),
            (r"^conv1\.0\.", "conv1."),
            (r"^conv1\.1\.", "bn1."),
            (r"^conv2_x\.", "layer1."),
            (r"^conv3_x\.", "layer2."),
            (r"^conv4_x\.", "layer3."),
            (r"^conv5_x\.", "layer4."),
            (r"^(layer\d+\.\d+)\.shortcut\.", r"\1.downsample."),
            (r"^(layer\d+\.\d+)\.(?:residual_function|left)\.0\.", r"\1.conv1."),
            (r"^(layer\d+\.\d+)\.(?:residual_function|left)\.1\.", r"\1.bn1."),
            (r"^(layer\d+\.\d+)\.(?:residual_function|left)\.3\.", r"\1.conv2."),
            (r"^(layer\d+\.\d+)\.(?:residual_function|left)\.4\.", r"\1.bn2."),
            (r"^(layer\d+\.\d+)\.(?:residual_function|left)\.6\.", r"\1.conv3."),
            (r"^(layer\d+\.\d+)\.(?:residual_function|left)\.7\.", r"\1.bn3."),
        ),
    )
)
