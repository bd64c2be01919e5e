"""Images choose what bare weights leave open, or leave it open: on small models trained on shipped images."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from auditcli.auditing import audit
from auditcli.errors import OpenQuestion, SampleError
from auditcli.families import NORMALISATION, SHAPE, Options, build, identify
from auditcli.hypotheses import resolve
from auditcli.hypotheses._choose import _by_accuracy, _by_statistics, floor
from auditcli.hypotheses._measure import Layer, Measured, measure
from auditcli.hypotheses._search import Tried
from auditcli.images import shape_of
from auditcli.inspection import inspect
from auditcli.loading import load
from auditcli.types import Profile

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@cache
def shipped() -> tuple[torch.Tensor, torch.Tensor]:
    """The Fashion-MNIST images that ship, in [0, 1], and their classes, in a fixed random order."""
    images, labels = [], []
    for name in ("controls.npz", "mlp-honest/members.npz", "mlp-leaky/members.npz", "cnn-leaky/members.npz"):
        with np.load(FIXTURES / name) as held:
            images.append(held["images"].reshape(-1, 28, 28))
            labels.append(held["labels"])
    order = np.random.default_rng(0).permutation(sum(map(len, images)))
    return torch.from_numpy(np.concatenate(images)[order]), torch.from_numpy(np.concatenate(labels)[order]).long()


class Strided(nn.Module):
    """conv1 bn1 conv2 bn2 fc, stride 2: names show neither strides, nor places, nor activation."""

    def __init__(self, act: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12)
        self.fc, self.act = nn.Linear(12 * 49, 10), act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.bn1(self.conv1(x)))
        return self.fc(self.act(self.bn2(self.conv2(x))).flatten(1))


class Perceptron(nn.Module):
    def __init__(self, act: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Linear(784, 48), nn.Linear(48, 10), act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(x.flatten(1))))


@cache
def trained(
    kind: type[nn.Module], act: Callable[[torch.Tensor], torch.Tensor], mean: float = 0, std: float = 1
) -> nn.Module:
    torch.manual_seed(0)
    model, (images, labels) = kind(act), shipped()
    pixels = (images.float().div(255).unsqueeze(1) - mean) / std
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(25):
        for batch in torch.randperm(len(pixels)).split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(pixels[batch]), labels[batch]).backward()
            optimiser.step()
    return model.eval()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    images, labels = shipped()
    np.savez(tmp_path / "images.npz", images=images.numpy(), labels=labels.numpy())
    np.savez(tmp_path / "unlabelled.npz", images=images.numpy())
    return tmp_path / "images.npz"


def saved(model: nn.Module, folder: Path) -> Path:
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    return folder / "model.safetensors"


def difference(
    model: nn.Module, path: Path, profile: Profile, options: Options, mean: float = 0, std: float = 1
) -> float:
    images = shipped()[0][:16].float().div(255).unsqueeze(1)
    with torch.no_grad():
        ours = build(load(path), profile, options)(images)
        return (ours - model((images - mean) / std)).abs().max().item()


def test_batch_norm_statistics_choose_geometry_activation_and_normalisation(tmp_path: Path, pictures: Path) -> None:
    model = trained(Strided, nn.functional.silu, 0.2860, 0.3530)
    path = saved(model, tmp_path)
    checkpoint = load(path)
    with pytest.raises(OpenQuestion, match="conventional geometries"):
        identify(checkpoint, Options())
    # No label is needed: the recorded statistics are those of these images under the right network alone.
    profile, options = resolve(checkpoint, Options(), controls=pictures.with_name("unlabelled.npz"))
    chosen = {key: choice.value for key, choice in options.chosen.items()}
    assert (chosen["strides"], chosen["pool"], chosen["activation"]) == ("2", "none", "silu")
    assert chosen[NORMALISATION] == "0.2860/0.3530"
    assert chosen[SHAPE] == "1,28,28"
    assert difference(model, path, profile, options, 0.2860, 0.3530) < 1e-3
    listed = {one.what: one for one in profile.assumptions}
    assert listed["activation"].value == "silu"
    assert "chosen by" in listed["activation"].why
    assert listed["activation"].flag == "--assume activation=..."
    assert any("batch-norm statistics" in sentence for sentence in profile.evidence)


def test_accuracy_tells_tanh_from_relu(tmp_path: Path, pictures: Path) -> None:
    model = trained(Perceptron, torch.tanh)
    path = saved(model, tmp_path)
    profile, options = resolve(load(path), Options(), reference=pictures)
    assert options.chosen["activation"].value == "tanh"
    assert difference(model, path, profile, options) < 1e-3
    assert any("labelled members" in sentence for sentence in profile.evidence)


def test_what_images_cannot_tell_stays_the_default_and_is_said(tmp_path: Path, pictures: Path) -> None:
    path = saved(trained(Perceptron, nn.functional.gelu), tmp_path)
    profile, options = resolve(load(path), Options(), controls=pictures)
    assert "activation" not in options.chosen
    assert {one.what: one.value for one in profile.assumptions}["activation"] == "relu"
    assert any("do not tell it from" in sentence and "gelu" in sentence for sentence in profile.evidence)


def test_without_labels_and_batch_norm_nothing_is_chosen(tmp_path: Path, pictures: Path) -> None:
    path = saved(trained(Perceptron, torch.tanh), tmp_path)
    profile, options = resolve(load(path), Options(), controls=pictures.with_name("unlabelled.npz"))
    assert not set(options.chosen) - {SHAPE}
    assert any("labelled images are needed" in sentence for sentence in profile.evidence)


def test_an_untrained_network_leaves_the_question_open(tmp_path: Path, pictures: Path) -> None:
    torch.manual_seed(1)
    path = saved(Strided(nn.functional.relu), tmp_path)
    said = Options(assume={"activation": "relu", "norm": "before"}, mean=(0.0,), std=(1.0,))
    with pytest.raises(OpenQuestion, match="not even the best finds the recorded") as caught:
        resolve(load(path), said, controls=pictures)
    assert len(caught.value.candidates) > 3
    assert caught.value.hint


def test_a_model_that_is_hardly_ever_right_is_not_passed_over_in_silence(tmp_path: Path, pictures: Path) -> None:
    torch.manual_seed(1)
    path = saved(Perceptron(nn.functional.relu), tmp_path)
    profile, _ = resolve(load(path), Options(), controls=pictures)
    assert any("a wrong assumption would look like this" in sentence for sentence in profile.evidence)


def test_what_was_stated_is_not_put_in_question(tmp_path: Path, pictures: Path) -> None:
    path = saved(trained(Perceptron, torch.tanh), tmp_path)
    profile, options = resolve(
        load(path), Options(assume={"activation": "relu"}, mean=(0.0,), std=(1.0,)), controls=pictures
    )
    assert "activation" not in options.chosen
    assert "activation" not in {one.what for one in profile.assumptions}


def test_without_images_nothing_changes(tmp_path: Path) -> None:
    path = saved(trained(Perceptron, torch.tanh), tmp_path)
    checkpoint = load(path)
    assert resolve(checkpoint, Options()) == (identify(checkpoint, Options()), Options())


def test_inspect_and_scan_take_the_images(tmp_path: Path, pictures: Path) -> None:
    path = saved(trained(Perceptron, torch.tanh), tmp_path)
    found = inspect(path, controls=pictures)
    assert {one.what: one.value for one in found.assumptions}["activation"] == "tanh"
    report = audit(path, controls=pictures, budget=600.0, profile="quick", attacks=["noise"])
    assert {one.what: one.value for one in report.model.assumptions}["activation"] == "tanh"


def test_images_of_another_shape_are_an_error(tmp_path: Path, pictures: Path) -> None:
    np.savez(tmp_path / "wide.npz", images=np.zeros((4, 20, 30), dtype=np.uint8))
    path = saved(trained(Perceptron, torch.tanh), tmp_path)
    with pytest.raises(SampleError, match="28x28"):
        resolve(load(path), Options(), controls=tmp_path / "wide.npz")


# ---- the parts ------------------------------------------------------------------------------------------------------


def test_the_distance_is_that_of_normal_distributions() -> None:
    values = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)).double()
    mean, variance = values.mean(0), values.var(0, correction=0)
    everything = torch.ones(1, 400, dtype=torch.float64)

    def distance(at: torch.Tensor, spread: torch.Tensor) -> float:
        layer = Layer(at, spread, values, values.square())
        return Measured(torch.zeros(400, 2), (layer,)).distances(everything).item()

    assert distance(mean, variance) == pytest.approx(0, abs=1e-9)
    # By quadrature of the densities: 1 - integral of sqrt(p q).
    grid = torch.linspace(-30, 30, 60001, dtype=torch.float64)
    shifted, wider = mean + 0.7, 2.5 * variance
    for channel in range(3):
        p = torch.distributions.Normal(shifted[channel], wider[channel].sqrt()).log_prob(grid)
        q = torch.distributions.Normal(mean[channel], variance[channel].sqrt()).log_prob(grid)
        integral = torch.trapezoid(((p + q) / 2).exp(), grid).item()
        layer = Layer(
            shifted[channel : channel + 1],
            wider[channel : channel + 1],
            values[:, channel : channel + 1],
            values[:, channel : channel + 1].square(),
        )
        found = Measured(torch.zeros(400, 2), (layer,)).distances(everything).item()
        assert found == pytest.approx(1 - integral, abs=1e-5)
    assert 0 < distance(mean + 1, variance) < distance(mean + 2, variance) < 1


def test_measuring_sees_the_inputs_of_batch_norm_and_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    path = saved(Strided(nn.functional.relu), tmp_path)
    said = Options(assume={"strides": "2", "pool": "none"})
    target = build(load(path), identify(load(path), said), said)
    images = torch.rand(70, 1, 28, 28)
    found = measure(target, images)
    norms = [module for module in target.module.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(found.layers) == 2
    first = nn.functional.conv2d(images, load(path).tensors["conv1.weight"], load(path).tensors["conv1.bias"], 2, 1)
    assert torch.allclose(found.layers[0].first.float(), first.mean((2, 3)), atol=1e-5)
    assert torch.allclose(found.layers[0].second.float(), first.square().mean((2, 3)), atol=1e-5)
    assert torch.allclose(found.logits, target(images), atol=1e-5)
    assert not any(norm._forward_pre_hooks for norm in norms)


def _tried(right: list[bool], distance: float | None = None) -> Tried:
    logits = torch.tensor([[0.0, 1.0] if each else [1.0, 0.0] for each in right])
    return Tried(None, Measured(logits, ()), distance, sum(right) / len(right))  # type: ignore[arg-type]


def test_accuracies_are_compared_on_the_images_where_they_differ() -> None:
    labels = torch.ones(100, dtype=torch.int64)
    best, near, far = (
        _tried([True] * 90 + [False] * 10),
        _tried([True] * 85 + [False] * 15),
        _tried([True] * 50 + [False] * 50),
    )
    assert _by_accuracy([far, near, best], labels) == [best, near]
    # Five images more and no other difference is p = 1/32; 40 more is p = 2 ** -40.


def test_statistics_reject_only_what_is_clearly_farther() -> None:
    values = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)).double()
    mean, variance = values.mean(0), values.var(0, correction=0)

    def at(shift: float) -> Tried:
        found = Measured(torch.zeros(300, 2), (Layer(mean + shift, variance, values, values.square()),))
        distance = found.distances(torch.ones(1, 300, dtype=torch.float64)).item()
        return replace(_tried([True] * 300), measured=found, distance=distance)

    near, close, far = at(0.1), at(0.11), at(0.5)
    assert _by_statistics([far, close, near]) == [near, close]


@pytest.mark.parametrize(("classes", "least"), [(2, 0.75), (3, 2 / 3), (10, 0.2), (1000, 0.002)])
def test_the_floor_is_twice_chance_where_that_can_be_reached(classes: int, least: float) -> None:
    assert floor(classes) == pytest.approx(least)


def test_the_shape_of_images_is_read_from_a_header(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (5, 4)).save(tmp_path / "1.png")
    assert shape_of(tmp_path, role="controls") == (3, 4, 5)
    (tmp_path / "1.png").unlink()
    Image.new("L", (6, 7)).save(tmp_path / "2.png")
    assert shape_of(tmp_path, role="controls") == (1, 7, 6)
    (tmp_path / "2.png").write_bytes(b"no image")
    assert shape_of(tmp_path, role="controls") is None
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 8, 9, 3), dtype=np.uint8))
    assert shape_of(tmp_path / "x.npz", role="controls") == (3, 8, 9)
    (tmp_path / "y.npz").write_bytes(b"PK")
    assert shape_of(tmp_path / "y.npz", role="controls") is None
