"""Trains a generator against a target. Public names: `Weights`, `Batch`, `invert`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import cos, pi
from typing import TYPE_CHECKING

import torch

from auditcli.errors import UsageError
from auditcli.generator import losses
from auditcli.generator._conditions import SPREAD, Conditions
from auditcli.generator._network import DROPOUT, LATENT, WIDTH, Generator, build
from auditcli.generator.reading import read

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.generator.reading import Reading
    from auditcli.types import Target


_CLIP = 0.5
"""Largest norm of the generator's gradient: one batch that a transformer takes badly would spoil Adam's second moments
for hundreds of steps. On a transformer of patch 4 it doubled the label agreement after 150."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the terms of the loss; a term of weight 0 is not even computed. See `losses`."""

    kl: float = 1.0
    cross_entropy: float = 1.0
    cosine: float = 1.0
    orthogonality: float = 1.0
    kl_perturbed: float = 1.0
    cross_entropy_perturbed: float = 1.0
    variation: float = 5.0
    out_of_range: float = 10.0
    gradient: float = 0.1


@dataclass(frozen=True, slots=True)
class Batch:
    """One step of the training: what was generated, and how well it did."""

    images: Tensor
    """(n, c, h, w) in [0, 1], detached."""
    conditions: Conditions
    """What they were asked to be."""
    agreed: Tensor
    """(n,) bool: whether the target puts an image into the class it was conditioned on."""
    losses: Mapping[str, Tensor]
    """Each term before its weight, averaged over the batch, by the names of `Weights`; detached."""
    objective: Tensor
    """The weighted sum, a number; detached."""
    network: Generator
    """As it was when it made them; the next step changes it. See `sample`."""


def invert(
    target: Target,
    steps: int,
    rng: torch.Generator,
    *,
    batch: int = 20,
    weights: Weights | None = None,
    rate: float = 0.01,
    spread: float = SPREAD,
    radius: float = 0.1,
    all_layers: bool = False,
    latent: int = LATENT,
    width: int = WIDTH,
    dropout: float = DROPOUT,
) -> Iterator[Batch]:
    """Train a generator so that the target puts its images where their conditions say.

    Args:
        target: Any classifier; one logit or one a class.
        steps: How many batches; the rate falls over them by a cosine. Stop earlier at will.
        rng: Of all random draws, on the CPU, so that one seed starts alike on every device.
        batch: Images a step, balanced over the classes.
        weights: Of the terms of the loss; None for the defaults.
        rate: Adam step of the generator's weights.
        spread: Of the conditioning vectors, see `Conditions`.
        radius: Of the perturbation, in pixel units.
        all_layers: Take the weight-gradient norm over all layers, by a double backward pass, and not over the last
            alone, in closed form.
        latent: Length of the noise.
        width: Of the generator, see `build`.
        dropout: The same.

    Yields:
        Each batch, before the step it leads to.

    Raises:
        UsageError: a number is out of its range.

    Reference:
        Suhail and Sethi, arXiv:2502.00760, equations 8 to 11; see docs/attacks/inversion.md for where we differ.
    """
    if batch < 1 or rate <= 0:
        raise UsageError(
            f"a batch of {batch} at rate {rate} trains nothing", hint="a batch is at least 1, a rate above 0"
        )
    weights = weights or Weights()
    profile = target.profile
    device = target.device
    net = build(
        profile.input_shape,
        profile.classes,
        rng,
        latent=latent,
        width=width,
        dropout=dropout,
        centre=profile.normalisation.mean,
    ).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate, betas=(0.5, 0.999))
    for number in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + cos(pi * number / steps))
        conditions = Conditions.draw(batch, profile.classes, rng, spread=spread, first=number * batch).to(device)
        images = net(torch.randn(batch, latent, generator=rng).to(device), conditions, rng)
        seen = read(target, images)
        terms = _terms(target, images, seen, conditions, weights, rng, radius=radius, all_layers=all_layers)
        objective = sum(
            (getattr(weights, name) * value for name, value in terms.items()), torch.zeros((), device=device)
        )
        yield Batch(
            images.detach().clamp(0, 1),
            conditions,
            seen.log_probabilities.argmax(dim=1) == conditions.labels,
            {name: value.detach() for name, value in terms.items()},
            objective.detach(),
            net,
        )
        optimizer.zero_grad()
        if objective.requires_grad:
            objective.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), _CLIP)
            optimizer.step()


def _terms(
    target: Target,
    images: Tensor,
    seen: Reading,
    conditions: Conditions,
    weights: Weights,
    rng: torch.Generator,
    *,
    radius: float,
    all_layers: bool,
) -> dict[str, Tensor]:
    """The terms with a weight, each a number; no other is computed."""
    p, labels = conditions.vectors, conditions.labels
    moved = cache(lambda: read(target, losses.perturbed(images, radius, rng)).log_probabilities)
    terms: dict[str, Callable[[], Tensor]] = {
        "kl": lambda: losses.kl(seen.log_probabilities, p).mean(),
        "cross_entropy": lambda: losses.cross_entropy(seen.log_probabilities, labels).mean(),
        "cosine": lambda: losses.cosine(seen.features),
        "orthogonality": lambda: losses.orthogonality(seen.features),
        "kl_perturbed": lambda: losses.kl(moved(), p).mean(),
        "cross_entropy_perturbed": lambda: losses.cross_entropy(moved(), labels).mean(),
        "variation": lambda: losses.variation(images).mean(),
        "out_of_range": lambda: losses.out_of_range(images).mean(),
        "gradient": lambda: (
            losses.full_gradient(target, images, labels) if all_layers else losses.last_gradient(seen, labels).mean()
        ),
    }
    return {name: term() for name, term in terms.items() if getattr(weights, name)}
