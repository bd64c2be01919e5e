"""ONNX graphs of all versions and exporters, through each converter."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from onnx_examples import Attention, Encoder, Gated, HardSigmoid, cnn, export, randomised, write
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from auditcli.loading import load
from auditcli.loading.conversion import conversion
from auditcli.loading.conversion.converters import CONVERTERS
from auditcli.types import Graph

IMAGE = (3, 8, 8)
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
QUICK = {"light_squeezenet", "light_shufflenet", "light_inception_v1"}
"""Of the light models; the others take up to 20 seconds each."""


def _each(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """The file through each converter alone."""
    graphs = []
    for converter in CONVERTERS:
        monkeypatch.setattr(conversion, "CONVERTERS", (converter,))
        graph = load(path).graph
        assert graph is not None
        assert graph.converter.startswith(converter.name)
        graphs.append(graph)
    return graphs


def _same(path: Path, model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(3, *IMAGE)
    with torch.no_grad():
        wanted = model(images)
    derivatives = []
    for graph in _each(path, monkeypatch):
        assert torch.allclose(graph.module(images), wanted, atol=1e-5)
        derivatives.append(_derivatives(graph.module, images))
    if isinstance(model, Gated):
        model.act = HardSigmoid()
    for ours in derivatives:
        for found, right in zip(ours, _derivatives(model, images), strict=True):
            assert (found - right).norm() <= 1e-3 * right.norm()


def _derivatives(net: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    images = images.clone().requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        (first,) = torch.autograd.grad(net(images).square().sum(), images, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), images)
    return first.detach(), second


@pytest.mark.parametrize("opset", range(9, 24))
def test_every_version_of_the_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opset: int) -> None:
    rng = np.random.default_rng(0)
    shapes = {"k": (4, 3, 3, 3), "s": (4,), "o": (4,), "m": (4,), "w": (16, 5), "b": (5,)}
    weights = {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    weights |= {"v": rng.random(4, dtype=np.float32) + 0.5, "flat": np.array([0, 16], dtype=np.int64)}
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "o", "m", "v"], ["n"]),
        helper.make_node("LeakyRelu", ["n"], ["a"], alpha=0.1),
        helper.make_node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("AveragePool", ["p"], ["q"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Transpose", ["q"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["t", "flat"], ["f"]),
    ]
    if opset >= 18:
        weights["axes"] = np.array([1], dtype=np.int64)
        nodes.append(helper.make_node("ReduceMean", ["f", "axes"], ["mean"], keepdims=1))
    else:
        nodes.append(helper.make_node("ReduceMean", ["f"], ["mean"], axes=[1], keepdims=1))
    nodes += [
        helper.make_node("Sub", ["f", "mean"], ["g"]),
        helper.make_node("Dropout", ["g"], ["d"]),
        helper.make_node("Gemm", ["d", "w", "b"], ["y"]),
    ]
    write(tmp_path / "m.onnx", nodes, weights, takes=("n", *IMAGE), gives=("n", 5), opset=opset)
    images = torch.rand(3, *IMAGE)
    first, second = (graph.module(images) for graph in _each(tmp_path / "m.onnx", monkeypatch))
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    wanted = torch.from_numpy(session.run(None, {"x": images.numpy()})[0])
    assert torch.allclose(first, wanted, atol=1e-4)
    assert torch.allclose(second, wanted, atol=1e-4)


@pytest.mark.parametrize("make", [Gated, Encoder])
def test_the_current_exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], nn.Module]) -> None:
    _same(tmp_path / "m.onnx", export(randomised(make()), IMAGE, tmp_path / "m.onnx", "dynamo"), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("make", [cnn, Gated, Encoder, Attention])
@pytest.mark.parametrize("opset", range(18, 24))
def test_the_current_exporter_at_every_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], nn.Module], opset: int
) -> None:
    model = export(randomised(make()), IMAGE, tmp_path / "m.onnx", "dynamo", opset)
    assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == opset
    _same(tmp_path / "m.onnx", model, monkeypatch)


@pytest.mark.parametrize(("make", "lowest"), [(cnn, 9), (Gated, 14), (Attention, 9), (Encoder, 14)])
def test_the_older_exporter_at_every_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], nn.Module], lowest: int
) -> None:
    for opset in range(lowest, 21):
        model = export(randomised(make()), IMAGE, tmp_path / "m.onnx", "legacy", opset)
        _same(tmp_path / "m.onnx", model, monkeypatch)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow)
        for path in sorted(LIGHT.glob("*.onnx"))
    ],
)
def test_the_light_models_of_onnx(path: Path) -> None:
    graph = load(path).graph
    assert graph is not None
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(7))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    wanted = torch.cat([torch.from_numpy(session.run(None, {name: image[None].numpy()})[0]) for image in images])
    with torch.no_grad():
        logits = graph.module(images)
    ours = logits.softmax(1) if graph.final == "Softmax" else logits
    assert torch.allclose(ours, wanted.flatten(1), atol=1e-4)
