"""Networks of other libraries with their second derivatives, against the operations that are spelled out."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auditcli.families._blueprint import TooLarge, blueprint, differences, filled, runs_on
from auditcli.families._smooth import TwiceDifferentiable

MASK = torch.rand(5, 7, generator=torch.Generator().manual_seed(1)) > 0.3
MASK[:, 0] = True


class Calls(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def attention(**options: Any) -> Callable[[Tensor], Tensor]:
    heads = 2 if options.get("enable_gqa") else 4
    keys = 5 if options.get("is_causal") else 7
    fixed = [torch.randn(3, heads, keys, 8, generator=torch.Generator().manual_seed(seed)) for seed in (2, 3)]
    return lambda x: F.scaled_dot_product_attention(x, *fixed, **options)


@pytest.mark.parametrize(
    "function",
    [
        F.hardswish,
        lambda x: F.hardswish(x.clone(), inplace=True),
        F.hardsigmoid,
        nn.Hardswish(),
        nn.Hardsigmoid(),
        attention(),
        attention(scale=0.5),
        attention(attn_mask=MASK),
        attention(attn_mask=torch.randn(5, 7)),
        attention(is_causal=True),
        attention(enable_gqa=True),
    ],
)
def test_values_and_gradients_are_those_of_torch_and_a_second_derivative_exists(function: Any) -> None:
    x = (2 * torch.randn(3, 4, 5, 8, generator=torch.Generator().manual_seed(0))).requires_grad_()
    expected, found = function(x), TwiceDifferentiable(Calls(function))(x)
    assert torch.allclose(found, expected, atol=1e-5)
    (wanted,) = torch.autograd.grad(expected.square().sum(), x)
    (first,) = torch.autograd.grad(found.square().sum(), x, create_graph=True)
    assert torch.allclose(first, wanted, atol=1e-4)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    assert second.isfinite().all()
    assert second.abs().sum() > 0


def test_nothing_is_changed_outside_the_network() -> None:
    before = F.hardsigmoid
    TwiceDifferentiable(nn.Hardsigmoid())(torch.zeros(1))
    assert F.hardsigmoid is before
    x = torch.zeros(1, requires_grad=True)
    assert "hardsigmoid" in type(F.hardsigmoid(x).grad_fn).__name__.lower()


# ---- networks without memory ----------------------------------------------------------------------------------------


class Tabled(nn.Module):
    """A network with a table that is never stored, made where its parameters are or where buffers are."""

    def __init__(self, *, beside_parameters: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        device = self.linear.weight.device if beside_parameters else None
        self.register_buffer("table", torch.arange(3.0, device=device), persistent=False)
        self.register_buffer("stored", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)) + self.table + self.stored


@pytest.mark.parametrize("beside_parameters", [False, True])
def test_a_filled_network_holds_the_weights_and_its_tables(beside_parameters: bool) -> None:
    weights = {"linear.weight": torch.randn(3, 4), "linear.bias": torch.randn(3), "stored": torch.randn(3)}

    def make() -> nn.Module:
        return Tabled(beside_parameters=beside_parameters)

    hollow = blueprint(make, weights)
    assert all(tensor.is_meta for tensor in (*hollow.parameters(), *hollow.buffers()))
    assert runs_on(hollow, (1, 2, 2)) == 3
    assert isinstance(runs_on(hollow, (1, 3, 3)), str)
    net = filled(make, weights)
    x = torch.randn(2, 1, 2, 2)
    linear = x.flatten(1) @ weights["linear.weight"].T + weights["linear.bias"]
    assert torch.allclose(net(x), linear + torch.arange(3.0) + weights["stored"], atol=1e-6)
    assert net.linear.weight.data_ptr() == weights["linear.weight"].data_ptr()


def test_a_network_larger_than_its_weights_stops_early() -> None:
    made = []

    def make() -> nn.Module:
        return nn.Sequential(*(made.append(1) or nn.Linear(1000, 1000) for _ in range(10_000)))

    with pytest.raises(TooLarge, match="twice as large"):
        blueprint(make, {"weight": torch.ones(2)})
    assert len(made) < 10
    with pytest.raises(TooLarge):
        blueprint(lambda: nn.Sequential(*(nn.Linear(1, 1) for _ in range(10_000))), {"weight": torch.ones(2)})


def test_differences_are_named() -> None:
    weights = {"weight": torch.ones(2, 2), "other": torch.ones(1)}
    found = differences(nn.Linear(2, 3), weights)
    assert found == {"missing": ["bias"], "unexpected": ["other"], "mismatched": ["weight"]}
