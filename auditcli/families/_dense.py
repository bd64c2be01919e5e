"""Chains of linear layers (`DenseChain`): as a module (`head`), and as a `DenseStack` with batch norm folded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from auditcli.families._activations import activation, is_homogeneous
from auditcli.types import DenseStack, Trait

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm in evaluation: `(x - mean) / sqrt(variance + eps) * weight + bias`, one of each a feature."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float

    @property
    def scale(self) -> Tensor:
        """Factor of the affine map that the batch norm is."""
        deviation = (self.variance + self.eps).sqrt()
        return (1.0 if self.weight is None else self.weight) / deviation

    @property
    def shift(self) -> Tensor:
        """Summand of the affine map that the batch norm is."""
        return (0.0 if self.bias is None else self.bias) - self.mean * self.scale

    def module(self, kind: type[nn.BatchNorm1d | nn.BatchNorm2d]) -> nn.Module:
        """A torch layer with the recorded statistics, which some attacks read."""
        layer = kind(len(self.mean), eps=self.eps)
        weight = torch.ones_like(self.mean) if self.weight is None else self.weight
        bias = torch.zeros_like(self.mean) if self.bias is None else self.bias
        state = {"running_mean": self.mean, "running_var": self.variance, "weight": weight, "bias": bias}
        layer.load_state_dict(state, strict=False)
        return layer


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer (out, in), with the batch norm that follows it, if any."""

    weight: Tensor
    bias: Tensor | None
    norm: Norm | None = None


@dataclass(frozen=True, slots=True)
class DenseChain:
    """Linear layers with one activation between them; batch norm stands before or after the activation."""

    layers: tuple[Dense, ...]
    activation: str
    norm_after: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of the input, of each hidden layer and of the output."""
        return (self.layers[0].weight.shape[1], *(len(layer.weight) for layer in self.layers))

    @property
    def traits(self) -> frozenset[Trait]:
        """What attacks may ask of the chain."""
        traits = {Trait.DENSE, Trait.FIRST_LAYER_LINEAR}
        norms = any(layer.norm for layer in self.layers)
        biases = any(layer.bias is not None and bool(layer.bias.any()) for layer in self.layers[1:])
        if norms:
            traits.add(Trait.BATCH_NORM)
        if not norms and not biases and is_homogeneous(self.activation):
            traits.add(Trait.HOMOGENEOUS)
        return frozenset(traits)

    def stack(self) -> DenseStack:
        """The chain with each batch norm folded into the linear layer before it, or behind the activation after it."""
        weights, biases = [], []
        pending: Norm | None = None
        for index, layer in enumerate(self.layers):
            weight, bias = layer.weight, layer.bias
            if pending is not None:
                shift = weight @ pending.shift
                weight, bias = weight * pending.scale, shift if bias is None else bias + shift
            last = index == len(self.layers) - 1
            pending = layer.norm if self.norm_after and not last else None
            if layer.norm is not None and pending is None:
                weight = layer.norm.scale[:, None] * weight
                bias = layer.norm.shift + (0.0 if bias is None else layer.norm.scale * bias)
            weights.append(weight.clone())
            biases.append(None if bias is None else bias.clone())
        return DenseStack(tuple(weights), tuple(biases), self.activation)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A torch layer with these parameters."""
    layer = nn.Linear(weight.shape[1], len(weight), bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.clone())
    return layer


def head(chain: DenseChain) -> nn.Sequential:
    """The chain as a module on (n, d)."""
    modules: list[nn.Module] = []
    for index, layer in enumerate(chain.layers):
        modules.append(linear(layer.weight, layer.bias))
        norm = [] if layer.norm is None else [layer.norm.module(nn.BatchNorm1d)]
        act = [activation(chain.activation)] if index < len(chain.layers) - 1 else []
        modules += [*act, *norm] if chain.norm_after else [*norm, *act]
    return nn.Sequential(*modules)
