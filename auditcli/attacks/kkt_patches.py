"""Reconstruction from the KKT condition on the layers of a convolutional network. Public name: `kkt_patches`."""

from __future__ import annotations

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
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from auditcli.types import Budget, Target

_LEAST_DIRECTION = 1e-3
"""Relative to the largest singular value; smaller ones are weighted like this one."""
_STEPS = {torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, functional.relu}
_LEAKY = {functional.leaky_relu, functional.leaky_relu_}


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
    share: float = 0.1,
    start: float = 0.035,
    box_weight: float = 1.0,
    multiplier_weight: float = 5.0,
    least_multiplier: float = 0.6,
) -> Iterator[Step]:
    """Solves for images whose margin gradients add up to the kernels of a convolutional network.

    The condition is that of `kkt`: `theta = sum_i lambda_i grad m(x_i)` over training images x_i with margins m. The
    first layer sums over places, `grad_1 m(x_i) = sum_p delta_ip patch_ip^T`, so one image has many patches and the few
    equations of small kernels do not tell them apart. We ask the condition of every layer l of weights W_l (out, in),
    and minimise over x and lambda

        sum_l w_l |(W_l - sum_i lambda_i grad_l m(x_i)) V_l S_l^-p|^2 / |W_l V_l S_l^-p|^2 / sum_l w_l
        + box_weight * mean_i box(x_i) + multiplier_weight * sum_i relu(least_multiplier - lambda_i / mean lambda)^2

    with V_l and S_l the singular directions and values of W_l, and w_l = 1 for the first layer, `upper_weight` above.

    Args:
        target: A homogeneous network whose first layer is a convolution; one logit (binary) or one a class.
        budget: `candidates` images a restart are guessed, as many of each class. One restart after the other takes its
            part in a step.
        rng: Of the starting images and multipliers.
        pixel_rate: Adam step of the images, in pixel units.
        multiplier_rate: Adam step of the multipliers, in units of their starting mean.
        exponent: Final p. Single patches live in the small singular directions, which p brings up.
        anneal: Share of the steps over which p rises from 0.
        upper_weight: Of each layer behind the first, relative to the first.
        sharpness: Of the smoothed step of a ReLU, `sigmoid(sharpness z / rms(z))`.
        share: Norm of what the starting candidates explain of the first layer, relative to it.
        start: Standard deviation of the starting images around the mean image, in pixel units.
        box_weight: Of the squared distance to pixels in [0, 1], in units of the input space.
        multiplier_weight: Of the hinge (summed over candidates) that keeps every candidate in use.
        least_multiplier: Least multiplier that is not punished, relative to the mean.

    Yields:
        Candidates (r, n, c, h, w) in [0, 1]; the objective is the first term at the final exponent.

    Reference:
        Haim et al. 2022, arXiv:2206.07758, stationarity loss with double backward; Buzaglo et al. 2023,
        arXiv:2307.01827, who report that convolutional networks with small initial weights leak. We differ: each layer
        relative to its own norm and weighted, singular directions preconditioned with p annealed, Adam in place of
        SGD, softmax over the wrong classes in place of the largest.
    """
    profile = target.profile
    net = _Net.of(target, sharpness)
    importance = [1.0, *(upper_weight for _ in net.layers[1:])]
    sides = Sides.balanced(budget.candidates, profile.classes)
    device = net.layers[0].weight.device
    mean, std = (
        torch.tensor(values, device=device).view(-1, 1, 1)
        for values in (profile.normalisation.mean, profile.normalisation.std)
    )
    shape = (budget.restarts, budget.candidates, *profile.input_shape)
    offset = (torch.randn(shape, generator=rng) * start).to(device).requires_grad_()
    multipliers = torch.rand(shape[:2], generator=rng).add(0.5).to(device).requires_grad_()
    with torch.no_grad():
        alike = torch.ones_like(multipliers[0])
    units = [share * net.unit(images.detach() + mean, alike, sides) for images in offset]
    optimizer = torch.optim.Adam([{"params": [offset]}, {"params": [multipliers]}])
    for number in range(budget.steps):
        done = number / budget.steps
        for group, rate in zip(optimizer.param_groups, (pixel_rate, multiplier_rate), strict=True):
            group["lr"] = rate * 0.5 * (1 + cos(pi * done))
        optimizer.zero_grad()
        objective = []
        for images, own, unit in zip(offset + mean, multipliers, units, strict=True):
            residuals = net.residuals(images, own * unit, sides)
            loss = (
                _weighted(net.layers, residuals, importance, exponent * min(1.0, done / anneal))
                + box_weight * ((images - images.clamp(0, 1)) / std).square().flatten(1).sum(dim=1).mean()
                + multiplier_weight * _unused(own, least_multiplier)
            )
            loss.backward()
            with torch.no_grad():
                objective.append(_weighted(net.layers, residuals, importance, exponent))
        yield Step((offset.detach() + mean).clamp(0, 1), torch.stack(objective))
        optimizer.step()


@dataclass(frozen=True, slots=True)
class _Layer:
    """Weights of one layer as a matrix, and its singular directions."""

    name: str
    weight: Tensor
    """(out, in)."""
    basis: Tensor
    """(in, r)."""
    relative: Tensor
    """(r,) singular values relative to the largest."""

    @classmethod
    def of(cls, name: str, weight: Tensor) -> _Layer:
        matrix = weight.detach().flatten(1)
        _, values, rows = torch.linalg.svd(matrix, full_matrices=False)
        return cls(name, matrix, rows.T, (values / values[0]).clamp_min(_LEAST_DIRECTION))


@dataclass(frozen=True, slots=True)
class _Net:
    """A module with its weights as leaves, and steps of ReLUs smoothed where it is differentiated."""

    module: nn.Module
    weights: Mapping[str, Tensor]
    layers: tuple[_Layer, ...]
    """Matrices and kernels, in the order in which the module names them, from its first convolution on."""
    sharpness: float

    @classmethod
    def of(cls, target: Target, sharpness: float) -> _Net:
        weights = {name: value.detach().clone().requires_grad_() for name, value in target.module.named_parameters()}
        names = [name for name, value in weights.items() if value.ndim > 1]
        first = next(index for index, name in enumerate(names) if weights[name].ndim == 4)
        layers = tuple(_Layer.of(name, weights[name]) for name in names[first:])
        return cls(target.module, weights, layers, sharpness)

    def residuals(self, images: Tensor, multipliers: Tensor, sides: Sides) -> list[Tensor]:
        """What images (n, c, h, w) with multipliers (n,) leave unexplained of each layer, differentiable in both."""
        return [
            layer.weight - gradient.flatten(1)
            for layer, gradient in zip(self.layers, self._gradients(images, multipliers, sides), strict=True)
        ]

    def unit(self, images: Tensor, multipliers: Tensor, sides: Sides) -> float:
        """The multiplier at which the images together are as large as the first layer."""
        first = self._gradients(images, multipliers, sides)[0].detach().norm()
        return float(self.layers[0].weight.norm() / first.clamp_min(torch.finfo(first.dtype).tiny))

    def _gradients(self, images: Tensor, multipliers: Tensor, sides: Sides) -> tuple[Tensor, ...]:
        with torch.enable_grad(), _SmoothSteps(self.sharpness):
            logits = functional_call(self.module, dict(self.weights), (images,))
            total = (multipliers * _margins(logits, sides)).sum()
        leaves = [self.weights[layer.name] for layer in self.layers]
        return torch.autograd.grad(total, leaves, create_graph=True)


class _SmoothSteps(TorchFunctionMode):
    """Gives a rectifier the derivative `leak + (1 - leak) sigmoid(sharpness z / rms(z))`, and its values as they are.

    Whoever wrote the module: modules and functions of torch all end in the few calls that are caught here.
    """

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func in _STEPS:
            return _rectified(args[0] if args else named["input"], 0.0, self.sharpness)
        if func in _LEAKY:
            z = args[0] if args else named["input"]
            leak = args[1] if len(args) > 1 else named.get("negative_slope", 0.01)
            return _rectified(z, leak, self.sharpness)
        return func(*args, **named)


def _rectified(z: Tensor, leak: float, sharpness: float) -> Tensor:
    with torch.no_grad():
        steepness = sharpness / z.square().mean().sqrt().clamp_min(torch.finfo(z.dtype).tiny)
        values = torch.where(z > 0, z, leak * z)
    # The derivative of a softplus is a sigmoid; its own value cancels.
    smooth = leak * z + (1 - leak) * functional.softplus(steepness * z) / steepness
    return values + smooth - smooth.detach()


def _margins(logits: Tensor, sides: Sides) -> Tensor:
    """Margin (n,) of each image against the softmax over its wrong classes, held fixed, as in `margin_gradients`."""
    labels = sides.labels.to(logits.device)
    if logits.shape[1] == 1:
        return logits[:, 0] * (2.0 * labels - 1)
    own = functional.one_hot(labels, logits.shape[1]).bool()
    pull = own.to(logits.dtype) - logits.detach().masked_fill(own, -torch.inf).softmax(dim=1)
    return (pull * logits).sum(dim=1)


def _weighted(layers: tuple[_Layer, ...], residuals: list[Tensor], importance: list[float], exponent: float) -> Tensor:
    """Squared norms of the residuals against those of their layers, weighted by direction and by layer."""
    total = residuals[0].new_zeros(())
    for layer, residual, weight in zip(layers, residuals, importance, strict=True):
        basis = layer.basis * layer.relative.pow(-exponent)
        total = total + weight * (residual @ basis).square().sum() / (layer.weight @ basis).square().sum()
    return total / sum(importance)


def _unused(multipliers: Tensor, least: float) -> Tensor:
    """How far multipliers (n,) are below the least allowed share of their mean, squared and summed."""
    return (least - multipliers / multipliers.mean().detach().clamp_min(1e-6)).relu().square().sum()
