"""Reconstruction by network inversion: one conditioned generator for all classes. Public name: `inversion`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditcli.attacks._attack import attack
from auditcli.generator import Weights, invert
from auditcli.types import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from auditcli.generator import Batch
    from auditcli.types import Budget, Target


@attack(paper="arXiv:2502.00760", on_request=True)
def inversion(
    target: Target,
    budget: Budget,
    rng: torch.Generator,
    *,
    kl: float = 1.0,
    ce: float = 1.0,
    cosine: float = 1.0,
    orthogonality: float = 1.0,
    kl_perturbed: float = 1.0,
    ce_perturbed: float = 1.0,
    variation: float = 5.0,
    pixel: float = 10.0,
    gradient: float = 0.1,
    all_layers: bool = False,
    radius: float = 0.1,
    rate: float = 0.01,
    batch: int = 20,
    spread: float = 3.0,
    latent: int = 16,
    width: int = 16,
    dropout: float = 0.2,
) -> Iterator[Step]:
    """Trains a generator to make images that the model is sure of, and that differ.

    One generator for all classes, conditioned on a softmaxed Gaussian vector and a hot matrix, minimises the weighted
    sum of nine terms: KL and cross-entropy on its images and on perturbed ones, cosine and orthogonality of features,
    total variation, pixels out of range, and the norm of the gradient at the weights. A weight of 0 switches a term
    off.

    Args:
        target: Any classifier; one logit (binary) or one a class.
        budget: A restart is a generator of its own; its candidates are the newest images it made in training.
        rng: Of weights, conditions, noise, dropout and perturbations.
        kl: Weight of KL(p | q) from the conditioning vector p to the model's distribution q.
        ce: Of the cross-entropy on the label, which is the argmax of p.
        cosine: Of the mean cosine between the features of different images of a batch.
        orthogonality: Of the mean squared entry of their Gram matrix minus the identity.
        kl_perturbed: As `kl`, on perturbed images.
        ce_perturbed: As `ce`, on perturbed images.
        variation: Of the total variation.
        pixel: Of the mean squared distance of pixels to [0, 1].
        gradient: Of the norm of the cross-entropy's gradient at the weights.
        all_layers: Take that norm over all weights, for a batch as a whole and by a double backward pass, and not over
            those of the last layer, for each image and in closed form.
        radius: Of the perturbation, uniform in the largest change of a pixel.
        rate: Adam step of the generator's weights; falls by a cosine.
        batch: Images a step and a restart.
        spread: Standard deviation of the Gaussian behind p; the larger, the more certain the model is asked to be.
        latent: Length of the generator's noise.
        width: Channels of its last feature map.
        dropout: Share of channels dropped from each of its feature maps, in training and after.

    Yields:
        Candidates (r, n, c, h, w) in [0, 1], balanced over the classes; the objective is the weighted sum, averaged
        over the batches the candidates are from. Figure `label agreement`: the share of candidates that the model puts
        into the class they were conditioned on.

    Reference:
        Suhail and Sethi 2025, arXiv:2502.00760, equations 8 to 11. We differ: layers of the generator, weights (never
        published), normalised features, and a gradient at the last layer alone.
    """
    weights = Weights(
        kl=kl,
        cross_entropy=ce,
        cosine=cosine,
        orthogonality=orthogonality,
        kl_perturbed=kl_perturbed,
        cross_entropy_perturbed=ce_perturbed,
        variation=variation,
        out_of_range=pixel,
        gradient=gradient,
    )
    runs = [
        invert(
            *(target, budget.steps, torch.Generator().manual_seed(int(seed))),
            batch=min(batch, budget.candidates),
            weights=weights,
            rate=rate,
            spread=spread,
            radius=radius,
            all_layers=all_layers,
            latent=latent,
            width=width,
            dropout=dropout,
        )
        for seed in torch.randint(2**62, (budget.restarts,), generator=rng)
    ]
    newest = [_Newest(budget.candidates) for _ in runs]
    for batches in zip(*runs, strict=True):
        for kept, made in zip(newest, batches, strict=True):
            kept.add(made)
        yield Step(
            torch.stack([kept.images for kept in newest]),
            torch.stack([kept.objective.mean() for kept in newest]),
            {"label agreement": torch.stack([kept.agreed.mean() for kept in newest])},
        )


class _Newest:
    """The newest n images of one generator; those of its first batch over and over until there are n."""

    images: Tensor
    objective: Tensor
    agreed: Tensor

    def __init__(self, n: int) -> None:
        self._n, self._made = n, 0

    def add(self, made: Batch) -> None:
        """Put a batch in the place of the oldest images."""
        b, device = len(made.images), made.images.device
        start = not self._made
        places = torch.arange(self._n if start else b, device=device)
        rows = places % b
        places = (self._made + places) % self._n
        if start:
            self.images = torch.empty(self._n, *made.images.shape[1:], device=device)
            self.objective, self.agreed = torch.empty(2, self._n, device=device)
        self.images[places] = made.images[rows]
        self.objective[places] = made.objective
        self.agreed[places] = made.agreed[rows].to(self.agreed.dtype)
        self._made += b
