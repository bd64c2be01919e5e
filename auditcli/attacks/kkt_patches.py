"""Reconstruction from the KKT condition on all layers of a convolutional network. Public name: `kkt_patches`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from auditcli.attacks._attack import attack
from auditcli.types import Step, Trait
from auditcli.weights import Sides

if TYPE_CHECKING:
    from torch import Tensor, nn

    from auditcli.types import Budget, Profile, Target


@attack(
    paper="arXiv:2206.07758, arXiv:2307.01827",
    requires=frozenset({Trait.FIRST_LAYER_CONVOLUTION, Trait.HOMOGENEOUS}),
    on_request=True,
)
def kkt_patches(
    target: Target,
    budget: Budget,
    rng: torch.Generator,
    *,
    pixel_rate: float = 0.01,
    multiplier_rate: float = 0.05,
    exponent: float = 0.5,
    anneal: float = 0.7,
    upper_weight: float = 0.1,
    sharpness: float = 20.0,
    share: float = 0.001,
    start: float = 0.035,
    smoothness: float = 0.0,
    box_weight: float = 1.0,
    multiplier_weight: float = 5.0,
    least_multiplier: float = 0.6,
) -> Iterator[Step]:
    dense_classes = target.profile.classes
    profile = target.profile
    net = _Net.of(target, sharpness)
    n = min(budget.candidates, 4 * max(2, profile.classes) * 8)
    sides = Sides.balanced(n, dense_classes)
    mean = _mean(profile, net.like)
    shape = (budget.restarts, n, *profile.input_shape)
    offset = (torch.randn(shape, generator=rng) * start).to(net.like.device).requires_grad_()
    multipliers = torch.rand(budget.restarts, n, generator=rng).add(0.5).to(net.like.device).requires_grad_()
    layers = [_Layer.of(name, value) for name, value in net.values.items() if value.ndim > 1]
    first = next(index for index, layer in enumerate(layers) if layer.convolution)
    importance = [1.0 if index == first else upper_weight for index in range(len(layers))]
    optimizer = torch.optim.Adam([{"params": [offset]}, {"params": [multipliers]}])
    units: list[float] = []
    for number in range(budget.steps):
        done = number / budget.steps
        for group, rate in zip(optimizer.param_groups, (pixel_rate, multiplier_rate), strict=True):
            group["lr"] = rate * 0.5 * (1 + cos(pi * done))
        if not units:
            for r in range(budget.restarts):
                g = net.gradients(offset[r] + mean, multipliers[r].detach(), sides)
                units.append(
                    share * float(layers[first].theta.norm() / g[layers[first].name].detach().norm().clamp_min(1e-20))
                )
        optimizer.zero_grad()
        objective = []
        for r in range(budget.restarts):
            gradients = net.gradients(offset[r] + mean, multipliers[r] * units[r], sides)
            residuals = [layer.theta - gradients[layer.name].flatten(1) for layer in layers]
            p = exponent * min(1.0, done / anneal)
            fit = sum(w * layer.weighted(x, p) for w, layer, x in zip(importance, layers, residuals, strict=True))
            pixels = offset[r] + mean
            loss = (
                fit
                + box_weight * ((pixels - pixels.clamp(0, 1)) / net.std).square().sum(dim=(1, 2, 3)).mean()
                + multiplier_weight * _unused(multipliers[r], least_multiplier)
            )
            if smoothness:
                loss = loss + smoothness * (pixels.diff(dim=2).abs().mean() + pixels.diff(dim=3).abs().mean())
            loss.backward()
            with torch.no_grad():
                objective.append(
                    sum(
                        w * layer.weighted(x, exponent)
                        for w, layer, x in zip(importance, layers, residuals, strict=True)
                    ).detach()
                )
        yield Step((offset.detach() + mean).clamp(0, 1), torch.stack(objective))
        optimizer.step()


@dataclass(frozen=True, slots=True)
class _Net:
    module: Any
    values: Mapping[str, Tensor]
    sharpness: float
    std: Any

    @classmethod
    def of(cls, target, sharpness):
        values = {
            n: p.detach().clone().requires_grad_() for n, p in target.module.named_parameters() if p.is_floating_point()
        }
        std = torch.tensor(target.profile.normalisation.std)[:, None, None].to(next(iter(values.values())).device)
        return cls(target.module, values, sharpness, std)

    @property
    def like(self):
        return next(iter(self.values.values()))

    def gradients(self, images, multipliers, sides):
        with _Smooth(self.sharpness):
            logits = functional_call(self.module, dict(self.values), (images,))
        margins = _margins(logits, sides)
        names = [name for name, value in self.values.items() if value.ndim > 1]
        found = torch.autograd.grad(
            (multipliers * margins).sum(), [self.values[name] for name in names], create_graph=True
        )
        return dict(zip(names, found, strict=True))


@dataclass(frozen=True, slots=True)
class _Layer:
    name: str
    theta: Any
    basis: Any
    relative: Any
    convolution: bool

    @classmethod
    def of(cls, name, value):
        theta = value.detach().flatten(1)
        u, s, vh = torch.linalg.svd(theta, full_matrices=False)
        rel = (s / s[0]).clamp_min(1e-3)
        return cls(name, theta, vh.T, rel, value.ndim == 4)

    def weighted(self, residual, p):
        w = self.relative.pow(-p)
        return ((residual @ self.basis) * w).square().sum() / ((self.theta @ self.basis) * w).square().sum()


class _Smooth(TorchFunctionMode):
    def __init__(self, sharpness):
        super().__init__()
        self.sharpness = sharpness

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.relu, torch.relu_, functional.relu, torch.Tensor.relu, torch.Tensor.relu_):
            z = args[0]
            with torch.no_grad():
                a = self.sharpness / z.square().mean().sqrt().clamp_min(1e-20)
            smooth = functional.softplus(z * a) / a
            return z.detach().clamp_min(0) + smooth - smooth.detach()
        return func(*args, **(kwargs or {}))


def _margins(logits, sides):
    labels = sides.labels.to(logits.device)
    if logits.shape[1] == 1:
        return logits[:, 0] * (2.0 * labels - 1)
    own = functional.one_hot(labels, logits.shape[1]).bool()
    q = logits.detach().masked_fill(own, -torch.inf).softmax(dim=1)
    return logits[own] - (q * logits).sum(dim=1)


def _mean(profile, like):
    return torch.tensor(profile.normalisation.mean, dtype=like.dtype, device=like.device)[:, None, None]


def _unused(multipliers, least):
    share = multipliers / multipliers.mean().detach().clamp_min(1e-6)
    return (least - share).relu().square().sum()
