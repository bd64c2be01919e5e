"""`privaudit inspect` on a model made here: what the weights say, as a table and as the `model` part of a report."""

import io
import json
import re

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console
from safetensors.numpy import save_file

from auditcli import terminal
from auditcli.__main__ import main
from auditcli.report.schema import Model, Statement


@pytest.fixture
def mlp(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"0.weight": (8, 784), "0.bias": (8,), "2.weight": (10, 8), "2.bias": (10,)}
    tensors = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    path = tmp_path / "mlp.safetensors"
    save_file(tensors, path)
    return path


def test_json_is_the_model_part_of_a_report(mlp, capsys):
    assert main(["inspect", str(mlp), "--json"]) == 0
    model = Model.model_validate_json(capsys.readouterr().out)
    assert model.path == "mlp.safetensors"
    assert model.family == "mlp"
    assert model.parameters == 784 * 8 + 8 + 8 * 10 + 10
    assert model.input_shape == (1, 28, 28)
    assert model.classes == 10


def test_options_win(mlp, capsys):
    words = ["--mean", "0.25", "--std", "0.5", "--input-shape", "4,14,14", "--assume", "activation=gelu"]
    assert main(["inspect", str(mlp), "--json", *words]) == 0
    model = json.loads(capsys.readouterr().out)
    assert model["input_shape"] == [4, 14, 14]
    assert set(model["mean"]) == {0.25}
    assert set(model["std"]) == {0.5}
    assert "gelu" in model["architecture"]


def test_table(mlp, capsys):
    assert main(["inspect", str(mlp)]) == 0
    out, err = capsys.readouterr()
    assert "1x28x28" in out
    assert "8x784" not in out
    assert err == ""
    assert main(["inspect", str(mlp), "-v"]) == 0
    assert "8x784" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--assume", "colour=red"], "colour"),
        (["--mean", "0.5"], "--mean"),
        (["--input-shape", "3,32,32"], "784"),
    ],
)
def test_options_that_do_not_fit(mlp, capsys, words, part):
    assert main(["inspect", str(mlp), *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line[:7] for line in err.splitlines()] == ["error: ", "hint:  "]
    assert part in err


@pytest.mark.parametrize("name", ["model.pt", "model.pkl", "model.safetensors", "model.onnx", "model.txt"])
def test_files_that_are_no_model(tmp_path, capsys, name):
    (tmp_path / name).write_bytes(b"\x80\x04\x95 not a model")
    assert main(["inspect", str(tmp_path / name)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line[:7] for line in err.splitlines()] == ["error: ", "hint:  "]
    assert name in err


def shown(model, *, width=80, verbose=True, **more):
    console = Console(file=io.StringIO(), width=width, highlight=False, **more)
    terminal.show_profile(console, model, verbose=verbose)
    return console.file.getvalue()


def described(path, capsys, *words):
    assert main(["inspect", str(path), "--json", *words]) == 0
    return Model.model_validate_json(capsys.readouterr().out)


def test_every_statement_is_shown_with_its_reason(mlp, capsys):
    text = " ".join(shown(described(mlp, capsys), width=200).split())
    assert "family mlp: 2 linear layers on whole images, no convolution, no attention" in text
    assert "input 1x28x28 (channels, height, width): assumed: the first layer reads 784 values" in text
    assert "pixels mean 0, std 1: assumed: nothing says how pixels were normalised" in text
    assert "classes 10: the last layer has 10 outputs" in text
    assert "dense: rebuilt as a chain of linear layers" in text
    assert "first-layer-linear: 8 rows over all 784 pixel values" in text


def test_tensors_come_with_verbose(tmp_path, capsys):
    weight = np.arange(-392, 392, dtype=np.float16).reshape(1, 784).repeat(3, 0)
    bias = np.array([1.0, 2.0, 6.0], dtype=np.float64)
    save_file({"fc.weight": weight, "fc.bias": bias}, tmp_path / "half.safetensors")
    assert described(tmp_path / "half.safetensors", capsys).tensors == ()
    tensors = {tensor.name: tensor for tensor in described(tmp_path / "half.safetensors", capsys, "-v").tensors}
    found = tensors["fc.weight"]
    assert (found.role, found.stored, found.shape, found.numbers) == ("linear weight", "F16", (3, 784), 2352)
    assert (found.low, found.high) == (-392.0, 391.0)
    assert found.mean == pytest.approx(-0.5, abs=1e-4)
    assert found.deviation == pytest.approx(weight[0].astype(float).std(), rel=1e-5)
    assert (tensors["fc.bias"].stored, tensors["fc.bias"].role) == ("F64", "linear bias")
    assert main(["inspect", str(tmp_path / "half.safetensors"), "-v"]) == 0
    out = capsys.readouterr().out
    for part in ("F16", "F64", "3x784", "-3.9e+02"):
        assert part in out


def test_the_largest_floats_have_figures(tmp_path, capsys):
    high = float(np.finfo(np.float32).max)
    weight = np.array([[high, -high] * 8] * 2, dtype=np.float32)
    weight[0, 0] = 0
    save_file({"a.weight": weight * 1e-30, "b.weight": weight[:, :2]}, tmp_path / "m.safetensors")
    code = main(["inspect", str(tmp_path / "m.safetensors"), "-v", "--json"])
    assert code in {0, 2}
    from auditcli.inspection import _extremes
    from auditcli.loading import load

    low, top, mean, deviation = _extremes(load(tmp_path / "m.safetensors").tensors["b.weight"])
    assert (low, top) == (-high, high)
    assert abs(mean) < high
    assert 0.5 * high < deviation < 1.01 * high


HOSTILE = "\x1b[2J[red]\u202e" + "name" * 40 + "\u5bbd\u5bbd\n::"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_the_terminal_whatever_the_names(mlp, capsys, width):
    model = described(mlp, capsys, "-v")
    tensors = tuple(tensor.model_copy(update={"name": HOSTILE, "role": HOSTILE}) for tensor in model.tensors)
    said = (("family", "mlp"), ("trait", "dense"))
    statements = tuple(Statement(what=what, value=value, why=HOSTILE) for what, value in said)
    layers = tuple(layer.model_copy(update={"name": HOSTILE}) for layer in model.layers)
    changes = {"tensors": tensors, "statements": statements, "layers": layers, "labels": (HOSTILE,) * 300}
    text = shown(model.model_copy(update=changes), width=width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_many_class_names_are_cut_short(mlp, capsys):
    model = described(mlp, capsys).model_copy(update={"labels": tuple(f"class{index}" for index in range(1000))})
    text = shown(model, verbose=False)
    assert "and 980 more" in text
    assert "class25" not in text
    assert "class999" in shown(model, verbose=True)


def test_no_color_is_honoured(mlp, capsys, monkeypatch):
    model = described(mlp, capsys)
    assert "\x1b[3" not in shown(model, no_color=True, force_terminal=True)


def test_a_question_lists_its_answers(tmp_path, capsys, monkeypatch):
    from auditcli import inspection
    from auditcli.errors import OpenQuestion

    answers = [{"pool": f"max{index}s2", "final": "flatten"} for index in range(1, 8)]

    def ask(*_, **__):
        raise OpenQuestion("m: 7 geometries fit", hint="--assume pool=max1s2", candidates=answers)

    monkeypatch.setattr(inspection, "inspect", ask)
    assert main(["inspect", "m.safetensors"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "answer: --assume pool=max1s2 --assume final=flatten"
    assert len(lines) == 7 + 2
    assert re.match("error: m: 7 geometries fit", lines[7])
