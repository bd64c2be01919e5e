"""ONNX graphs, against the torch modules they were exported from and the reference evaluator."""

import sys
from pathlib import Path

import onnx
import pytest
import torch
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx_examples import EXPORTERS, Attention, Normalised, cnn, export, linear, mlp, write
from torch import nn

from auditcli.errors import LoadError, UnknownModel
from auditcli.families import Options, build, identify
from auditcli.loading import load, model_sha256
from auditcli.types import Family, Target, Trait


def _target(path: Path, **options: object) -> Target:
    said = Options(**options)  # type: ignore[arg-type]
    checkpoint = load(path)
    return build(checkpoint, identify(checkpoint, said), said)


def _check(target: Target, model: nn.Module, images: torch.Tensor) -> None:
    images = images.clone().requires_grad_()
    assert torch.allclose(target(images), model(images), atol=1e-5)
    theirs, ours = (torch.autograd.grad(net(images).square().sum(), images)[0] for net in (model, target))
    assert torch.allclose(ours, theirs, atol=1e-4)
    (first,) = torch.autograd.grad(target(images).square().sum(), images, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), images)
    assert second.isfinite().all()


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("act", [nn.ReLU, nn.GELU, nn.SiLU, nn.LeakyReLU])
def test_a_chain_of_linear_layers_becomes_an_mlp(tmp_path: Path, exporter: str, act: type[nn.Module]) -> None:
    model = export(mlp(act), (3, 4, 4), tmp_path / "m.onnx", exporter)
    target = _target(tmp_path / "m.onnx")
    assert target.profile.family is Family.MLP
    assert Trait.DENSE in target.profile.traits
    assert target.profile.input_shape == (3, 4, 4)
    _check(target, model, torch.rand(3, 3, 4, 4))
    assert target.dense is not None
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    assert all(torch.allclose(a, b.weight, atol=1e-6) for a, b in zip(target.dense.weights, layers, strict=True))


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    ("make", "shape", "family"), [(cnn, (3, 8, 8), Family.CNN), (Attention, (3, 8, 8), Family.VIT)]
)
def test_other_graphs_run_as_converted(
    tmp_path: Path, exporter: str, make: type[nn.Module], shape: tuple[int, ...], family: Family
) -> None:
    model = export(make(), shape, tmp_path / "m.onnx", exporter)
    target = _target(tmp_path / "m.onnx")
    assert target.profile.family is family
    assert target.dense is None
    assert (target.profile.classes, target.profile.outputs) == (5, 5)
    _check(target, model, torch.rand(4, *shape))
    assert any("converted by onnx2fx" in sentence for sentence in target.profile.evidence)


def test_a_graph_fixed_to_one_image_runs_on_many_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = export(Attention(), (3, 8, 8), tmp_path / "m.onnx")
    capfd.readouterr()
    target = _target(tmp_path / "m.onnx")
    assert capfd.readouterr() == ("", "")
    images = torch.rand(7, 3, 8, 8)
    assert torch.allclose(target(images), model(images), atol=1e-5)


def test_the_graph_agrees_with_the_reference_evaluator(tmp_path: Path) -> None:
    export(cnn(), (3, 8, 8), tmp_path / "m.onnx")
    graph = load(tmp_path / "m.onnx").graph
    assert graph is not None
    images = torch.rand(1, 3, 8, 8)
    expected = ReferenceEvaluator(str(tmp_path / "m.onnx")).run(None, {graph.input_name: images.numpy()})[0]
    assert torch.allclose(graph.module(images), torch.from_numpy(expected), atol=1e-5)
    assert 0 <= graph.difference < 1e-4


@pytest.mark.parametrize("make", [mlp, cnn])
def test_without_onnxruntime_the_reference_evaluator_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: type[nn.Module]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    shape = (3, 4, 4) if make is mlp else (3, 8, 8)
    model = export(make(), shape, tmp_path / "m.onnx")
    graph = load(tmp_path / "m.onnx").graph
    assert graph is not None
    assert graph.checked_against == f"onnx {onnx.__version__}"
    _check(_target(tmp_path / "m.onnx"), model, torch.rand(2, *shape))


def test_onnx2torch_stands_in_where_onnx2fx_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    if "onnx2torch" not in {d.metadata["Name"] for d in __import__("importlib.metadata").metadata.distributions()}:
        pytest.skip("onnx2torch is not installed")
    monkeypatch.setitem(sys.modules, "onnx2fx", None)
    model = export(cnn(), (3, 8, 8), tmp_path / "m.onnx")
    target = _target(tmp_path / "m.onnx")
    assert any("converted by onnx2torch" in sentence for sentence in target.profile.evidence)
    _check(target, model, torch.rand(3, 3, 8, 8))
    assert "torchvision" not in sys.modules


def test_without_any_converter_each_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx2fx", "onnx2torch"):
        monkeypatch.setitem(sys.modules, name, None)
    export(mlp(), (3, 4, 4), tmp_path / "m.onnx")
    with pytest.raises(LoadError, match="onnx2fx is not installed; onnx2torch is not installed"):
        load(tmp_path / "m.onnx")


def test_a_conversion_that_computes_something_else_is_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx2fx

    class Off(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x) + 0.01

    right = onnx2fx.convert
    monkeypatch.setattr(onnx2fx, "convert", lambda model: Off(right(model)))
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    export(mlp(), (3, 4, 4), tmp_path / "m.onnx")
    with pytest.raises(LoadError, match=r"onnx2fx is off by 0\.01"):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize(("make", "shape"), [(mlp, (3, 4, 4)), (cnn, (3, 8, 8))])
@pytest.mark.parametrize("final", [nn.Softmax, nn.LogSoftmax])
def test_a_final_softmax_gives_log_probabilities_once(
    tmp_path: Path, make: type[nn.Module], shape: tuple[int, ...], final: type[nn.Module]
) -> None:
    model = make()
    with torch.no_grad():
        model[-1].weight.mul_(200)  # Probabilities of 0 in float32: only what stands before the softmax still differs.
    export(nn.Sequential(model, final(1)), shape, tmp_path / "m.onnx")
    target = _target(tmp_path / "m.onnx")
    assert Trait.SOFTMAX_OUTPUT in target.profile.traits
    images = torch.rand(3, *shape)
    assert torch.allclose(target(images), model(images).log_softmax(1), rtol=1e-4, atol=1e-4)


def test_a_final_sigmoid_gives_the_logit(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 1)).eval()
    export(nn.Sequential(model, nn.Sigmoid()), (3, 4, 4), tmp_path / "m.onnx")
    target = _target(tmp_path / "m.onnx")
    assert Trait.SOFTMAX_OUTPUT not in target.profile.traits
    assert (target.profile.classes, target.profile.outputs) == (2, 1)
    _check(target, model, torch.rand(3, 3, 4, 4))


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("make", [mlp, cnn])
def test_normalisation_inside_the_graph_is_read(tmp_path: Path, exporter: str, make: type[nn.Module]) -> None:
    shape = (3, 4, 4) if make is mlp else (3, 8, 8)
    inner = make()
    model = export(Normalised(inner, [0.5, 0.4, 0.3], [0.2, 0.25, 0.5]), shape, tmp_path / "m.onnx", exporter)
    target = _target(tmp_path / "m.onnx")
    assert target.profile.normalisation.mean == pytest.approx((0.5, 0.4, 0.3))
    assert target.profile.normalisation.std == pytest.approx((0.2, 0.25, 0.5))
    assert target.profile.assumptions == ()
    _check(target, model, torch.rand(3, *shape))
    if target.dense is not None:
        assert torch.allclose(target.dense.weights[0], inner[1].weight, atol=1e-6)
    twice = _target(tmp_path / "m.onnx", mean=(0.1,), std=(2.0,))
    images = torch.rand(3, *shape)
    assert torch.allclose(twice(images), model((images - 0.1) / 2), atol=1e-5)


def test_a_residual_chain_is_not_taken_for_an_mlp(tmp_path: Path) -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inner, self.last = nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x.flatten(1)).relu()
            return self.last(x + self.inner(x).relu())

    model = export(Residual(), (1, 4, 4), tmp_path / "m.onnx")
    target = _target(tmp_path / "m.onnx")
    assert Trait.DENSE not in target.profile.traits
    assert target.dense is None
    _check(target, model, torch.rand(3, 1, 4, 4))


def test_a_flat_input_is_an_image_after_all(tmp_path: Path) -> None:
    weights = linear(16)
    write(tmp_path / "m.onnx", [helper.make_node("Gemm", ["x", "w", "b"], ["y"])], weights, takes=("n", 16))
    target = _target(tmp_path / "m.onnx")
    assert target.profile.input_shape == (1, 4, 4)
    assert "--input-shape C,H,W" in {assumption.flag for assumption in target.profile.assumptions}
    images = torch.rand(2, 1, 4, 4)
    expected = images.flatten(1) @ torch.from_numpy(weights["w"]) + torch.from_numpy(weights["b"])
    assert torch.allclose(target(images), expected, atol=1e-5)
    assert target.dense is not None
    said = identify(load(tmp_path / "m.onnx"), Options(input_shape=(4, 2, 2)))
    assert said.input_shape == (4, 2, 2)
    with pytest.raises(UnknownModel, match="27 values, the first layer reads 16"):
        identify(load(tmp_path / "m.onnx"), Options(input_shape=(3, 3, 3)))


def test_channels_last_graphs_take_channels_first_images(tmp_path: Path) -> None:
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], ["y"])]
    weights = linear(5 * 4 * 3)
    write(tmp_path / "m.onnx", nodes, weights, takes=("n", 5, 4, 3))
    target = _target(tmp_path / "m.onnx")
    assert target.profile.input_shape == (3, 5, 4)
    images = torch.rand(2, 3, 5, 4)
    expected = images.permute(0, 2, 3, 1).flatten(1) @ torch.from_numpy(weights["w"]) + torch.from_numpy(weights["b"])
    assert torch.allclose(target(images), expected, atol=1e-5)


def test_an_open_image_size_is_asked_for(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    write(tmp_path / "m.onnx", nodes, linear(3), takes=("n", 3, "h", "w"))
    with pytest.raises(UnknownModel, match="size of its input open"):
        identify(load(tmp_path / "m.onnx"), Options())
    assert _target(tmp_path / "m.onnx", input_shape=(3, 9, 7))(torch.rand(2, 3, 9, 7)).shape == (2, 3)


def test_the_logits_are_found_among_several_outputs(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = self.body(x)
            return features, self.head(features.mean((2, 3)))

    model = export(Two(), (3, 8, 8), tmp_path / "m.onnx")
    images = torch.rand(2, 3, 8, 8)
    assert torch.allclose(_target(tmp_path / "m.onnx")(images), model(images)[1], atol=1e-5)


def test_weights_beside_the_file_are_read_and_hashed(tmp_path: Path) -> None:
    model = export(mlp(), (3, 4, 4), tmp_path / "m.onnx")
    inline = model_sha256(tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    onnx.save(proto, tmp_path / "e.onnx", save_as_external_data=True, location="e.bin", size_threshold=0)
    _check(_target(tmp_path / "e.onnx"), model, torch.rand(2, 3, 4, 4))
    before = load(tmp_path / "e.onnx").sha256
    assert before == model_sha256(tmp_path / "e.onnx") != inline
    content = bytearray((tmp_path / "e.bin").read_bytes())
    content[0] ^= 1
    (tmp_path / "e.bin").write_bytes(content)
    assert model_sha256(tmp_path / "e.onnx") != before
