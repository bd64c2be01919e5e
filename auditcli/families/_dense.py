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
class LayerNorm:
    """A layer norm over the last axis: `(x - mean(x)) / sqrt(var(x) + eps) * weight + bias`."""

    weight: Tensor
    bias: Tensor | None
    eps: float

    def module(self, _: object = None) -> nn.Module:
        """A torch layer with these parameters."""
        layer = nn.LayerNorm(len(self.weight), eps=self.eps, bias=self.bias is not None)
        state = {"weight": self.weight} | ({} if self.bias is None else {"bias": self.bias})
        layer.load_state_dict(state)
        return layer


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer (out, in), with the norm that follows it, if any."""

    weight: Tensor
    bias: Tensor | None
    norm: Norm | LayerNorm | None = None
    norm_after: bool | None = None
    """Whether the norm stands behind the activation; None for what holds for the whole chain."""
    active: bool = True
    """Whether the activation follows."""


@dataclass(frozen=True, slots=True)
class DenseChain:
    """Linear layers with one activation between them; a norm stands before or after the activation."""

    layers: tuple[Dense, ...]
    activation: str
    norm_after: bool = False
    first: Norm | None = None
    """A batch norm on the input."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of the input, of each hidden layer and of the output."""
        return (self.layers[0].weight.shape[1], *(len(layer.weight) for layer in self.layers))

    @property
    def traits(self) -> frozenset[Trait]:
        """What attacks may ask of the chain."""
        traits = {Trait.FIRST_LAYER_LINEAR} | ({Trait.DENSE} if self.folds else set())
        norms = self.first is not None or any(layer.norm for layer in self.layers)
        biases = any(layer.bias is not None and bool(layer.bias.any()) for layer in self.layers[1:])
        if self.first is not None or any(isinstance(layer.norm, Norm) for layer in self.layers):
            traits.add(Trait.BATCH_NORM)
        if not norms and not biases and is_homogeneous(self.activation):
            traits.add(Trait.HOMOGENEOUS)
        return frozenset(traits)

    @property
    def folds(self) -> bool:
        """Whether it is linear layers and one activation between them, once batch norm is folded."""
        folding = not any(isinstance(layer.norm, LayerNorm) for layer in self.layers)
        return folding and all(layer.active for layer in self.layers[:-1])

    def follows(self, layer: Dense) -> bool:
        """Whether the layer's norm stands behind the activation."""
        return self.norm_after if layer.norm_after is None else layer.norm_after

    def stack(self) -> DenseStack | None:
        """The chain with each batch norm folded into a linear layer beside it; None where it does not fold."""
        if not self.folds:
            return None
        weights, biases = [], []
        pending = self.first
        for index, layer in enumerate(self.layers):
            weight, bias = layer.weight, layer.bias
            if pending is not None:
                shift = weight @ pending.shift
                weight, bias = weight * pending.scale, shift if bias is None else bias + shift
            last = index == len(self.layers) - 1
            norm = layer.norm if isinstance(layer.norm, Norm) else None
            pending = norm if self.follows(layer) and not last else None
            if norm is not None and pending is None:
                weight = norm.scale[:, None] * weight
                bias = norm.shift + (0.0 if bias is None else norm.scale * bias)
            weights.append(weight)
            biases.append(bias)
        return DenseStack(tuple(weights), tuple(biases), self.activation)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A torch layer with these parameters."""
    layer = nn.Linear(weight.shape[1], len(weight), bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return layer


def head(chain: DenseChain) -> nn.Sequential:
    """The chain as a module on (n, d)."""
    modules: list[nn.Module] = [] if chain.first is None else [chain.first.module(nn.BatchNorm1d)]
    for index, layer in enumerate(chain.layers):
        modules.append(linear(layer.weight, layer.bias))
        norm = [] if layer.norm is None else [layer.norm.module(nn.BatchNorm1d)]
        act = [activation(chain.activation)] if index < len(chain.layers) - 1 and layer.active else []
        modules += [*act, *norm] if chain.follows(layer) else [*norm, *act]
    return nn.Sequential(*modules)
