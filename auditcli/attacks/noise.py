"""The negative control: images that were guessed without the model. Public name: `noise`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import interpolate

from auditcli.attacks._attack import attack
from auditcli.types import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditcli.types import Budget, Target


@attack(paper="none: a control", negative_control=True)
def noise(target: Target, budget: Budget, rng: torch.Generator, *, grids: int = 3) -> Iterator[Step]:
    """Guesses smooth random images and never looks at the weights.

    Images of several coarsenesses, so that some come near to whatever is smooth or flat: if the training images match
    them better than the controls do, the two samples differ in kind, and no comparison between them counts.

    Args:
        target: Only the shape of its input is used.
        budget: Candidates and restarts; one step is all there is.
        rng: Of the draws.
        grids: Number of coarsenesses; the k-th doubles the grain k times.

    Yields:
        Uniform noise (r, n, c, h, w), each candidate scaled up from a grid of its own coarseness; the objective is 0.
    """
    channels, height, width = target.profile.input_shape
    device = target.device
    images = torch.empty(budget.restarts * budget.candidates, channels, height, width)
    for index in range(len(images)):
        grain = 2 ** (1 + index % grids)
        coarse = torch.rand(1, channels, max(2, height // grain), max(2, width // grain), generator=rng)
        images[index] = interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)[0]
    candidates = images.unflatten(0, (budget.restarts, budget.candidates)).to(device)
    yield Step(candidates.clamp(0, 1), torch.zeros(budget.restarts))
