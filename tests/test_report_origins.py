"""Where a fact about the model is known from, as told by the sentences that identification really writes."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from report_examples import example
from safetensors.torch import save_file

from auditcli.families import NORMALISATION, SHAPE, Choice, Options, identify
from auditcli.hypotheses._answers import _why
from auditcli.inspection import describe, inspect
from auditcli.loading import load
from auditcli.report import schema
from auditcli.report.origins import facts, remarks

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@pytest.fixture
def bare(tmp_path):
    """Weights and nothing else."""
    torch.manual_seed(0)
    tensors = {"0.weight": torch.randn(20, 784), "0.bias": torch.randn(20), "2.weight": torch.randn(10, 20)}
    save_file(tensors | {"2.bias": torch.randn(10)}, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def origins(model):
    return {fact.what: fact.origin for fact in facts(model) if fact.what != "trait"}


def test_what_bare_weights_leave_open_is_assumed(bare):
    found = origins(inspect(bare))
    assert {found[what] for what in ("activation", "normalisation", "input shape")} == {"assumed"}
    assert {found[what] for what in ("family", "layers", "classes")} == {"weights"}


def test_what_the_auditor_says_is_told_from_the_rest(bare):
    model = inspect(bare, assume={"activation": "gelu"}, input_shape=(1, 28, 28), mean=(0.5,), std=(0.5,))
    found = origins(model)
    assert {found[what] for what in ("activation", "normalisation", "input shape")} == {"user"}
    assert "assumed" not in found.values()


@pytest.mark.parametrize("file", ["mlp-leaky/model.safetensors", "cnn-leaky/model.safetensors"])
def test_what_a_description_says_is_told_from_the_weights(file):
    found = origins(inspect(FIXTURES / file))
    assert found["input shape"] == "file"
    assert found["family"] == "weights"
    assert not {"assumed", "images", "user"} & set(found.values())


def test_a_graph_is_the_file():
    found = origins(inspect(FIXTURES / "mlp-leaky-binary" / "model.onnx"))
    assert found["input shape"] == "file"


def test_what_images_choose_or_confirm_is_theirs(bare):
    tanh, relu = (
        SimpleNamespace(
            hypothesis=SimpleNamespace(value=lambda key, name=name: name),
            order=at,
            distance=None,
            accuracy=0.9 - at / 2,
        )
        for at, name in enumerate(("tanh", "relu"))
    )
    why = _why("activation", tanh, SimpleNamespace(tried=(tanh, relu), by=("accuracy",)), "500 controls")
    chosen = {
        "activation": Choice("tanh", why),
        NORMALISATION: Choice("0.5/0.5", "goes with what 500 controls chose"),
        SHAPE: Choice("1,28,28", "that of the controls"),
    }
    checkpoint = load(bare)
    model = describe(checkpoint, identify(checkpoint, Options(chosen=chosen)))
    found = origins(model)
    assert {found[what] for what in ("activation", "normalisation", "input shape")} == {"images"}
    confirmed = inspect(bare)
    assert origins(confirmed)["activation"] == "assumed"
    noted = confirmed.model_copy(update={"evidence": (*confirmed.evidence, f"activation = relu: {why}")})
    assert origins(noted)["activation"] == "images"


def test_every_fact_is_there_once_and_every_sentence_somewhere(bare):
    model = inspect(bare, assume={"activation": "gelu"})
    listed = facts(model)
    assert len({(fact.what, fact.value) for fact in listed}) == len(listed)
    assert {assumption.what for assumption in model.assumptions} <= {fact.what for fact in listed}
    assert {statement.what for statement in model.statements} <= {fact.what for fact in listed}
    assert "activation = gelu: stated by --assume" not in remarks(model)
    assert set(remarks(model)) <= set(model.evidence)


def test_what_the_weights_show_has_no_option_and_the_rest_has_one(bare):
    for model in (
        inspect(bare),
        inspect(bare, assume={"activation": "gelu"}),
        inspect(FIXTURES / "cnn-leaky" / "model.onnx"),
    ):
        for fact in facts(model):
            assert (fact.option == "") == (fact.origin == "weights" and fact.what != "input shape"), fact


def test_sentences_of_a_stranger_are_evidence_and_no_more():
    model = example("low").model.model_copy(
        update={
            "evidence": ("a = b", " = : stated in x", "stated in x"),
            "statements": (schema.Statement(what="", value="", why=""),),
        }
    )
    assert remarks(model) == model.evidence
    assert [fact.what for fact in facts(model)] == ["activation", "mean, std", ""]
