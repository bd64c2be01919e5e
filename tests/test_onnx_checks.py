"""What the checks of a converted graph accept, and what they refuse."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from onnx_examples import cnn, export, mlp
from torch import nn

from auditcli.errors import LoadError
from auditcli.loading import load
from auditcli.loading.conversion import checks, conversion
from auditcli.loading.conversion.converters import Converter

IMAGE = (3, 8, 8)


class Detached(nn.Module):
    """Right outputs, but part of them does not depend on the pixels as far as torch knows."""

    def __init__(self, net: nn.Module, share: float) -> None:
        super().__init__()
        self.net, self.share = net, share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.net(x)
        return (1 - self.share) * out + self.share * out.detach()


class Once(nn.Module):
    """Can be differentiated once."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(nn.functional.hardsigmoid(x))


def _relu_network() -> nn.Module:
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*body, nn.Linear(16, 10)).eval()


@pytest.mark.parametrize("make", [mlp, cnn, _relu_network])
def test_right_gradients_pass(make: Callable[[], nn.Module]) -> None:
    model = make()
    image = torch.rand(1, *((3, 4, 4) if make is mlp else IMAGE))
    found = checks.gradient(model, image)
    assert found.difference < 1e-6
    assert not found.vanishes
    checks.second_derivative(model, image)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("make", [mlp, cnn, _relu_network])
@pytest.mark.parametrize("share", [1.0, 0.1, 0.01])
def test_a_part_without_gradient_is_found(make: Callable[[], nn.Module], share: float) -> None:
    image = torch.rand(1, *((3, 4, 4) if make is mlp else IMAGE))
    with pytest.raises(checks.Disagreement, match="off central differences"):
        checks.gradient(Detached(make(), share), image)


def test_gradients_are_checked_where_constants_stay_float32() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x) @ torch.eye(4)

    torch.manual_seed(0)
    model, image = Mixed(), torch.rand(1, 3, 4, 4)
    assert checks.gradient(model, image).difference < 0.1
    with pytest.raises(checks.Disagreement, match="off central differences"):
        checks.gradient(Detached(model, 1.0), image)


def test_steps_have_no_gradient_and_pass() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 12), nn.Hardtanh(), nn.Linear(12, 4))

    class Signs(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return model[3](model[1](x.flatten(1)).sign())

    found = checks.gradient(Signs(), torch.rand(1, 3, 4, 4))
    assert found == (0.0, True)


def test_gradients_that_are_not_finite_are_found() -> None:
    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x - x).abs().sqrt().flatten(1)

    with pytest.raises(checks.Disagreement, match="not finite"):
        checks.gradient(Root(), torch.rand(1, 3, 4, 4))


def test_a_second_derivative_that_torch_lacks_is_found() -> None:
    with pytest.raises(RuntimeError, match="derivative"):
        checks.second_derivative(Once(mlp()), torch.rand(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda out: out + 0.01, "is off by 0.01"),
        (lambda out: out[:, :-1], r"returns \(3, 3\)"),
        (lambda out: out + torch.tensor([[0], [4e-5], [0]]), "changes between two images otherwise"),
    ],
)
def test_wrong_outputs_are_found(wrong: Callable[[torch.Tensor], torch.Tensor], said: str) -> None:
    images = checks.images((3, 4, 4), low=0, high=1)
    outputs = 1e-3 * mlp()(images).detach()
    outputs[2] += 0.5
    assert checks.outputs(outputs.clone(), outputs, "it") == 0
    with pytest.raises(checks.Disagreement, match=said):
        checks.outputs(wrong(outputs), outputs, "it")


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda net: Detached(net, 0.5), "onnx2fx has an input gradient that is .*% off"),
        (Once, "onnx2fx is off by"),
    ],
)
def test_a_conversion_is_refused_with_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrap: Callable[[nn.Module], nn.Module], said: str
) -> None:
    right = conversion.CONVERTERS[0]
    wrong = Converter(right.name, lambda draft: wrap(right.convert(draft)))
    monkeypatch.setattr(conversion, "CONVERTERS", (wrong,))
    export(mlp(), (3, 4, 4), tmp_path / "m.onnx")
    with pytest.raises(LoadError, match=said):
        load(tmp_path / "m.onnx")
