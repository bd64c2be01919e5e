"""Reconstruction of what a head on a frozen backbone was trained on. Public name: `transfer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from auditcli.attacks._attack import attack
from auditcli.attacks.transfer._clusters import agreement, representatives
from auditcli.attacks.transfer._embeddings import Settings, search
from auditcli.attacks.transfer._prior import Priors
from auditcli.attacks.transfer._typical import typical_norm
from auditcli.attacks.transfer._unclip import Decoder, decoder
from auditcli.errors import AttackError
from auditcli.types import Step, Trait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from auditcli.types import Budget, Head, Target

_WORST = 2.0
"""Above every `1 - cosine`, so that any image drawn of an embedding is better than none."""


@attack(paper="arXiv:2407.15845", requires=frozenset({Trait.HEAD}), on_request=True)
def transfer(
    target: Target,
    budget: Budget,
    rng: torch.Generator,
    *,
    starts: int = 8,
    share: float = 0.6,
    rate: float = 0.5,
    multiplier_rate: float = 0.08,
    exponent: float = 0.6,
    anneal: float = 0.7,
    sharpness: float = 20.0,
    explained: float = 0.1,
    start: float = 0.1,
    span_weight: float = 3.0,
    norm_weight: float = 1.0,
    multiplier_weight: float = 5.0,
    least_multiplier: float = 0.6,
    reach: float = 0.1,
    images: int = 16,
    width: int = 16,
    image_rate: float = 0.01,
    unclip: str = "",
) -> Iterator[Step]:
    """Solves for the features a head was trained on, and draws images that have them.

    First the KKT condition of the head's first layer is solved as `kkt` solves it, for features in place of pixels,
    from many starts in one batch. Features that several starts agree on are chosen, by clustering all of them. Then
    each chosen one is turned into an image: a small untrained network that draws it is trained until the backbone sees
    the chosen features in what it draws; or an UnCLIP decoder draws it.

    Args:
        target: A network that ends in two linear layers or more on one vector of features.
        budget: `candidates` bounds the embeddings of a start and the images; every restart has starts of its own.
        rng: Of embeddings, multipliers, networks and their noise.
        starts: Independent solutions for each restart, between which the clustering finds agreement.
        share: Of the steps, spent on embeddings.
        rate: Adam step of the embeddings in the span, relative to a typical norm.
        multiplier_rate: Adam step of the multipliers, in units of their starting mean.
        exponent: Final power of the singular values by which directions are weighted.
        anneal: Share of the search over which the exponent rises from 0.
        sharpness: Of the smoothed step of a ReLU, see `margin_gradients`.
        explained: Norm of what the starting embeddings explain, relative to the layer.
        start: Norm of the starting embeddings, relative to a typical one.
        span_weight: Of the share of [x, 1] outside the span.
        norm_weight: Of the squared relative difference from a typical norm.
        multiplier_weight: Of the hinge that keeps every embedding in use.
        least_multiplier: Least multiplier that is not punished, relative to the mean.
        reach: Clusters are merged while their mean cosine distance is below it.
        images: Drawn in each restart.
        width: Channels of the networks that draw.
        image_rate: Adam step of their weights.
        unclip: Folder of an UnCLIP decoder that draws the images instead; empty for none.

    Yields:
        Candidates (r, n, c, h, w) in [0, 1]. While embeddings are searched for, they are what untrained networks draw,
        and the objective is 2 plus the unexplained share of the layer; then it is the mean of `1 - cosine` between the
        features of the images and those chosen.

    Raises:
        AttackError: the head is one linear layer, or `unclip` names no decoder of such features.

    Reference:
        Oz et al. 2024, arXiv:2407.15845: a KKT loss on embeddings, clustering of many runs, inversion by a deep image
        prior with a cosine loss or by UnCLIP. We differ: the first layer alone in its span, as in `kkt`; clusters
        ranked by how many starts share them.
    """
    head, shape = target.head, target.profile.input_shape
    if head is None:
        raise TypeError("a target with Trait.HEAD has no head")
    if len(head.dense.weights) == 1:
        rows = len(head.dense.weights[0])
        raise AttackError(
            f"transfer: the head is one linear layer, and its {rows} rows are sums over all images of a class",
            hint="nothing to try here: single images leave no trace of their own in a linear head",
        )
    device, restarts = head.dense.weights[0].device, budget.restarts
    drawing = decoder(unclip, head.dense.weights[0].shape[1], device) if unclip else None
    n = min(budget.candidates, images)
    priors = Priors(restarts * n, shape, width, rng).to(device)
    with torch.no_grad():
        blank = priors().unflatten(0, (restarts, n))
    norm = typical_norm(head, shape, rng)
    steps = max(1, round(share * budget.steps))
    found = search(
        head.dense,
        target.profile.classes,
        starts=restarts * starts,
        candidates=budget.candidates,
        steps=steps,
        norm=norm,
        rng=rng,
        settings=Settings(
            rate=rate,
            multiplier_rate=multiplier_rate,
            exponent=exponent,
            anneal=anneal,
            sharpness=sharpness,
            explained=explained,
            start=start,
            span_weight=span_weight,
            norm_weight=norm_weight,
            multiplier_weight=multiplier_weight,
            least_multiplier=least_multiplier,
        ),
    )
    embeddings = torch.empty(0)
    for place in found:
        embeddings = place.embeddings
        yield Step(blank, _WORST + place.residual.unflatten(0, (restarts, starts)).amin(dim=1))
    chosen = torch.stack([_chosen(each, reach, n) for each in embeddings.unflatten(0, (restarts, starts))])
    if drawing is not None:
        yield _drawn(drawing, head, chosen, norm, shape, rng)
        return
    yield from _inverted(priors, head, chosen, image_rate, budget.steps - steps)


def _chosen(embeddings: Tensor, reach: float, count: int) -> Tensor:
    """The directions (count, f) that most starts share, in turn where there are fewer; each is drawn independently."""
    directions, shared = representatives(embeddings, reach)
    agreed = directions[shared >= agreement(len(embeddings), shared)]
    return agreed[torch.arange(count) % len(agreed)]


def _inverted(priors: Priors, head: Head, chosen: Tensor, rate: float, steps: int) -> Iterator[Step]:
    """Train networks to draw images that the backbone sees the chosen features in."""
    wanted = chosen.flatten(0, 1)
    optimizer = torch.optim.Adam(priors.weights, lr=rate)
    for _ in range(steps):
        drawn = priors()
        distance = 1 - functional.cosine_similarity(head.features(drawn), wanted, dim=1)
        yield Step(
            drawn.detach().unflatten(0, chosen.shape[:2]), distance.detach().unflatten(0, chosen.shape[:2]).mean(dim=1)
        )
        optimizer.zero_grad()
        distance.sum().backward()
        optimizer.step()


def _drawn(
    drawing: Decoder, head: Head, chosen: Tensor, norm: float, shape: tuple[int, int, int], rng: torch.Generator
) -> Step:
    """Pictures by the decoder, and how far their features are from those chosen."""
    wanted = chosen.flatten(0, 1)
    pictures = drawing(wanted * norm, shape, rng)
    with torch.no_grad():
        distance = 1 - functional.cosine_similarity(head.features(pictures), wanted, dim=1)
    return Step(pictures.unflatten(0, chosen.shape[:2]), distance.unflatten(0, chosen.shape[:2]).mean(dim=1))
