"""The models of the compatibility matrix: published architectures at sizes that run in seconds, and hand-written ones.

None of them has pretrained weights. Parameters and running statistics are redrawn (`randomised`): in a freshly
initialised network norms and many biases do nothing, and a wrong graph could agree with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 10
ALL_ONNX = ("dynamo-18", "dynamo-20", "legacy-17")
NO_FLAGS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Original:
    """A model, and the forms in which people share such a model."""

    name: str
    library: str
    """`timm`, `transformers`, `torchvision` or `hand-written`."""
    family: str
    make: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    forms: tuple[str, ...]
    """`safetensors`, `folder`, `dynamo-OPSET` or `legacy-OPSET`."""
    flags: Mapping[str, Any] = field(default_factory=lambda: NO_FLAGS)
    """What the user has to say about the bare weights: options of `auditcli.load`."""


def originals() -> tuple[Original, ...]:
    """All models of the matrix."""
    return (*_hand_written(), *_transformers(), *_timm(), *_torchvision())


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in evaluation mode, with parameters and running statistics as training leaves them: none is 0 or 1."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                noise = torch.randn(parameter.shape, generator=rng)
                if parameter.ndim > 1:
                    fan_in = parameter[0].numel()
                    parameter.copy_(noise / fan_in**0.5)
                elif name == "weight" or "gamma" in name or "lambda" in name:
                    parameter.copy_(1 + 0.2 * noise)
                else:
                    parameter.copy_(0.1 * noise)
            for name, buffer in module.named_buffers(recurse=False):
                if name == "running_mean":
                    buffer.copy_(0.1 * torch.randn(buffer.shape, generator=rng))
                elif name == "running_var":
                    buffer.copy_(0.5 + torch.rand(buffer.shape, generator=rng))
    return model.eval()


# ---- hand-written ---------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """A block of the small residual networks of CIFAR-10."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        """The same size, or half of it."""
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(out + self.shortcut(x))


class ResidualNet(nn.Module):
    """ResNet-18 for images of 32 x 32."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        for index in range(1, 5):
            inside, outside = widths[index - 1], widths[index]
            blocks = [Residual(inside, outside, 1 if index == 1 else 2), Residual(outside, outside, 1)]
            setattr(self, f"layer{index}", nn.Sequential(*blocks))
        self.linear = nn.Linear(8 * width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 3, 32, 32) -> logits."""
        x = torch.relu(self.bn1(self.conv1(x)))
        for index in range(1, 5):
            x = getattr(self, f"layer{index}")(x)
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


class Named(nn.Module):
    """An MLP whose layers are attributes."""

    def __init__(self, inside: int = 784, hidden: int = 128) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(inside, hidden), nn.Linear(hidden, 64), nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Images -> logits."""
        logits: Tensor = self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1))))))
        return logits


class Sign(torch.autograd.Function):
    """The sign, whose derivative is taken to be 1."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        """-1, 0 or 1."""
        return x.sign()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        """The gradient itself."""
        return gradient


class Binarised(nn.Module):
    """A network with weights of -1 and 1 and the sign as its activation."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.bn1, self.fc2 = nn.Linear(784, 64, bias=False), nn.BatchNorm1d(64), nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Images -> logits."""
        first = self.bn1(nn.functional.linear(x.flatten(1), self.fc1.weight.sign()))
        logits: Tensor = nn.functional.linear(torch.sign(first), self.fc2.weight.sign(), self.fc2.bias)
        return logits


def _sequential_mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 96), nn.GELU(), nn.Linear(96, CLASSES))


def _sequential_cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(784, CLASSES)),
    )


def _lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, CLASSES)),
    )


def _softmax_cnn() -> nn.Module:
    return nn.Sequential(_sequential_cnn(), nn.Softmax(1))


def _hand_written() -> tuple[Original, ...]:
    by = "hand-written"
    grey, colour = (1, 28, 28), (3, 32, 32)
    pooled = {"strides": "1", "paddings": "1", "pool": "max", "final": "flatten"}
    lenet = {"activation": "tanh", "strides": "1", "paddings": "2/0", "pool": "avg", "final": "flatten"}
    return (
        Original("MLP with named layers", by, "mlp", Named, grey, ("safetensors", *ALL_ONNX, "legacy-9", "dynamo-23")),
        Original(
            *("MLP, Sequential, gelu", by, "mlp", _sequential_mlp, colour, ("safetensors", *ALL_ONNX)),
            {"assume": {"activation": "gelu"}},
        ),
        Original(
            *("CNN, Sequential", by, "cnn", _sequential_cnn, grey, ("safetensors", *ALL_ONNX, "legacy-9", "dynamo-23")),
            {"assume": pooled},
        ),
        Original("LeNet-5", by, "cnn", _lenet, grey, ("safetensors", *ALL_ONNX), {"assume": lenet}),
        Original("CNN ending in softmax", by, "cnn", _softmax_cnn, grey, ALL_ONNX),
        Original("ResNet-18 for 32 x 32", by, "cnn", ResidualNet, colour, ("safetensors", *ALL_ONNX)),
        Original("binarised MLP", by, "bnn", Binarised, grey, ("legacy-17", "dynamo-20")),
    )


# ---- transformers ---------------------------------------------------------------------------------------------------


def _from_config(kind: str, /, **sizes: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import transformers

        # DeiT's three classifiers are told apart by `architectures`, which a new configuration leaves open.
        mapping: Any = transformers.CONFIG_MAPPING
        auto: Any = transformers.AutoModelForImageClassification
        config = mapping[kind](num_labels=CLASSES, architectures=[], **sizes)
        model: nn.Module = auto.from_config(config, attn_implementation="eager")
        return model

    return make


def _transformers() -> tuple[Original, ...]:
    plain = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    tokens = {**plain, "image_size": 32, "patch_size": 8}
    stages = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]}
    folder = ("folder", "legacy-17")
    rows: tuple[tuple[str, str, Mapping[str, Any], int, tuple[str, ...]], ...] = (
        ("vit", "vit", tokens, 32, ("folder", *ALL_ONNX)),
        ("deit", "vit", tokens, 32, folder),
        ("beit", "vit", tokens, 32, folder),
        ("dinov2", "vit", {**tokens, "mlp_ratio": 2}, 32, folder),
        (
            *("swin", "vit"),
            {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2]}
            | {"window_size": 4},
            *(32, folder),
        ),
        ("resnet", "cnn", {"embedding_size": 16, **stages, "layer_type": "bottleneck"}, 64, ("folder", *ALL_ONNX)),
        ("convnext", "cnn", stages, 64, ("folder", *ALL_ONNX)),
        ("convnextv2", "cnn", stages, 64, folder),
        ("regnet", "cnn", {"embedding_size": 16, **stages, "groups_width": 8}, 64, folder),
        ("mobilenet_v1", "cnn", {"image_size": 64, "depth_multiplier": 0.25}, 64, folder),
        ("mobilenet_v2", "cnn", {"image_size": 64, "depth_multiplier": 0.35}, 64, folder),
        (
            "efficientnet",
            "cnn",
            {"image_size": 64, "width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640},
            64,
            folder,
        ),
        ("poolformer", "cnn", {**stages, "mlp_ratio": 2.0}, 64, folder),
        ("bit", "cnn", {"embedding_size": 16, **stages, "num_groups": 4}, 64, folder),
        ("mobilevit", "hybrid", {"image_size": 64}, 64, folder),
    )
    return tuple(
        Original(f"{kind}, tiny", "transformers", family, _from_config(kind, **sizes), (3, side, side), forms)
        for kind, family, sizes, side, forms in rows
    )


# ---- timm -----------------------------------------------------------------------------------------------------------


def _from_timm(name: str, **more: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=CLASSES, **more)
        return model

    return make


def _timm() -> tuple[Original, ...]:
    every = ("safetensors", "folder", "dynamo-18", "legacy-17")
    rows: tuple[tuple[str, str, int, dict[str, Any], tuple[str, ...]], ...] = (
        ("resnet18", "cnn", 224, {}, every),
        ("resnet50", "cnn", 224, {}, ("safetensors", "folder")),
        ("resnext50_32x4d", "cnn", 224, {}, ("safetensors",)),
        ("wide_resnet50_2", "cnn", 224, {}, ("safetensors",)),
        ("densenet121", "cnn", 224, {}, every),
        ("vgg11_bn", "cnn", 224, {}, ("safetensors", "folder")),
        ("mobilenetv2_050", "cnn", 224, {}, every),
        ("mobilenetv3_small_050", "cnn", 224, {}, every),
        ("efficientnet_b0", "cnn", 224, {}, every),
        ("convnext_atto", "cnn", 224, {}, every),
        ("regnety_002", "cnn", 224, {}, every),
        ("vit_tiny_patch16_224", "vit", 224, {}, every),
        ("deit_tiny_patch16_224", "vit", 224, {}, ("safetensors", "folder")),
        ("swin_tiny_patch4_window7_224", "vit", 224, {}, ("folder", "legacy-17")),
        ("mixer_s32_224", "mixer", 224, {}, every),
        ("levit_128s", "hybrid", 224, {}, ("folder", "legacy-17")),
    )
    return tuple(
        Original(name, "timm", family, _from_timm(name, **more), (3, side, side), forms)
        for name, family, side, more, forms in rows
    )


# ---- torchvision ----------------------------------------------------------------------------------------------------


def _from_torchvision(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from torchvision import models  # type: ignore[import-not-found, unused-ignore]

        more = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
        model: nn.Module = models.get_model(name, weights=None, num_classes=CLASSES, **more)
        return model

    return make


def _torchvision() -> tuple[Original, ...]:
    bare = ("safetensors",)
    rows = (
        ("resnet34", "cnn", bare),
        ("resnet101", "cnn", bare),
        ("alexnet", "cnn", (*bare, "legacy-17")),
        ("vgg16", "cnn", bare),
        ("vgg13_bn", "cnn", bare),
        ("densenet169", "cnn", bare),
        ("mobilenet_v2", "cnn", (*bare, "dynamo-18", "legacy-17")),
        ("mobilenet_v3_small", "cnn", bare),
        ("squeezenet1_1", "cnn", (*bare, "legacy-17")),
        ("shufflenet_v2_x0_5", "cnn", (*bare, "legacy-17")),
        ("efficientnet_b0", "cnn", bare),
        ("convnext_tiny", "cnn", bare),
        ("vit_b_32", "vit", bare),
    )
    return tuple(
        Original(f"torchvision {name}", "torchvision", family, _from_torchvision(name), (3, 224, 224), forms)
        for name, family, forms in rows
    )
