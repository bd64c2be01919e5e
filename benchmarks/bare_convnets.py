"""Convolutional networks as people write them, and what only looks like one: `convnets`."""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from bare_case import COLOUR, GREY, Case, Functional
from torch import Tensor, nn
from torch.nn import functional

S = nn.Sequential


def lenet(act: Callable[[Tensor], Tensor], pool: Callable[..., Tensor]) -> Callable[[nn.Module, Tensor], Tensor]:
    """Two convolutions, each with its pooling, and three linear layers."""

    def run(net: Any, x: Tensor) -> Tensor:
        x = pool(act(net.conv1(x)), 2)
        x = pool(act(net.conv2(x)), 2).flatten(1)
        return net.fc3(act(net.fc2(act(net.fc1(x)))))

    return run


def _mnist_example(net: Any, x: Tensor) -> Tensor:
    x = functional.relu(net.conv2(functional.relu(net.conv1(x))))
    x = functional.max_pool2d(x, 2).flatten(1)
    return functional.log_softmax(net.fc2(functional.relu(net.fc1(x))), 1)


def _conv_bn(net: Any, x: Tensor) -> Tensor:
    x = functional.max_pool2d(functional.relu(net.bn1(net.conv1(x))), 2)
    x = functional.max_pool2d(functional.relu(net.bn2(net.conv2(x))), 2)
    return net.fc2(functional.relu(net.fc1(x.flatten(1))))


def _conv_bn_after(net: Any, x: Tensor) -> Tensor:
    x = functional.max_pool2d(net.bn1(functional.relu(net.conv1(x))), 2)
    x = functional.max_pool2d(net.bn2(functional.relu(net.conv2(x))), 2)
    return net.fc(x.flatten(1))


def _strided(net: Any, x: Tensor) -> Tensor:
    return net.fc(functional.relu(net.conv2(functional.relu(net.conv1(x)))).flatten(1))


def _averaged(net: Any, x: Tensor) -> Tensor:
    x = functional.max_pool2d(functional.relu(net.conv1(x)), 2)
    x = functional.max_pool2d(functional.relu(net.conv2(x)), 2)
    return net.fc(functional.relu(net.conv3(x)).mean((2, 3)))


def _conv_skip(net: Any, x: Tensor) -> Tensor:
    x = functional.relu(net.conv1(x))
    x = functional.relu(x + net.conv2(x))
    return net.fc(x.mean((2, 3)))


def _conv_shared(net: Any, x: Tensor) -> Tensor:
    x = functional.max_pool2d(functional.relu(net.conv1(x)), 2)
    x = functional.max_pool2d(functional.relu(net.conv2(x)), 2)
    return net.fc(functional.relu(net.conv2(x)).flatten(1))


def _conv_branches(net: Any, x: Tensor) -> Tensor:
    x = torch.cat([net.small(x), net.large(x)], 1)
    return net.fc(functional.relu(x).mean((2, 3)))


class SimpleBlock(nn.Module):
    """conv, bn, relu twice beside a shortcut, with plain names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return functional.relu(x + self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))))


def _small_resnet() -> nn.Module:
    return Functional(
        lambda net, x: net.fc(net.block2(net.block1(functional.relu(net.stem(x)))).mean((2, 3))),
        stem=nn.Conv2d(3, 8, 3, padding=1),
        block1=SimpleBlock(8),
        block2=SimpleBlock(8),
        fc=nn.Linear(8, 10),
    )


def _split(features: nn.Module, classifier: nn.Module) -> nn.Module:
    return Functional(
        lambda net, x: net.classifier(net.features(x).flatten(1)), features=features, classifier=classifier
    )


def _block(a: int, b: int, *, pool: bool) -> nn.Sequential:
    return S(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), *([nn.MaxPool2d(2)] if pool else []))


def _blocks() -> nn.Module:
    return Functional(
        lambda net, x: net.fc(net.layer3(net.layer2(net.layer1(x))).flatten(1)),
        layer1=_block(3, 8, pool=True),
        layer2=_block(8, 12, pool=True),
        layer3=_block(12, 16, pool=True),
        fc=nn.Linear(256, 10),
    )


def _separable(a: int, b: int, stride: int) -> nn.Sequential:
    return S(
        nn.Conv2d(a, a, 3, stride, 1, groups=a, bias=False),
        nn.BatchNorm2d(a),
        nn.ReLU(),
        nn.Conv2d(a, b, 1, bias=False),
        nn.BatchNorm2d(b),
        nn.ReLU(),
    )


def _mobile() -> nn.Module:
    stem = S(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    return S(
        stem, _separable(8, 12, 1), _separable(12, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )


def convnets() -> list[Case]:
    """All of them."""
    conv, lin, relu, flat = nn.Conv2d, nn.Linear, nn.ReLU, nn.Flatten
    pool, avg, gap = nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d

    def bn(n: int) -> nn.Module:
        return nn.BatchNorm2d(n)

    def five(channels: int, padding: int) -> dict[str, nn.Module]:
        return {
            "conv1": conv(channels, 6, 5, padding=padding),
            "conv2": conv(6, 16, 5),
            "fc1": lin(400, 24),
            "fc2": lin(24, 20),
            "fc3": lin(20, 10),
        }

    def same(act: str, **more: str) -> dict[str, str]:
        return {"activation": act, "strides": "1", "paddings": "1", "pool": "max", "final": "flatten", **more}

    return [
        Case(
            "conv Sequential, max pool",
            lambda: S(
                conv(1, 6, 3, padding=1),
                relu(),
                pool(2),
                conv(6, 8, 3, padding=1),
                relu(),
                pool(2),
                flat(),
                lin(392, 10),
            ),
            GREY,
            same("relu"),
        ),
        Case(
            "conv Sequential, stride 2",
            lambda: S(conv(1, 6, 3, 2, 1), relu(), conv(6, 8, 3, 2, 1), relu(), flat(), lin(392, 10)),
            GREY,
            same("relu", strides="2", pool="none"),
        ),
        Case(
            "conv Sequential, batch norm before, pool",
            lambda: S(
                conv(3, 6, 3, padding=1),
                bn(6),
                relu(),
                pool(2),
                conv(6, 8, 3, padding=1),
                bn(8),
                relu(),
                pool(2),
                flat(),
                lin(512, 20),
                relu(),
                nn.Dropout(),
                lin(20, 10),
            ),
            COLOUR,
            same("relu", norm="before"),
        ),
        Case(
            "conv Sequential, batch norm after, pool",
            lambda: S(
                conv(3, 6, 3, padding=1),
                relu(),
                bn(6),
                pool(2),
                conv(6, 8, 3, padding=1),
                relu(),
                bn(8),
                pool(2),
                flat(),
                lin(512, 10),
            ),
            COLOUR,
            same("relu", norm="after"),
        ),
        Case(
            "conv Sequential, batch norm behind the pool",
            lambda: S(
                conv(3, 6, 3, padding=1),
                relu(),
                pool(2),
                bn(6),
                conv(6, 8, 3, padding=1),
                relu(),
                pool(2),
                bn(8),
                flat(),
                lin(512, 10),
            ),
            COLOUR,
            same("relu", norm="last"),
        ),
        Case(
            "conv Sequential, gelu, average pool",
            lambda: S(
                conv(1, 6, 3, padding=1),
                nn.GELU(),
                avg(2),
                conv(6, 8, 3, padding=1),
                nn.GELU(),
                avg(2),
                flat(),
                lin(392, 10),
            ),
            GREY,
            same("gelu", pool="avg"),
        ),
        Case(
            "conv Sequential, dropout behind the pool",
            lambda: S(
                conv(3, 6, 3, padding=1),
                relu(),
                pool(2),
                nn.Dropout2d(),
                conv(6, 8, 3, padding=1),
                relu(),
                pool(2),
                nn.Dropout2d(),
                flat(),
                lin(512, 10),
            ),
            COLOUR,
            same("relu"),
        ),
        Case(
            "conv Sequential, VGG-like",
            lambda: S(
                conv(3, 6, 3, padding=1),
                relu(),
                conv(6, 6, 3, padding=1),
                relu(),
                pool(2),
                conv(6, 8, 3, padding=1),
                relu(),
                conv(8, 8, 3, padding=1),
                relu(),
                pool(2),
                flat(),
                lin(512, 20),
                relu(),
                lin(20, 10),
            ),
            COLOUR,
            same("relu", pool="none/max/none/max"),
        ),
        Case(
            "conv Sequential, global average",
            lambda: S(
                conv(3, 6, 3, padding=1),
                bn(6),
                relu(),
                pool(2),
                conv(6, 8, 3, padding=1),
                bn(8),
                relu(),
                pool(2),
                conv(8, 12, 3, padding=1),
                bn(12),
                relu(),
                gap(1),
                flat(),
                lin(12, 10),
            ),
            COLOUR,
            same("relu", pool="max/max/none", final="average", norm="before"),
        ),
        Case(
            "conv Sequential, stride 2, global average",
            lambda: S(
                conv(3, 6, 3, 2, 1), bn(6), relu(), conv(6, 8, 3, 2, 1), bn(8), relu(), gap(1), flat(), lin(8, 10)
            ),
            COLOUR,
            same("relu", strides="2", pool="none", final="average", norm="before"),
        ),
        Case(
            "conv Sequential, no padding",
            lambda: S(conv(1, 6, 3), relu(), conv(6, 8, 3), relu(), pool(2), flat(), lin(1152, 10)),
            GREY,
            same("relu", paddings="0", pool="none/max"),
        ),
        Case(
            "conv Sequential, 1x1 convolutions",
            lambda: S(
                conv(3, 8, 3, padding=1),
                relu(),
                conv(8, 6, 1),
                relu(),
                pool(2),
                conv(6, 8, 3, padding=1),
                relu(),
                pool(2),
                flat(),
                lin(512, 10),
            ),
            COLOUR,
            same("relu", paddings="1/0/1", pool="none/max/max"),
        ),
        Case(
            "conv Sequential, dilation",
            lambda: S(
                conv(1, 6, 3, padding=2, dilation=2),
                relu(),
                pool(2),
                conv(6, 8, 3, padding=2, dilation=2),
                relu(),
                pool(2),
                flat(),
                lin(392, 10),
            ),
            GREY,
            same("relu", paddings="2", dilations="2"),
        ),
        Case(
            "conv Sequential, groups",
            lambda: S(
                conv(3, 8, 3, padding=1),
                relu(),
                pool(2),
                conv(8, 12, 3, padding=1, groups=4),
                relu(),
                pool(2),
                flat(),
                lin(768, 10),
            ),
            COLOUR,
            same("relu"),
        ),
        Case(
            "conv Sequential, 4x4 kernels of stride 2",
            lambda: S(
                conv(3, 8, 4, 2, 1),
                nn.LeakyReLU(0.2),
                conv(8, 12, 4, 2, 1),
                bn(12),
                nn.LeakyReLU(0.2),
                flat(),
                lin(768, 10),
            ),
            COLOUR,
            same("leaky_relu(0.2)", strides="2", pool="none", norm="before"),
        ),
        Case(
            "conv Sequential, reflecting borders",
            lambda: S(conv(3, 6, 3, padding=1, padding_mode="reflect"), relu(), pool(2), flat(), lin(1536, 10)),
            COLOUR,
            same("relu", paddings="reflecting"),
        ),
        Case(
            "conv Sequential, instance norm without weights",
            lambda: S(conv(3, 6, 3, padding=1), nn.InstanceNorm2d(6), relu(), pool(2), flat(), lin(1536, 10)),
            COLOUR,
            {**same("relu"), "between_layers": "instance norm"},
        ),
        Case(
            "features and classifier, VGG-like",
            lambda: _split(
                S(
                    conv(3, 6, 3, padding=1),
                    relu(),
                    pool(2),
                    conv(6, 8, 3, padding=1),
                    relu(),
                    conv(8, 8, 3, padding=1),
                    relu(),
                    pool(2),
                ),
                S(nn.Dropout(), lin(512, 20), relu(), lin(20, 10)),
            ),
            COLOUR,
            same("relu", pool="max/none/max"),
        ),
        Case(
            "features and fc, batch norm",
            lambda: _split(
                S(conv(1, 6, 3, padding=1), bn(6), relu(), pool(2), conv(6, 8, 3, padding=1), bn(8), relu(), pool(2)),
                lin(392, 10),
            ),
            GREY,
            same("relu", norm="before"),
        ),
        Case("blocks as Sequentials", _blocks, COLOUR, same("relu", norm="before")),
        Case(
            "separable convolutions",
            _mobile,
            COLOUR,
            {
                "activation": "relu",
                "norm": "before",
                "strides": "2/1/1/2/1",
                "paddings": "1/1/0/1/0",
                "pool": "none",
                "final": "average",
            },
        ),
        Case(
            "LeNet, tanh and average pool",
            lambda: Functional(lenet(torch.tanh, functional.avg_pool2d), **five(1, 2)),
            GREY,
            same("tanh", paddings="2/0", pool="avg"),
        ),
        Case(
            "LeNet, relu and max pool, colour",
            lambda: Functional(lenet(functional.relu, functional.max_pool2d), **five(3, 0)),
            COLOUR,
            same("relu", paddings="0"),
        ),
        Case(
            "LeNet on 32x32 grey",
            lambda: Functional(lenet(functional.relu, functional.max_pool2d), **five(1, 0)),
            (1, 32, 32),
            same("relu", paddings="0"),
        ),
        Case(
            "conv1 conv2 fc1 fc2, one pool",
            lambda: Functional(
                _mnist_example, conv1=conv(1, 6, 3), conv2=conv(6, 8, 3), fc1=lin(1152, 20), fc2=lin(20, 10)
            ),
            GREY,
            same("relu", paddings="0", pool="none/max"),
            probabilities=True,
        ),
        Case(
            "conv1 bn1 conv2 bn2, pools",
            lambda: Functional(
                _conv_bn,
                conv1=conv(1, 6, 3, padding=1),
                bn1=bn(6),
                conv2=conv(6, 8, 3, padding=1),
                bn2=bn(8),
                fc1=lin(392, 20),
                fc2=lin(20, 10),
            ),
            GREY,
            same("relu", norm="before"),
        ),
        Case(
            "conv1 bn1, norm after, pools",
            lambda: Functional(
                _conv_bn_after,
                conv1=conv(3, 6, 3, padding=1),
                bn1=bn(6),
                conv2=conv(6, 8, 3, padding=1),
                bn2=bn(8),
                fc=lin(512, 10),
            ),
            COLOUR,
            same("relu", norm="after"),
        ),
        Case(
            "conv1 conv2, stride 2",
            lambda: Functional(_strided, conv1=conv(1, 6, 3, 2, 1), conv2=conv(6, 8, 3, 2, 1), fc=lin(392, 10)),
            GREY,
            same("relu", strides="2", pool="none"),
        ),
        Case(
            "conv1 conv2, 5x5 of stride 2, no padding",
            lambda: Functional(_strided, conv1=conv(1, 6, 5, 2), conv2=conv(6, 8, 5, 2), fc=lin(128, 10)),
            GREY,
            same("relu", strides="2", paddings="0", pool="none"),
        ),
        Case(
            "conv1 conv2 conv3, averaged",
            lambda: Functional(
                _averaged,
                conv1=conv(3, 6, 3, padding=1),
                conv2=conv(6, 8, 3, padding=1),
                conv3=conv(8, 12, 3, padding=1),
                fc=lin(12, 10),
            ),
            COLOUR,
            same("relu", pool="max/max/none", final="average"),
        ),
        Case(
            "conv with a shortcut",
            lambda: Functional(
                _conv_skip, conv1=conv(3, 8, 3, padding=1), conv2=conv(8, 8, 3, padding=1), fc=lin(8, 10)
            ),
            COLOUR,
            same("relu", final="average", pool="none", graph="shortcut"),
        ),
        Case(
            "a convolution used twice",
            lambda: Functional(
                _conv_shared, conv1=conv(3, 8, 3, padding=1), conv2=conv(8, 8, 3, padding=1), fc=lin(512, 10)
            ),
            COLOUR,
            same("relu", graph="shared"),
        ),
        Case(
            "two branches",
            lambda: Functional(
                _conv_branches, small=conv(3, 8, 3, padding=1), large=conv(3, 8, 5, padding=2), fc=lin(16, 10)
            ),
            COLOUR,
            {"graph": "branches"},
        ),
        Case("small residual network", _small_resnet, COLOUR, {"graph": "shortcut"}),
        Case(
            "group norm",
            lambda: S(conv(3, 8, 3, padding=1), nn.GroupNorm(2, 8), relu(), pool(2), flat(), lin(2048, 10)),
            COLOUR,
            same("relu", graph="group norm"),
        ),
        Case(
            "PReLU",
            lambda: S(conv(3, 8, 3, padding=1), nn.PReLU(), pool(2), flat(), lin(2048, 10)),
            COLOUR,
            same("relu", graph="prelu"),
        ),
    ]
