"""Small networks exported by torch, and graphs written by hand, for the ONNX tests."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn


class Attention(nn.Module):
    """Patches, one attention layer whose batch size is baked in by some exporters, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.qkv, self.out, self.head = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 5)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[0]
        x = torch.cat([self.token.expand(n, 1, 8), self.patches(x).flatten(2).transpose(1, 2)], 1)
        q, k, v = self.qkv(self.norm(x)).reshape(n, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(n, 5, 8))
        return self.head(x[:, 0])


class Normalised(nn.Module):
    """A network whose graph begins with its normalisation."""

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net((x - self.mean) / self.std)


def mlp(act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """3 x 4 x 4 -> 4 classes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 12), act(), nn.Linear(12, 7), act(), nn.Linear(7, 4)).eval()


def cnn() -> nn.Sequential:
    """3 x 8 x 8 -> 5 classes."""
    body = (nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.SiLU())
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)).eval()


def _legacy(model: nn.Module, images: torch.Tensor, path: Path, opset: int | None) -> None:
    torch.onnx.export(model, (images[:1],), path, dynamo=False, opset_version=opset or 17)


def _dynamo(model: nn.Module, images: torch.Tensor, path: Path, opset: int | None) -> None:
    dynamic = ({0: torch.export.Dim("n")},)
    torch.onnx.export(model, (images,), path, dynamo=True, verbose=False, dynamic_shapes=dynamic, opset_version=opset)


EXPORTERS: dict[str, Callable[[nn.Module, torch.Tensor, Path, int | None], None]] = {
    "legacy": _legacy,
    "dynamo": _dynamo,
}


def export(
    model: nn.Module, shape: Sequence[int], path: Path, exporter: str = "legacy", opset: int | None = None
) -> nn.Module:
    """Write the model for images of that shape, with torch's own talk left out."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            EXPORTERS[exporter](model.eval(), torch.rand(2, *shape), path, opset)
    finally:
        logging.disable(logging.NOTSET)
    return model


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    *,
    takes: Sequence[object] = ("n", 4),
    gives: Sequence[object] = ("n", 3),
    kind: int = TensorProto.FLOAT,
    opset: int = 17,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """Write a graph from `x` to `y`."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, takes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, gives)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, path)
    return model


class HardSigmoid(nn.Module):
    """The formula: torch's own operator has no second derivative."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x / 6 + 0.5).clamp(0, 1)


class Gated(nn.Module):
    """3 x 8 x 8 -> 5 classes, with group norm and a channel gate as mobile networks have it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.gate = nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.Conv2d(8, 8, 1)
        self.head, self.act = nn.Linear(8, 5), nn.Hardsigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.hardswish(self.norm(self.body(x)))
        x = x * self.act(self.gate(x.mean((2, 3), keepdim=True)))
        return self.head(x.mean((2, 3)))


class Encoder(nn.Module):
    """3 x 8 x 8 -> 5 classes by torch's fused attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm, self.qkv = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 24)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        x = x + nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.head(x.mean(1))


def randomised(model: nn.Module) -> nn.Module:
    """With running statistics and scales other than those that networks begin with."""
    rng = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=rng) / 5
            module.running_var = torch.rand(module.num_features, generator=rng) + 0.5
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            module.weight.data = torch.rand(module.weight.shape, generator=rng) + 0.5
    return model.eval()


def linear(rows: int = 4, columns: int = 3) -> dict[str, np.ndarray]:
    """A weight `w` (in, out) and a bias `b`."""
    rng = np.random.default_rng(0)
    return {"w": rng.normal(size=(rows, columns)).astype("float32"), "b": rng.normal(size=columns).astype("float32")}
