"""ONNX graphs in the forms that people share them in, through each converter, against what they were made from."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_examples import Attention, Gated, HardSigmoid, cnn, export, linear, mlp, randomised, write
from torch import nn

from auditcli.errors import LoadError
from auditcli.loading import load
from auditcli.loading.conversion import conversion
from auditcli.loading.conversion.converters import CONVERTERS
from auditcli.types import Graph

IMAGE = (3, 8, 8)


@pytest.fixture(params=[converter.name for converter in CONVERTERS])
def converter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each converter alone: what only one of them can do would otherwise hide behind it."""
    pytest.importorskip("onnx2fx" if request.param == "onnx2fx" else "onnx2torch.onnx_tensor")
    chosen = tuple(known for known in CONVERTERS if known.name == request.param)
    monkeypatch.setattr(conversion, "CONVERTERS", chosen)
    return str(request.param)


def _graph(path: Path) -> Graph:
    graph = load(path).graph
    assert graph is not None
    return graph


def _evaluated(path: Path, images: np.ndarray) -> torch.Tensor:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return torch.from_numpy(np.concatenate([session.run(None, {name: image[None]})[0] for image in images])).float()


def _twice_differentiable(
    graph: Graph, images: torch.Tensor, reference: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    images = images.clone().requires_grad_()
    derivatives = []
    for net in (graph.module, reference):
        (first,) = torch.autograd.grad(net(images).square().sum(), images, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), images)
        derivatives.append((first.detach(), second))
    for ours, theirs in zip(*derivatives, strict=True):
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()


# ---- what exporters write -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [cnn, Attention, Gated])
def test_exported_networks_through_each_converter(
    tmp_path: Path, converter: str, make: Callable[[], nn.Module]
) -> None:
    model = export(randomised(make()), IMAGE, tmp_path / "m.onnx")
    graph = _graph(tmp_path / "m.onnx")
    assert graph.converter.startswith(converter)
    assert graph.opset == 17
    assert graph.gradient_difference < 1e-5
    assert graph.notes == ()
    images = torch.rand(3, *IMAGE)
    assert torch.allclose(graph.module(images), model(images), atol=1e-5)
    if make is Gated:
        model.act = HardSigmoid()  # torch's own has no second derivative.
    _twice_differentiable(graph, images, model)


def test_weights_are_parameters_and_statistics_are_not(tmp_path: Path, converter: str) -> None:
    model = randomised(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 5)))
    export(model, IMAGE, tmp_path / "m.onnx")
    graph = _graph(tmp_path / "m.onnx")
    assert [node.op for node in graph.nodes] == ["BatchNormalization", "Conv", "Flatten", "Gemm"]
    ours, theirs = (sorted(p.numel() for p in net.parameters() if p.numel() > 1) for net in (graph.module, model))
    assert ours == theirs
    assert not any(parameter.requires_grad for parameter in graph.module.parameters())
    weights = [parameter.requires_grad_() for parameter in graph.module.parameters()]
    gradients = torch.autograd.grad(graph.module(torch.rand(2, *IMAGE)).square().sum(), weights)
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize(
    ("make", "batching"), [(cnn, "any number at once"), (Attention, "fixed to one image, vectorised")]
)
def test_how_several_images_run_is_said(tmp_path: Path, make: Callable[[], nn.Module], batching: str) -> None:
    model = export(make(), IMAGE, tmp_path / "m.onnx")
    graph = _graph(tmp_path / "m.onnx")
    assert graph.batching == batching
    images = torch.rand(5, *IMAGE)
    assert torch.allclose(graph.module(images), model(images), atol=1e-5)


def test_an_image_that_depends_on_the_others_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("ReduceMean", ["h"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Mul", ["mean", "half"], ["part"]),
        helper.make_node("Sub", ["h", "part"], ["y"]),
    ]
    write(tmp_path / "m.onnx", nodes, linear() | {"half": np.array(0.5, dtype="float32")})
    with pytest.raises(LoadError, match="something else for several images at once"):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize("taken", ["then_branch", "else_branch"])
def test_a_branch_that_is_always_taken_is_followed(tmp_path: Path, converter: str, taken: str) -> None:
    def branch(sign: float) -> onnx.GraphProto:
        value = helper.make_empty_tensor_value_info(f"signed {sign}")
        weight = numpy_helper.from_array(np.array(sign, dtype="float32"), f"sign {sign}")
        return helper.make_graph(
            [helper.make_node("Mul", ["z", weight.name], [value.name])], "b", [], [value], [weight]
        )

    other = "else_branch" if taken == "then_branch" else "then_branch"
    chosen = helper.make_node("If", ["is"], ["y"], **{taken: branch(2.0), other: branch(-1.0)})
    wide = np.array(1 if taken == "then_branch" else 0, dtype=np.int64)
    nodes = [
        helper.make_node("Shape", ["w"], ["shape"]),
        helper.make_node("Gather", ["shape", "wide"], ["size"]),
        helper.make_node("Equal", ["size", "three"], ["is"]),
        chosen,
    ]
    _ending(tmp_path / "m.onnx", nodes, wide=wide, three=np.array(3, dtype=np.int64))
    images = torch.rand(3, 4)
    assert torch.allclose(_graph(tmp_path / "m.onnx").module(images), 2 * _logits(images), atol=1e-5)


def test_a_branch_that_pixels_choose_is_refused_by_name(tmp_path: Path) -> None:
    branches = {
        name: helper.make_graph(
            [helper.make_node(op, ["z"], [name])], name, [], [helper.make_empty_tensor_value_info(name)]
        )
        for name, op in (("then_branch", "Relu"), ("else_branch", "Neg"))
    }
    nodes = [
        helper.make_node("ReduceMax", ["z"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "zero"], ["is"]),
        helper.make_node("If", ["is"], ["y"], **branches),
    ]
    _ending(tmp_path / "m.onnx", nodes, zero=np.array(0, dtype="float32"))
    with pytest.raises(LoadError, match="If chooses between operators"):
        load(tmp_path / "m.onnx")


# ---- other types ----------------------------------------------------------------------------------------------------


def _in_type(model: onnx.ModelProto, kind: int) -> onnx.ModelProto:
    """The float32 model with all of it in another floating-point type."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(dtype)))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = kind
    del model.graph.value_info[:]
    return model


@pytest.mark.parametrize(("kind", "said"), [(TensorProto.FLOAT16, "float16"), (TensorProto.DOUBLE, "float64")])
@pytest.mark.parametrize("make", [mlp, cnn])
def test_other_floats_become_float32(
    tmp_path: Path, converter: str, kind: int, said: str, make: Callable[[], nn.Module]
) -> None:
    if make is cnn and kind == TensorProto.DOUBLE:
        pytest.skip("onnxruntime has no convolution in float64")
    shape = (3, 4, 4) if make is mlp else IMAGE
    model = export(make(), shape, tmp_path / "m.onnx")
    onnx.save(_in_type(onnx.load(tmp_path / "m.onnx"), kind), tmp_path / "m.onnx")
    graph = _graph(tmp_path / "m.onnx")
    assert graph.notes == (f"{said} weights and operators are computed in float32",)
    images = torch.rand(3, *shape)
    assert graph.module(images).dtype == torch.float32
    assert torch.allclose(graph.module(images), model(images), atol=1e-5 if said == "float64" else 5e-3)


def _uint8(path: Path, *, layout: str, to: int = TensorProto.FLOAT) -> dict[str, np.ndarray]:
    """Pixels as they are stored -> float, / 255, (x - mean) / std, mean over the image, linear."""
    weights = linear(3) | {
        "max": np.array(255, dtype="float32"),
        "mean": np.array([0.5, 0.4, 0.3], dtype="float32").reshape(1, 3, 1, 1),
        "std": np.array([0.2, 0.3, 0.4], dtype="float32").reshape(1, 3, 1, 1),
    }
    first = {
        "cast": [helper.make_node("Cast", ["x"], ["f"], to=to), helper.make_node("Identity", ["f"], ["t"])],
        "channels last": [
            helper.make_node("Transpose", ["x"], ["p"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["p"], ["t"], to=to),
        ],
    }[layout]
    nodes = [
        *first,
        helper.make_node("Div", ["t", "max"], ["unit"]),
        helper.make_node("Sub", ["unit", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normalised"]),
        helper.make_node("GlobalAveragePool", ["normalised"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["y"]),
    ]
    takes = ("n", 3, 6, 6) if layout == "cast" else ("n", 6, 6, 3)
    write(path, nodes, weights, takes=takes, kind=TensorProto.UINT8)
    return weights


@pytest.mark.parametrize("layout", ["cast", "channels last"])
def test_uint8_pixels_become_floats_that_gradients_reach(tmp_path: Path, converter: str, layout: str) -> None:
    weights = _uint8(tmp_path / "m.onnx", layout=layout)
    graph = _graph(tmp_path / "m.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (4, *graph.input_shape[1:]), dtype=np.uint8)
    images = torch.from_numpy(pixels.astype("float32") / 255).requires_grad_()
    assert torch.allclose(graph.module(images), _evaluated(tmp_path / "m.onnx", pixels), atol=1e-5)
    assert [node.op for node in graph.nodes][:1] == ["Mul"]
    assert any("uint8" in note for note in graph.notes)
    (gradient,) = torch.autograd.grad(graph.module(images).sum(), images)
    colours = (0, 2, 3) if layout == "cast" else (0, 1, 2)
    wanted = torch.from_numpy(weights["w"]).sum(1) / torch.tensor([0.2, 0.3, 0.4]) / 36
    assert torch.allclose(gradient.mean(colours), wanted, rtol=1e-4)


def test_arithmetic_on_uint8_pixels_is_refused_by_name(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Div", ["x", "two"], ["half"]),
        helper.make_node("Cast", ["half"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    write(tmp_path / "m.onnx", nodes, linear() | {"two": np.array(2, dtype=np.uint8)}, kind=TensorProto.UINT8)
    with pytest.raises(LoadError, match="Div computes with uint8 pixels"):
        load(tmp_path / "m.onnx")


# ---- quantised ------------------------------------------------------------------------------------------------------


def _quantised(path: Path, shape: Sequence[int], *, how: str) -> Path:
    """Static quantisation on random pixels, or dynamic quantisation, as onnxruntime writes them."""
    from onnxruntime import quantization

    class Pixels(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            name, rng = onnx.load(path).graph.input[0].name, np.random.default_rng(0)
            self.batches = iter([{name: rng.random((1, *shape), dtype=np.float32)} for _ in range(8)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    out, style = path.with_name("quantised.onnx"), quantization.QuantFormat
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            if how == "dynamic":
                quantization.quantize_dynamic(path, out)
            else:
                form = style.QOperator if how == "operators" else style.QDQ
                per_channel = how == "per channel"
                quantization.quantize_static(path, out, Pixels(), quant_format=form, per_channel=per_channel)
    finally:
        logging.disable(logging.NOTSET)
    return out


@pytest.mark.parametrize("how", ["per tensor", "per channel", "dynamic"])
@pytest.mark.parametrize("make", [mlp, cnn])
def test_quantised_graphs_run_in_floats(
    tmp_path: Path, converter: str, how: str, make: Callable[[], nn.Module]
) -> None:
    torch.manual_seed(0)
    shape = (3, 4, 4) if make is mlp else IMAGE
    model = export(randomised(make()), shape, tmp_path / "m.onnx")
    path = _quantised(tmp_path / "m.onnx", shape, how=how)
    graph = _graph(path)
    images = torch.rand(6, *shape)
    ours, theirs = graph.module(images), _evaluated(path, images.numpy())
    assert (ours - theirs).norm() < 0.05 * theirs.norm()
    assert (ours - model(images)).norm() < 0.2 * theirs.norm()
    assert any("quantised" in note for note in graph.notes)
    assert not {"QuantizeLinear", "DequantizeLinear", "MatMulInteger"} & {node.op for node in graph.nodes}
    pixels = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(graph.module(pixels).square().sum(), pixels)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_activations_that_only_the_quantisers_hold_are_kept(tmp_path: Path) -> None:
    export(mlp(), (3, 4, 4), tmp_path / "m.onnx")
    path = _quantised(tmp_path / "m.onnx", (3, 4, 4), how="per tensor")
    assert "Relu" not in {node.op_type for node in onnx.load(path).graph.node}
    operators = [node.op for node in _graph(path).nodes]
    assert operators[:7] == ["Flatten", "Gemm", "Relu", "Min", "Gemm", "Relu", "Min"]


def test_integer_operators_are_refused_by_name(tmp_path: Path) -> None:
    export(nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()).eval(), IMAGE, tmp_path / "m.onnx")
    path = _quantised(tmp_path / "m.onnx", IMAGE, how="operators")
    assert "QLinearConv" in {node.op_type for node in onnx.load(path).graph.node}
    with pytest.raises(LoadError, match="QLinearConv computes with quantised integers"):
        load(path)


# ---- ends -----------------------------------------------------------------------------------------------------------


def _ending(
    path: Path, nodes: Sequence[onnx.NodeProto], gives: Sequence[object] = ("n", 3), **more: np.ndarray
) -> None:
    write(path, [helper.make_node("Gemm", ["x", "w", "b"], ["z"]), *nodes], linear() | more, gives=gives)


def _logits(images: torch.Tensor) -> torch.Tensor:
    weights = {name: torch.from_numpy(array) for name, array in linear().items()}
    return images @ weights["w"] + weights["b"]


@pytest.mark.parametrize("behind", ["Identity", "Cast", "Reshape", "Squeeze"])
def test_a_softmax_behind_other_operators_is_found(tmp_path: Path, converter: str, behind: str) -> None:
    shape = np.array([-1, 3], dtype=np.int64)
    after = {
        "Identity": [helper.make_node("Identity", ["p"], ["y"])],
        "Cast": [helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT)],
        "Reshape": [helper.make_node("Reshape", ["p", "shape"], ["y"])],
        "Squeeze": [
            helper.make_node("Unsqueeze", ["p", "axis"], ["u"]),
            helper.make_node("Squeeze", ["u", "axis"], ["y"]),
        ],
    }[behind]
    more = {"shape": shape, "axis": np.array([2], dtype=np.int64)}
    _ending(tmp_path / "m.onnx", [helper.make_node("Softmax", ["z"], ["p"], axis=1), *after], **more)
    graph = _graph(tmp_path / "m.onnx")
    images = torch.rand(5, 4)
    assert graph.final == "Softmax"
    assert torch.allclose(graph.module(images), _logits(images), atol=1e-5)
    assert "Softmax" in graph.nodes[-1].op
    assert graph.nodes[-1].inputs == (graph.output_name,)


@pytest.mark.parametrize("final", ["Softmax", "LogSoftmax"])
def test_probabilities_without_a_softmax_operator_are_found(tmp_path: Path, converter: str, final: str) -> None:
    nodes = [
        helper.make_node("ReduceLogSumExp", ["z"], ["log_sum"], axes=[1]),
        helper.make_node("Sub", ["z", "log_sum"], ["y" if final == "LogSoftmax" else "log_p"]),
    ]
    nodes += [helper.make_node("Exp", ["log_p"], ["y"])] if final == "Softmax" else []
    _ending(tmp_path / "m.onnx", nodes)
    graph = _graph(tmp_path / "m.onnx")
    images = torch.rand(5, 4)
    assert graph.final == final
    assert torch.allclose(graph.module(images).softmax(1), _logits(images).softmax(1), atol=1e-5)
    assert graph.module(images).exp().sum(1) == pytest.approx(torch.ones(5))
    assert (graph.notes != ()) is (final == "Softmax")


def test_a_softmax_over_something_else_than_classes_stays(tmp_path: Path) -> None:
    nodes = [helper.make_node("Softmax", ["z"], ["p"], axis=1), helper.make_node("Mul", ["p", "two"], ["y"])]
    _ending(tmp_path / "m.onnx", nodes, two=np.array(2, dtype="float32"))
    graph = _graph(tmp_path / "m.onnx")
    images = torch.rand(5, 4)
    assert graph.final == ""
    assert torch.allclose(graph.module(images), 2 * _logits(images).softmax(1), atol=1e-5)


@pytest.mark.parametrize("gives", [("n", 3, 1, 1), ("n", 1, 1, 3), (1, 3, 1)])
def test_classes_among_axes_of_size_one_are_flattened(tmp_path: Path, gives: tuple[object, ...]) -> None:
    shape = np.array([-1, *gives[1:]], dtype=np.int64)
    _ending(tmp_path / "m.onnx", [helper.make_node("Reshape", ["z", "shape"], ["y"])], gives=gives, shape=shape)
    images = torch.rand(5, 4)
    assert torch.allclose(_graph(tmp_path / "m.onnx").module(images), _logits(images), atol=1e-5)


# ---- operators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("side", [7, 8])
def test_channels_last_with_automatic_padding(tmp_path: Path, converter: str, mode: str, side: int) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.normal(size=(4, 3, 3, 2)).astype("float32"),
        "w": rng.normal(size=(4, 3)).astype("float32"),
        "b": rng.normal(size=3).astype("float32"),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "kernel"], ["c"], auto_pad=mode, strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["m"], auto_pad=mode, kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("AveragePool", ["m"], ["a"], auto_pad=mode, kernel_shape=[2, 2], strides=[1, 1]),
        helper.make_node("ReduceMean", ["a"], ["f"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    if converter == "onnx2torch":  # It has no average over windows that are padded on one side.
        nodes[4] = helper.make_node("Identity", ["m"], ["a"])
    side += 4 if mode == "VALID" else 0
    write(tmp_path / "m.onnx", nodes, weights, takes=("n", side, side, 3))
    graph = _graph(tmp_path / "m.onnx")
    images = torch.rand(3, side, side, 3)
    assert graph.input_shape == (None, side, side, 3)
    assert torch.allclose(graph.module(images), _evaluated(tmp_path / "m.onnx", images.numpy()), atol=1e-5)


def test_binary_networks_load_and_their_gradient_is_zero(tmp_path: Path, converter: str) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"]),
        helper.make_node("Sign", ["h"], ["s"]),
        helper.make_node("Gemm", ["s", "w", "b"], ["y"]),
    ]
    first = linear(9, 4)
    write(tmp_path / "m.onnx", nodes, linear() | {"w0": first["w"], "b0": first["b"]}, takes=("n", 9))
    graph = _graph(tmp_path / "m.onnx")
    images = torch.randn(6, 9)
    assert torch.allclose(graph.module(images), _evaluated(tmp_path / "m.onnx", images.numpy()), atol=1e-5)
    assert graph.notes == ("its gradient with respect to the pixels is zero",)


@pytest.mark.parametrize("opset", [23])
def test_the_attention_operator_can_be_differentiated_twice(tmp_path: Path, converter: str, opset: int) -> None:
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(size=(8, columns)).astype("float32") / 2
        for name, columns in (("wq", 8), ("wk", 8), ("wv", 8), ("w", 3))
    }
    weights |= {"b": rng.normal(size=3).astype("float32"), "patches": np.array([0, 4, 8], dtype=np.int64)}
    nodes = [
        helper.make_node("Reshape", ["x", "patches"], ["t"]),
        *(helper.make_node("MatMul", ["t", f"w{letter}"], [letter]) for letter in "qkv"),
        helper.make_node("Attention", ["q", "k", "v"], ["a"], q_num_heads=2, kv_num_heads=2),
        helper.make_node("ReduceMean", ["a", "tokens"], ["f"], keepdims=0),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    weights["tokens"] = np.array([1], dtype=np.int64)
    write(tmp_path / "m.onnx", nodes, weights, takes=("n", 32), opset=opset)

    def attention(images: torch.Tensor) -> torch.Tensor:
        tokens = images.view(-1, 4, 8)
        q, k, v = ((tokens @ torch.from_numpy(weights[f"w{x}"])).view(-1, 4, 2, 4).transpose(1, 2) for x in "qkv")
        mixed = (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v
        pooled = mixed.transpose(1, 2).flatten(2).mean(1)
        return pooled @ torch.from_numpy(weights["w"]) + torch.from_numpy(weights["b"])

    graph = _graph(tmp_path / "m.onnx")
    images = torch.rand(3, 32)
    assert torch.allclose(graph.module(images), attention(images), atol=1e-5)
    _twice_differentiable(graph, images, attention)


@pytest.mark.parametrize(
    ("op", "opset", "attributes", "formula"),
    [
        ("Gelu", 20, {}, nn.functional.gelu),
        ("Gelu", 20, {"approximate": "tanh"}, lambda x: nn.functional.gelu(x, approximate="tanh")),
        ("HardSigmoid", 17, {"alpha": 1 / 6, "beta": 0.5}, lambda x: (x / 6 + 0.5).clamp(0, 1)),
        ("HardSwish", 14, {}, lambda x: x * (x / 6 + 0.5).clamp(0, 1)),
        ("Mish", 18, {}, lambda x: x * nn.functional.softplus(x).tanh()),
        ("Elu", 22, {"alpha": 0.5}, lambda x: nn.functional.elu(x, 0.5)),
        ("Selu", 22, {}, nn.functional.selu),
        ("Celu", 12, {"alpha": 2.0}, lambda x: nn.functional.celu(x, 2.0)),
        ("LeakyRelu", 16, {"alpha": 0.2}, lambda x: nn.functional.leaky_relu(x, 0.2)),
        ("Softplus", 22, {}, nn.functional.softplus),
        ("Sigmoid", 13, {}, torch.sigmoid),
        ("Tanh", 13, {}, torch.tanh),
        ("Erf", 13, {}, torch.erf),
    ],
)
def test_activations(
    tmp_path: Path,
    converter: str,
    op: str,
    opset: int,
    attributes: dict[str, object],
    formula: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"]),
        helper.make_node(op, ["h"], ["s"], **attributes),
        helper.make_node("Gemm", ["s", "w", "b"], ["y"]),
    ]
    first = {name: 3 * array for name, array in linear(9, 4).items()}
    write(tmp_path / "m.onnx", nodes, linear() | {"w0": first["w"], "b0": first["b"]}, takes=("n", 9), opset=opset)
    graph = _graph(tmp_path / "m.onnx")

    def reference(images: torch.Tensor) -> torch.Tensor:
        return _logits(formula(images @ torch.from_numpy(first["w"]) + torch.from_numpy(first["b"])))

    images = torch.randn(6, 9)
    assert torch.allclose(graph.module(images), reference(images), atol=1e-4)
    _twice_differentiable(graph, images, reference)


def test_names_are_never_code(tmp_path: Path, converter: str) -> None:
    witness = tmp_path / "ran"
    evil = f'a", open({str(witness)!r}, "w"), "'.replace(".", "\\x2e")
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], name=evil)
    hidden = helper.make_node("Relu", ["y"], [evil], name=f"{evil}#")
    last = helper.make_node("Identity", [evil], ["z"])
    model = write(tmp_path / "m.onnx", [node, hidden, last], linear())
    model.graph.output[0].name = "z"
    onnx.save(model, tmp_path / "m.onnx")
    images = torch.rand(2, 4)
    assert torch.allclose(_graph(tmp_path / "m.onnx").module(images), _logits(images).relu(), atol=1e-5)
    assert not witness.exists()


def test_names_that_only_differ_in_signs_stay_apart(tmp_path: Path, converter: str) -> None:
    weights = linear()
    nodes = [
        helper.make_node("Gemm", ["x", "a.w", "a.b"], ["a/h"]),
        helper.make_node("Gemm", ["x", "a_w", "a_b"], ["a_h"]),
        helper.make_node("Sub", ["a/h", "a_h"], ["y"]),
    ]
    named = {"a.w": weights["w"], "a.b": weights["b"], "a_w": -weights["w"], "a_b": 0 * weights["b"]}
    write(tmp_path / "m.onnx", nodes, named)
    images = torch.rand(2, 4)
    wanted = 2 * images @ torch.from_numpy(weights["w"]) + torch.from_numpy(weights["b"])
    assert torch.allclose(_graph(tmp_path / "m.onnx").module(images), wanted, atol=1e-5)
