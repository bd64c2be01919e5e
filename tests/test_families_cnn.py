"""Plain CNNs out of state dicts: geometry that is stated, found, or asked for."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from auditcli.errors import OpenQuestion, UnknownModel
from auditcli.families import Options, build, identify
from auditcli.loading import load, save_described
from auditcli.types import Family, Trait


def _settle(model: nn.Sequential) -> nn.Sequential:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.running_mean, 0.0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def _pooled() -> nn.Sequential:
    return _settle(
        nn.Sequential(
            *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(6 * 7 * 7, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3)),
        )
    )


def _check(path: Path, model: nn.Module, options: Options, shape: tuple[int, ...]) -> frozenset[str]:
    checkpoint = load(path)
    profile = identify(checkpoint, options)
    assert profile.family is Family.CNN
    assert profile.input_shape == shape
    images = torch.rand(3, *shape, requires_grad=True)
    target = build(checkpoint, profile, options)
    assert torch.allclose(target(images), model(images), atol=1e-5)
    (gradient,) = torch.autograd.grad(target(images).square().sum(), images)
    assert gradient.abs().sum() > 0
    return frozenset(assumption.flag for assumption in profile.assumptions)


def _named(model: nn.Sequential) -> dict[str, torch.Tensor]:
    """The same weights under attribute names, which show no place of modules without parameters."""
    names = {"0": "conv1", "1": "bn1", "4": "conv2", "5": "bn2", "9": "fc1", "10": "bn3", "12": "fc2"}
    return {f"{names[name.split('.')[0]]}.{name.split('.')[1]}": value for name, value in model.state_dict().items()}


def test_an_open_geometry_is_asked_for_and_can_be_stated(tmp_path: Path) -> None:
    model = _pooled()
    path = tmp_path / "model.safetensors"
    save_file(_named(model), path)
    with pytest.raises(OpenQuestion, match="conventional geometries fit") as caught:
        identify(load(path), Options())
    assert "--assume strides=1 --assume pool=max" in caught.value.hint
    truth = {"strides": "1", "paddings": "1", "dilations": "1", "pool": "max", "final": "flatten"}
    assert truth in caught.value.candidates
    flags = _check(path, model, Options(assume={"pool": "max", "strides": "1"}), (1, 28, 28))
    assert flags == {
        "--assume activation=...",
        "--assume norm=...",
        "--assume eps=...",
        "--assume paddings=...",
        "--assume dilations=...",
        "--assume final=...",
        "--arch module:callable",
        "--input-shape C,H,W",
        "--mean/--std",
    }


def test_every_candidate_of_a_question_answers_it(tmp_path: Path) -> None:
    save_file(_named(_pooled()), tmp_path / "model.safetensors")
    checkpoint = load(tmp_path / "model.safetensors")
    with pytest.raises(OpenQuestion) as caught:
        identify(checkpoint, Options())
    for candidate in caught.value.candidates:
        said = Options(assume=candidate)
        assert build(checkpoint, identify(checkpoint, said), said)(torch.rand(2, 1, 28, 28)).shape == (2, 3)


def test_holes_in_the_numbers_of_a_sequential_answer_it(tmp_path: Path) -> None:
    model = _pooled()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    flags = _check(tmp_path / "model.safetensors", model, Options(), (1, 28, 28))
    assert "--assume norm=..." not in flags
    assert "--arch module:callable" not in flags
    evidence = " ".join(identify(load(tmp_path / "model.safetensors"), Options()).evidence)
    assert "numbered as in nn.Sequential" in evidence
    assert "place of norms by the numbers" in evidence


def test_what_activation_and_pooling_do_not_explain_is_an_assumption(tmp_path: Path) -> None:
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1024, 5)),
    )
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    listed = {one.what: one.value for one in identify(load(tmp_path / "model.safetensors"), Options()).assumptions}
    assert listed["between layers"] == "dropout"


def test_the_only_geometry_that_fits_is_assumed_and_listed(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 5)).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    flags = _check(tmp_path / "model.safetensors", model, Options(), (3, 32, 32))
    assert {f"--assume {key}=..." for key in ("strides", "paddings", "dilations", "pool", "final")} <= flags


def test_a_description_fixes_the_geometry(tmp_path: Path) -> None:
    model = _settle(
        nn.Sequential(
            *(nn.Conv2d(3, 4, 5, stride=2, padding=2), nn.Tanh(), nn.BatchNorm2d(4), nn.AvgPool2d(2)),
            *(nn.Conv2d(4, 8, 3), nn.Tanh(), nn.BatchNorm2d(8)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1)),
        )
    )
    said = {
        "family": "cnn",
        "activation": "tanh",
        "input_shape": [3, 20, 16],
        "strides": [2, 1],
        "paddings": [2, 0],
        "pool": ["avg", "none"],
        "final": "average",
        "norm": "after",
        "mean": [0.0],
        "std": [1.0],
    }
    path = tmp_path / "model.safetensors"
    save_described(path, model.state_dict(), said)
    assert _check(path, model, Options(), (3, 20, 16)) == frozenset()
    profile = identify(load(path), Options())
    assert (profile.classes, profile.outputs) == (2, 1)
    assert profile.traits == {Trait.BATCH_NORM}


def test_recorded_statistics_are_in_the_module(tmp_path: Path) -> None:
    model = _pooled()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    said = Options(assume={"pool": "max", "strides": "1"})
    checkpoint = load(tmp_path / "model.safetensors")
    target = build(checkpoint, identify(checkpoint, said), said)
    norms = [module for module in target.module.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [norm.running_mean.tolist() for norm in norms] == [model[i].running_mean.tolist() for i in (1, 5)]
    assert [norm.running_var.tolist() for norm in norms] == [model[i].running_var.tolist() for i in (1, 5)]


def _state(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"conv1": (4, 3, 3, 3), "conv2": (8, 5, 3, 3), "fc": (2, 8)}, "conv2 reads 5 channels"),
        ({"conv1": (4, 3, 3, 3), "conv2": (6, 3, 3, 3), "fc": (2, 6)}, "branched"),
        ({"conv1": (4, 3, 3, 3), "layer1.0.conv1": (4, 4, 3, 3), "fc": (2, 4)}, "residual block"),
        ({"conv1": (4, 3, 3, 3)}, "no linear layer"),
        ({"conv1": (4, 3, 3, 3), "fc": (2, 4), "gate": (4, 4, 4)}, "gate is neither"),
        ({"conv1": (4, 3, 3, 3), "fc": (2, 4 * 1013)}, "no conventional strides"),
        ({"conv1": (4, 7, 3, 3), "fc": (2, 64)}, "7-channel input"),
    ],
)
def test_what_is_no_plain_cnn_says_why(tmp_path: Path, shapes: dict[str, tuple[int, ...]], said: str) -> None:
    save_file(_state(shapes), tmp_path / "model.safetensors")
    with pytest.raises(UnknownModel, match=said) as caught:
        identify(load(tmp_path / "model.safetensors"), Options())
    assert caught.value.hint


def test_lists_have_one_entry_a_convolution(tmp_path: Path) -> None:
    save_file(_state({"conv1": (4, 3, 3, 3), "conv2": (8, 4, 3, 3), "fc": (2, 8)}), tmp_path / "model.safetensors")
    with pytest.raises(UnknownModel, match="3 strides for 2 convolutions"):
        identify(load(tmp_path / "model.safetensors"), Options(assume={"strides": "1/2/2"}))
