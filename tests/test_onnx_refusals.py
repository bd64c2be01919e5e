"""ONNX files that are refused, and what the message says."""

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_examples import linear, write

from auditcli.errors import AuditError, LoadError
from auditcli.families import Options, build, identify
from auditcli.loading import load, model_sha256

GEMM = helper.make_node("Gemm", ["x", "w", "b"], ["y"])


def _refused(path: Path, said: str) -> LoadError:
    with pytest.raises(LoadError, match=said) as caught:
        load(path)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("takes", "gives", "nodes", "said"),
    [
        (
            ("n", 4, 4),
            ("n", 4, 3),
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            r"takes input of shape \(\?, 4, 4\)",
        ),
        (("n", 1, 2, 4), ("n", 1, 2, 3), [helper.make_node("MatMul", ["x", "w"], ["y"])], r"returns \(\?, 1, 2, 3\)"),
        ((8, 4), (8, 3), [GEMM], "fixed to batches of 8"),
    ],
)
def test_what_is_no_classifier_says_why(
    tmp_path: Path, takes: tuple[object, ...], gives: tuple[object, ...], nodes: list[onnx.NodeProto], said: str
) -> None:
    write(tmp_path / "m.onnx", nodes, linear(), takes=takes, gives=gives)
    _refused(tmp_path / "m.onnx", said)


def test_integer_images_and_class_indices_are_refused(tmp_path: Path) -> None:
    cast = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Gemm", ["c", "w", "b"], ["y"]),
    ]
    write(tmp_path / "m.onnx", cast, linear(), kind=TensorProto.INT32)
    _refused(tmp_path / "m.onnx", "input x is int32; float was expected")


def test_two_inputs_are_no_classifier(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "z"], ["y"])], {}, gives=("n", 4))
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ("n", 4)))
    onnx.save(model, tmp_path / "m.onnx")
    _refused(tmp_path / "m.onnx", "has 2 inputs")


@pytest.mark.parametrize(
    ("node", "domains", "said"),
    [
        (helper.make_node("Frobnicate", ["x"], ["y"]), (), "operator Frobnicate"),
        (helper.make_node("FusedGemm", ["x", "w"], ["y"], domain="com.microsoft"), ("com.microsoft",), "FusedGemm"),
        (helper.make_node("Evil\x1b[31m", ["x"], ["y"]), (), r"Evil\?"),
    ],
)
def test_unknown_operators_are_named(tmp_path: Path, node: onnx.NodeProto, domains: tuple[str, ...], said: str) -> None:
    write(tmp_path / "m.onnx", [node], linear(), domains=domains)
    error = _refused(tmp_path / "m.onnx", said)
    assert "\x1b" not in error.message


def test_a_standard_operator_that_no_converter_knows_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["g"]),
        helper.make_node("DFT", ["g", "", "axis"], ["d"]),
        helper.make_node("ReduceSum", ["d", "axes"], ["y"], keepdims=0),
    ]
    weights = linear() | {"axes": np.array([2], dtype=np.int64), "axis": np.array(1, dtype=np.int64)}
    nodes.insert(1, helper.make_node("Unsqueeze", ["g", "axes"], ["u"]))
    nodes[2] = helper.make_node("DFT", ["u"], ["d"], axis=1)
    write(tmp_path / "m.onnx", nodes, weights)
    _refused(tmp_path / "m.onnx", "DFT")


def test_loops_are_refused(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Identity", ["v"], ["v2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, ["n", 4]),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, ["n", 4]),
        ],
    )
    weights = {"count": np.array(2**60, dtype=np.int64), "go": np.array(True)}
    loop = helper.make_node("Loop", ["count", "go", "x"], ["y"], body=body)
    write(tmp_path / "m.onnx", [loop], weights, gives=("n", 4))
    _refused(tmp_path / "m.onnx", "operator Loop")


@pytest.mark.parametrize(("value", "said"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, value: float, said: str) -> None:
    weights = linear()
    weights["w"][0, 0] = value
    write(tmp_path / "m.onnx", [GEMM], weights)
    _refused(tmp_path / "m.onnx", f"tensor w holds {said}")


def test_a_few_bytes_cannot_ask_for_all_memory(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["huge"], ["h"]),
        helper.make_node("ReduceSum", ["h"], ["s"], keepdims=0),
        helper.make_node("Gemm", ["x", "w", "b"], ["g"]),
        helper.make_node("Add", ["g", "s"], ["y"]),
    ]
    weights = linear() | {"huge": np.array([10**6, 10**6], dtype=np.int64)}
    write(tmp_path / "m.onnx", nodes, weights)
    _refused(tmp_path / "m.onnx", "1000000000000 elements")


def test_a_weight_shorter_than_its_shape_is_damage(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx", [GEMM], linear())
    model.graph.initializer[0].dims[0] = 10**9
    onnx.save(model, tmp_path / "m.onnx")
    _refused(tmp_path / "m.onnx", "not usable")


def _external(path: Path, location: str, offset: str = "0", length: str = "48") -> None:
    model = write(path, [GEMM], linear())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    onnx.save(model, path)


def test_weights_outside_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\0" * 48)
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "./../secret.bin"):
        _external(folder / "m.onnx", location)
        _refused(folder / "m.onnx", "leads out of the folder")
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    _external(folder / "m.onnx", "link.bin")
    _refused(folder / "m.onnx", "leads out of the folder")
    with pytest.raises(LoadError, match="leads out of the folder"):
        model_sha256(folder / "m.onnx")


@pytest.mark.parametrize(
    ("offset", "length", "said"),
    [("0", "480", "beyond the end"), ("-4", "48", "beyond the end"), ("many", "48", "no number")],
)
def test_places_of_weights_are_checked(tmp_path: Path, offset: str, length: str, said: str) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 48)
    _external(tmp_path / "m.onnx", "w.bin", offset, length)
    _refused(tmp_path / "m.onnx", said)
    _external(tmp_path / "m.onnx", "gone.bin")
    _refused(tmp_path / "m.onnx", "missing from")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), flip=st.integers(1, 255), cut=st.integers(0, 40))
def test_damage_is_an_error_or_a_model_that_runs(tmp_path: Path, at: int, flip: int, cut: int) -> None:
    path = tmp_path / "m.onnx"
    write(path, [GEMM], linear())
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= flip
    path.write_bytes(bytes(content[: len(content) - cut]))
    with contextlib.suppress(AuditError):
        checkpoint = load(path)
        profile = identify(checkpoint, Options())
        target = build(checkpoint, profile, Options())
        assert target(torch.zeros(2, *profile.input_shape)).shape == (2, profile.outputs)
