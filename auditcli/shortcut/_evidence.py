"""Where in an image the evidence for a class sits. Public names: `evidence`, `boxes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from auditcli.generator.reading import read
from auditcli.shortcut._inversion import Inverted, batches

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import Target

RIVALS = 9
"""Classes that each class is held against; drawn where there are more."""
POINTS = 4
"""Of the path between two images, at which the gradient is taken."""
_TINY = 1e-6


def evidence(target: Target, found: Inverted, rng: torch.Generator) -> Tensor:
    """The share of each class's evidence that sits on each pixel, (k, h, w); without their signs they sum to 1 at most.

    For inverted images `x` of class c and `x'` of a rival r the margin is `m = log p_c - log p_r`. Integrated gradients
    along the line from `x'` to `x` divide `m(x) - m(x')` among the pixels:

        a_i = (x_i - x'_i) * integral over t in [0, 1] of dm/dx_i at x' + t (x - x')

    and `sum_i a_i = m(x) - m(x')`. Maps are averaged over the pairs of a class and a rival, divided by the sum of their
    sizes, and averaged over rivals.

    Args:
        target: Any classifier.
        found: Images of at least two classes.
        rng: Draws the rivals where there are more than `RIVALS`.

    Reference:
        Sundararajan et al. 2017, arXiv:1703.01365v2, equation 1, by the midpoint rule. The shortcut paper,
        arXiv:2502.09150, looks at the inverted images by eye; the map and the images as baselines are ours.
    """
    maps = []
    for index, label in enumerate(found.classes):
        others = [other for other in range(len(found.classes)) if other != index]
        drawn = torch.randperm(len(others), generator=rng)[:RIVALS].tolist()
        shares = []
        for rival in sorted(others[number] for number in drawn):
            divided = _divided(target, found.images[rival], found.images[index], (label, found.classes[rival])).mean(0)
            shares.append(divided / divided.abs().sum().clamp_min(_TINY))
        maps.append(torch.stack(shares).mean(dim=0))
    return torch.stack(maps)


def _divided(target: Target, start: Tensor, end: Tensor, classes: tuple[int, int]) -> Tensor:
    """What each pixel (n, h, w) adds to the margin of the first class over the second, from start to end."""
    moments = (torch.arange(POINTS, device=start.device) + 0.5) / POINTS
    path = start + moments.view(-1, 1, 1, 1, 1) * (end - start)
    slopes: list[Tensor] = []
    for part in batches(path.flatten(0, 1)):
        images = part.detach().requires_grad_()
        log_q = read(target, images).log_probabilities
        slopes += torch.autograd.grad((log_q[:, classes[0]] - log_q[:, classes[1]]).sum(), images)
    slope = torch.cat(slopes).view_as(path).mean(dim=0)
    return (slope * (end - start)).sum(dim=1).detach()


def boxes(maps: Tensor, side: int) -> Tensor:
    """Sums (k, h - side + 1, w - side + 1) of maps (k, h, w) over every square of that side."""
    return functional.avg_pool2d(maps[:, None], side, stride=1)[:, 0] * side**2
