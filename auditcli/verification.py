"""Whether a model's weights call for a reconstructed image, or would do without it.

A first layer at rest is a combination of gradients at the training images. An image belongs to it where no other image
can take its place: where the share of the layer that all explain together falls without it by more than it falls
without any decoy. Decoys are images that nobody was trained on: what the attack finds on shuffled weights, the image's
own pixels in random order, and mixtures of two reconstructions. Public names: `Verification`, `verify`.

It verifies that the *weights* hold an image, not that it was a training image: a prototype, the average that many
images leave behind, passes as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from auditcli import weights
from auditcli.errors import AttackError

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import Target

DECOYS = 64
"""Of each kind. An image that is exchangeable with them stands above all with probability 1 in (decoys + 1)."""


@dataclass(frozen=True, slots=True)
class Verification:
    """How much of the first layer each image explains that nothing else does."""

    losses: tuple[float, ...]
    """One an image, in [0, 1]: what of the explained share is lost without it."""
    bar: float
    """The largest such loss of a decoy."""
    decoys: int

    @property
    def verified(self) -> tuple[bool, ...]:
        """One an image: whether it stands above every decoy."""
        return tuple(loss > self.bar for loss in self.losses)


def verify(
    target: Target, images: Tensor, labels: Tensor, strangers: Tensor, known: Tensor, *, seed: int = 0
) -> Verification:
    """Fit non-negative multipliers to images and decoys together, and leave out one after the other.

    Args:
        target: A dense network.
        images: (n, c, h, w) in [0, 1], n >= 1: reconstructions that are unlike each other, or a single one.
        labels: (n,) int64, the class each was reconstructed for.
        strangers: (m, c, h, w) in [0, 1], images that the attack found on shuffled weights; m may be 0.
        known: (m,) int64, their classes.
        seed: Of the choice of strangers, the order of pixels and the mixtures.

    Returns:
        The losses and the bar. Mixtures are of two images of one class; where no two share one there are none.

    Raises:
        AttackError: the target is no dense network.

    Reference:
        ImpMIA, arXiv:2510.10625, which fits multipliers to known images over all layers to tell members. We differ:
        reconstructions in place of known images, the first layer alone, exact least squares, and decoys as the null.
    """
    dense, profile = target.dense, target.profile
    if dense is None:
        raise AttackError("nothing can be verified: the model is no dense network")
    rng = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(strangers), generator=rng)[:DECOYS]
    decoys = [(strangers[chosen], known[chosen]), _scattered(images, labels, rng), _mixed(images, labels, rng)]
    everything = torch.cat([images, *(part for part, _ in decoys)])
    sides = weights.Sides(torch.cat([labels, *(part for _, part in decoys)]), profile.classes)
    span = weights.span_of(target)
    losses = weights.leave_one_out(dense, span, weights.flat_inputs(dense, profile.normalisation, everything), sides)
    own, others = losses[: len(images)], losses[len(images) :]
    return Verification(tuple(own.tolist()), float(others.max()), len(others))


def _scattered(images: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images with their pixels in random order, in turn."""
    index = torch.arange(DECOYS) % len(images)
    flat = images.flatten(1)
    rows = [flat[i][torch.randperm(flat.shape[1], generator=rng)] for i in index.tolist()]
    return torch.stack(rows).view_as(images[index]), labels[index]


def _mixed(images: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Convex mixtures of two images of a class, neither of them with less than a quarter."""
    pairs = torch.combinations(torch.arange(len(images)))
    pairs = pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]]]
    if len(pairs) == 0:
        return images[:0], labels[:0]
    pairs = pairs[torch.randint(len(pairs), (DECOYS,), generator=rng)]
    weight = (0.25 + 0.5 * torch.rand(DECOYS, generator=rng))[:, None, None, None].to(images.device)
    return weight * images[pairs[:, 0]] + (1 - weight) * images[pairs[:, 1]], labels[pairs[:, 0]]
