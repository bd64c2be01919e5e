"""What a converted graph must do before anything is computed with it: `outputs`, `gradient` and `second_derivative`.

Central differences tell a gradient apart from a wrong one only where the network is smooth between the two points, and
a step long enough to rise above the rounding of float32 crosses the kinks of thousands of ReLUs: over networks with
random weights the best step still leaves up to 8 % of disagreement. So the question is split. On float32, outputs and
their differences between two nearby images are compared with the evaluator's: both see the same kinks. In float64,
where a step of 1e-7 crosses next to no kinks and is exact to 1e-6, the gradient is compared with the differences of the
module itself.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

OUTPUT_TOLERANCE = 1e-4
"""Largest accepted difference of outputs, relative to the largest output."""
CHANGE_TOLERANCE = 1e-2
"""Largest accepted difference of the change between two nearby images, relative to that change."""
_NOISE = 5e-5
"""Rounding of float32 in a deep network, relative to its outputs: sums over 25,000 inputs differ by 4e-5."""
_NEARBY = 0.05
_ALONG = 3
"""Share of the gradient in the direction of the derivative, beside a random direction of length one on each pixel."""


class _Scale(NamedTuple):
    """How central differences are taken in one precision."""

    steps: tuple[float, ...]
    """Each is tried, for a kink that lies within a step makes them disagree."""
    tolerance: float
    """Largest accepted difference of the derivative along a direction, relative to a gradient of this length."""
    rounding: float
    """Of one output, relative to it."""


_FINE = _Scale(steps=(1e-7, 1e-6, 1e-8), tolerance=1e-3, rounding=1e-14)
_COARSE = _Scale(steps=(1e-2, 3e-3, 1e-3), tolerance=1e-1, rounding=5e-7)


class Gradient(NamedTuple):
    """How far a gradient is from central differences."""

    difference: float
    """Along a random direction, relative to what a gradient of this length gives."""
    vanishes: bool
    """It is zero for every pixel."""


class Disagreement(ValueError):  # noqa: N818 - named for what was found
    """A converted graph computes something else than the file; the message says what differs, and by how much."""


def images(shape: tuple[int, ...], *, low: float, high: float) -> Tensor:
    """Three inputs (3, ...): pixels in [0, 1], their neighbours, and pixels spread as normalised ones are."""
    rng = torch.Generator().manual_seed(0)
    pixels, near, spread = torch.rand(shape, generator=rng), *torch.randn(2, *shape, generator=rng)
    return torch.stack([pixels, pixels + _NEARBY * near, spread]).clamp(low, high)


def outputs(ours: Tensor, theirs: Tensor, evaluator: str) -> float:
    """Compare outputs (3, classes) for `images` with those of an evaluator; returns the largest difference.

    Raises:
        Disagreement: the outputs differ, or how they change from one image to its neighbour.
    """
    if ours.shape != theirs.shape:
        raise Disagreement(f"returns {tuple(ours.shape)}, {evaluator} {tuple(theirs.shape)}")
    difference, scale = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    if not difference <= OUTPUT_TOLERANCE * max(scale, 0.1):
        raise Disagreement(f"is off by {difference:.2g} at outputs up to {scale:.2g} of {evaluator}")
    change, wanted = ours[1] - ours[0], theirs[1] - theirs[0]
    if (change - wanted).norm() > CHANGE_TOLERANCE * wanted.norm() + _NOISE * theirs[:2].norm():
        off = ((change - wanted).norm() / wanted.norm()).item()
        raise Disagreement(f"changes between two images otherwise than {evaluator} says, by {off:.0%}")
    return difference


def gradient(module: nn.Module, image: Tensor) -> Gradient:
    """Compare the gradient of a random mix of the outputs with central differences.

    Args:
        module: In float32; it is so again afterwards.
        image: Input (1, ...).

    Raises:
        Disagreement: the gradient is not finite, or not that of the outputs.
    """
    try:
        module.double()
        with suppress(RuntimeError):  # Constants inside the graph that stay float32 do not multiply with float64.
            return _gradient(module, image.double(), _FINE)
    finally:
        module.float()
    return _gradient(module, image, _COARSE)


def _gradient(module: nn.Module, image: Tensor, scale: _Scale) -> Gradient:
    rng = torch.Generator().manual_seed(1)
    pixels = image.clone().requires_grad_()
    outputs = module(pixels)
    weights, direction = (torch.randn(x.shape, generator=rng, dtype=image.dtype) for x in (outputs, image))
    slope = torch.zeros_like(image)
    if outputs.requires_grad:
        (found,) = torch.autograd.grad((outputs * weights).sum(), pixels, allow_unused=True)
        slope = slope if found is None else found
    if not slope.isfinite().all():
        raise Disagreement("has an input gradient that is not finite")
    # Far enough along the gradient to see its length, and anywhere else, to see what it misses.
    unit = slope / slope.norm().clamp_min(1e-30)
    direction = direction + _ALONG * unit * (direction * unit).sum().sign()
    along, off = (slope * direction).sum(), []
    with torch.no_grad():
        for step in scale.steps:
            above, below = (((module(image + h * direction)) * weights).sum() for h in (step, -step))
            rise, rounding = (above - below) / (2 * step), scale.rounding * outputs.abs().sum() / step
            expected = torch.stack([slope.norm(), rise.abs(), rounding]).max()
            off.append(((rise - along).abs() / expected).nan_to_num().item())
            if off[-1] <= scale.tolerance:
                return Gradient(min(off), vanishes=not bool(slope.any()))
    raise Disagreement(f"has an input gradient that is {min(off):.0%} off central differences of its outputs")


def second_derivative(module: nn.Module, image: Tensor) -> None:
    """Differentiate twice.

    Raises:
        Disagreement: the second derivative is not finite.
        RuntimeError: torch has none for an operator.
    """
    pixels = image.clone().requires_grad_()
    outputs = module(pixels)
    if not outputs.requires_grad:
        return
    (first,) = torch.autograd.grad(_unit(outputs).square().sum(), pixels, create_graph=True, allow_unused=True)
    if first is None or not first.requires_grad:
        return
    (second,) = torch.autograd.grad(_unit(first).square().sum(), pixels, allow_unused=True)
    if second is not None and not second.isfinite().all():
        raise Disagreement("has a second derivative that is not finite")


def _unit(x: Tensor) -> Tensor:
    """Scaled so that its square does not overflow."""
    return x / x.detach().abs().max().clamp_min(1e-30)
