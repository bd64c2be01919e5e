"""`privaudit inspect` on a model made here: what the weights say, as a table and as the `model` part of a report."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from auditcli.__main__ import main
from auditcli.report.schema import Model


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
