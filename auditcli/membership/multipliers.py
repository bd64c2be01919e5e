"""Membership from the KKT condition: which images do the weights add up from? Public name: `multipliers`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

from auditcli.errors import AttackError
from auditcli.membership._gradients import margin_gradients, weights_of
from auditcli.membership._signal import Query, signal

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from auditcli.types import Target

_BLOCKS = 2
"""Most blocks of one tensor."""
_TENSORS = 12
"""Most tensors that blocks are drawn from, evenly over the depth: each costs memory and a problem to solve."""
_COORDINATES = 4096
"""Weights in a block, drawn at random from a tensor."""
_LEAST = 2
"""Weights a block must hold for each image: fewer are explained by any images."""
_RIDGE = 0.03
"""On the Gram matrix of unit gradients: those of look-alikes nearly coincide."""


@signal(paper="arXiv:2510.10625")
def multipliers(query: Query) -> Tensor:
    """Scores the weight that each image gets when all together are to explain the model's weights.

    Where training came to rest, the weights are `theta = sum_i lambda_i grad margin(x_i)` with `lambda_i >= 0`, and
    lambda_i is 0 for images that it never saw. For each block b of weights we solve

        min_{lambda >= 0} |theta_b / |theta_b| - sum_i lambda_i g_i|^2 + 0.03 |lambda|^2

    with g_i the gradient of image i in the block at unit norm, and take the mean over blocks of the multipliers of the
    gradients themselves, weighted by the share of the block that the images explain beyond chance. Where the model has
    a base, theta is what training wrote: its difference to the base, across the direction of the base's own weights,
    along which weight decay moves.

    Args:
        query: Of any classifier. A score depends on all images asked about together, and not on their order.

    Returns:
        (n,), higher = more likely a member; below 0 for images without a part, by how much their part would harm.

    Raises:
        AttackError: the time is up, the gradients are not finite, or no block was trained since the base.

    Reference:
        ImpMIA, arXiv:2510.10625. We differ: least squares solved exactly in place of a cosine by gradient descent,
        blocks of at most 4,096 weights of one tensor, and a mean weighted by what is explained in place of a trimmed
        mean; the margin is against the softmax over the wrong classes.
    """
    deadline = time.monotonic() + query.seconds
    rng = torch.Generator().manual_seed(query.seed)
    weights, before = _trained(query.target)
    places = _places(weights, len(query.images), rng)
    taken: list[list[Tensor]] = [[] for _ in places]
    for found in margin_gradients(query):
        for held, (name, place) in zip(taken, places, strict=True):
            held.append(found.by_name[name].flatten(1)[:, place.to(query.images.device)].cpu())
    total, share = np.zeros(len(query.images)), 0.0
    for number, (held, (name, place)) in enumerate(zip(taken, places, strict=True)):
        if time.monotonic() >= deadline:
            raise AttackError(
                f"the signal ran out of time ({query.seconds:g} s) after {number} of {len(places)} blocks of weights",
                hint="a larger --budget, or fewer images",
            )
        start = None if before is None else before[name].flatten().cpu()[place]
        weight, found_here = _solved(torch.cat(held).double().numpy(), weights[name].flatten().cpu()[place], start)
        total, share = total + weight * found_here, share + weight
    return torch.from_numpy(total / share)


def _trained(target: Target) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """Tensors by name that training moved, as it left them and as they were in the base, where there is one."""
    weights = weights_of(target.module)
    if target.base is None:
        return weights, None
    before = dict(zip(weights, weights_of(target.base.module).values(), strict=True))
    moved = [
        name
        for name, value in weights.items()
        if value.shape == before[name].shape and not bool((value == before[name]).all())
    ]
    if not moved:
        raise AttackError("no weights differ from those of the base model but in their shape")
    return {name: weights[name] for name in moved}, {name: before[name] for name in moved}


def _places(weights: Mapping[str, Tensor], images: int, rng: torch.Generator) -> Sequence[tuple[str, Tensor]]:
    """Blocks as the name of a tensor and flat places in it: of matrices and kernels that are large enough.

    Where there are many of them, from the first to the last at even steps.
    """
    matrices = {name: value for name, value in weights.items() if value.dim() > 1} or weights
    largest = max(value.numel() for value in matrices.values())
    least = min(_LEAST * images, largest)
    eligible = [name for name, value in matrices.items() if value.numel() >= least]
    steps = np.linspace(0, len(eligible) - 1, min(_TENSORS, len(eligible))).round().astype(int)
    places = []
    for name in [eligible[step] for step in steps]:
        size = matrices[name].numel()
        count = max(1, min(_BLOCKS, size // _COORDINATES))
        order = torch.randperm(size, generator=rng)[: count * max(_COORDINATES, least)]
        places += [(name, place) for place in order.chunk(count)]
    return places


def _solved(gradients: NDArray[np.float64], values: Tensor, start: Tensor | None) -> tuple[float, NDArray[np.float64]]:
    """What a block of p weights counts, and the multipliers (n,) of gradients (n, p) in it.

    Args:
        gradients: (n, p).
        values: (p,) weights.
        start: (p,) the weights of the base, or None.
    """
    if not np.isfinite(gradients).all():
        raise AttackError("the gradients of the margin are not finite")
    tiny = np.finfo(np.float64).tiny
    theta = values.double().numpy()
    if start is not None:
        before = start.double().numpy()
        along = before / max(float(np.linalg.norm(before)), tiny)
        theta, gradients = theta - before, gradients - np.outer(gradients @ along, along)
        theta = theta - (theta @ along) * along
    norms = np.maximum(np.linalg.norm(gradients, axis=1), tiny)
    size = max(float(np.linalg.norm(theta)), tiny)
    units = gradients / norms[:, None]
    gram, matched = units @ units.T, units @ theta / size
    ridged = gram + _RIDGE * np.eye(len(gram))
    factor = np.linalg.cholesky(ridged)
    found, _ = nnls(factor.T, solve_triangular(factor, matched, lower=True), maxiter=100 * len(gram))
    explained = float(2 * found @ matched - found @ gram @ found)
    # As the adjusted coefficient of determination: so many multipliers explain that much of any block by chance.
    left = max(1, len(theta) - int((found > 0).sum()))
    share = max(1e-9, 1 - (1 - explained) * len(theta) / left)
    signed = np.where(found > 0, found, matched - ridged @ found)
    scaled: NDArray[np.float64] = signed * size / norms
    return share, scaled
