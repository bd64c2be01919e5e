"""`privaudit describe`: what was stated and assumed is written down, and then nothing has to be."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from onnx_examples import Normalised, cnn, export, mlp
from safetensors.torch import load_file, save_file

from auditcli.__main__ import main
from auditcli.describing import describe
from auditcli.errors import LoadError, UnknownModel, UsageError
from auditcli.families import Options, identify
from auditcli.families._options import _ASSUMABLE as ASSUMABLE
from auditcli.loading import Description, load
from auditcli.loading.description import METADATA_KEY


def state(*widths: int, bias: bool = True, norm: bool = False, names: str = "{}") -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for index, (into, out) in enumerate(pairwise(widths)):
        layer = names.format(f"fc{index}")
        tensors[f"{layer}.weight"] = torch.randn(out, into)
        if bias:
            tensors[f"{layer}.bias"] = torch.randn(out)
        if norm and index < len(widths) - 2:
            parts = {"weight": 1.0, "bias": 0.1, "running_mean": 0.2, "running_var": 1.5}
            tensors |= {f"bn{index}.{part}": torch.full((out,), value) for part, value in parts.items()}
    return tensors


@pytest.fixture
def perceptron(tmp_path):
    save_file(state(64, 9, 7, 3), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def profiled(path: Path, **options):
    return identify(load(path), Options(**options))


def bare(profile):
    """A profile without how it is known."""
    return replace(profile, identified_by="", evidence=(), assumptions=(), statements=())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    widths=st.lists(st.integers(2, 9), min_size=1, max_size=3),
    bias=st.booleans(),
    norm=st.booleans(),
    assume=st.fixed_dictionaries(
        {},
        optional={
            "activation": st.sampled_from(["gelu", "leaky_relu(0.2)", "tanh"]),
            "norm": st.sampled_from(["before", "after"]),
            "eps": st.sampled_from(["1e-3", "0.01"]),
        },
    ),
    statistics=st.sampled_from([None, ((0.5,), (0.25,)), ((0.1307,), (0.3081,))]),
    shape=st.sampled_from([None, (1, 8, 8), (4, 4, 4)]),
)
def test_a_described_model_is_the_same_and_nothing_is_assumed(tmp_path, widths, bias, norm, assume, statistics, shape):
    path = tmp_path / "any.safetensors"
    save_file(state(64, *widths, 3, bias=bias, norm=norm), path)
    options = {"assume": assume, "input_shape": shape}
    if statistics:
        options |= {"mean": statistics[0], "std": statistics[1]}
    (tmp_path / "any.safetensors.privaudit.json").unlink(missing_ok=True)
    before = profiled(path, **options)
    written = describe(path, **options)
    after = profiled(path)
    assert bare(after) == bare(before)
    assert after.assumptions == ()
    assert json.loads(written.read_text())["sha256"] == load(path).sha256


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_copy_holds_the_description_and_the_very_numbers(tmp_path, dtype):
    source, copy = tmp_path / "m.safetensors", tmp_path / "described.safetensors"
    tensors = {name: tensor.to(dtype) for name, tensor in state(64, 9, 3).items()}
    save_file(tensors, source, {"format": "pt", "note": "keep me"})
    before = source.read_bytes()
    assert describe(source, assume={"activation": "gelu"}, copy=copy) == copy
    assert source.read_bytes() == before
    copied = load_file(copy)
    assert copied.keys() == tensors.keys()
    assert all(torch.equal(copied[name], tensor) and copied[name].dtype == dtype for name, tensor in tensors.items())
    profile = profiled(copy)
    assert profile.assumptions == ()
    assert "gelu" in profile.architecture
    from safetensors import safe_open

    with safe_open(copy, "pt") as file:
        assert file.metadata()["note"] == "keep me"
        assert "sha256" not in json.loads(file.metadata()[METADATA_KEY])
    # Described once more, the later statement wins.
    describe(copy, assume={"activation": "tanh"}, copy=tmp_path / "again.safetensors")
    assert "tanh" in profiled(tmp_path / "again.safetensors").architecture


@pytest.mark.parametrize("normalised", [False, True])
def test_onnx_files_have_one_beside_them(tmp_path, normalised):
    net = Normalised(cnn(), [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]) if normalised else cnn()
    path = tmp_path / "m.onnx"
    export(net, (3, 8, 8), path)
    assert bool(profiled(path).assumptions) is not normalised
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    before = profiled(path, mean=(0.5,), std=(0.25,))
    describe(path, mean=(0.5,), std=(0.25,), labels=tmp_path / "names.txt")
    after = profiled(path)
    assert after.normalisation == before.normalisation
    assert after.assumptions == ()
    assert after.labels == ("a", "b", "c", "d", "e")


def test_a_dense_graph_described_without_options_assumes_nothing(tmp_path):
    export(mlp(), (3, 4, 4), tmp_path / "m.onnx")
    describe(tmp_path / "m.onnx")
    assert profiled(tmp_path / "m.onnx").assumptions == ()


@pytest.mark.parametrize("text", ["cat\ndog\n\nbird \n", '["cat", "dog", "bird"]'])
def test_labels(perceptron, tmp_path, text):
    (tmp_path / "names").write_text(text)
    describe(perceptron, labels=tmp_path / "names")
    assert profiled(perceptron).labels == ("cat", "dog", "bird")


@pytest.mark.parametrize(
    ("text", "part"),
    [("cat\ndog", "2 labels for 3 classes"), ("[1, 2, 3]", "names"), ("[", "JSON"), ("\xff", "3 classes")],
)
def test_labels_that_do_not_fit(perceptron, tmp_path, text, part):
    (tmp_path / "names").write_text(text)
    with pytest.raises(UsageError, match=part):
        describe(perceptron, labels=tmp_path / "names")
    assert not list(tmp_path.glob("*.json"))


def test_nothing_is_written_over(perceptron, tmp_path):
    first = describe(perceptron).read_text()
    with pytest.raises(UsageError, match="is there already"):
        describe(perceptron, assume={"activation": "gelu"})
    assert (tmp_path / "m.safetensors.privaudit.json").read_text() == first
    describe(perceptron, assume={"activation": "gelu"}, force=True)
    assert "gelu" in profiled(perceptron).architecture
    with pytest.raises(UsageError, match="the model itself"):
        describe(perceptron, copy=perceptron, force=True)


def test_a_description_that_does_not_fit_is_refused(perceptron, tmp_path):
    with pytest.raises(UnknownModel, match="values"):
        describe(perceptron, input_shape=(3, 5, 5))
    with pytest.raises(UnknownModel):
        describe(perceptron, assume={"classes": "7"})
    assert not list(tmp_path.glob("*.json"))


def test_a_sidecar_of_other_weights_is_refused(perceptron):
    describe(perceptron)
    save_file(state(64, 9, 7, 3), perceptron)
    with pytest.raises(LoadError, match="describes other weights"):
        load(perceptron)


def test_folders_and_graphs_hold_no_copy(tmp_path):
    export(mlp(), (3, 4, 4), tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="no safetensors file"):
        describe(tmp_path / "m.onnx", copy=tmp_path / "copy.safetensors")
    (tmp_path / "hf").mkdir()
    save_file(state(64, 9, 3), tmp_path / "hf" / "model.safetensors")
    (tmp_path / "hf" / "config.json").write_text('{"num_labels": 3}')
    with pytest.raises(UsageError, match=r"preprocessor_config\.json"):
        describe(tmp_path / "hf")


def test_whatever_can_be_assumed_can_be_described():
    assert set(ASSUMABLE) <= set(Description.model_fields)


def test_the_command(perceptron, capsys):
    words = ["describe", str(perceptron), "--mean", "0.5", "--std", "0.5", "--assume", "activation=gelu"]
    assert main(words) == 0
    assert capsys.readouterr().out == f"{perceptron}.privaudit.json\n"
    assert main(["inspect", str(perceptron), "--json"]) == 0
    model = json.loads(capsys.readouterr().out)
    assert model["assumptions"] == []
    assert main(words) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*words, "--embed", str(perceptron.with_name("copy.safetensors"))]) == 0
    assert main(["inspect", str(perceptron.with_name("copy.safetensors")), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[2])["assumptions"] == []
