"""Membership by shadow models and a population: does the model favour an image over others? Public name: `rmia`."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import torch

from auditcli.errors import AttackError
from auditcli.membership._odds import labels_of, log_odds
from auditcli.membership._signal import Query, signal

if TYPE_CHECKING:
    from torch import Tensor

_A = 0.3
"""How the likelihood under models that saw an image follows from that under models that did not."""
_GAMMA = 2.0
"""Likelihood ratio from which on an image dominates another."""


@signal(paper="arXiv:2312.03262", shadows=True)
def rmia(query: Query) -> Tensor:
    """Scores the share of a population of strangers that an image dominates in likelihood ratio.

    With `p(x) = ((1 + a) mean_k p_k(x) + 1 - a) / 2` over the shadow models k that never saw x, the score is

        mean_z [ (p_target(x) / p(x)) / (p_target(z) / p(z)) >= gamma ]

    over the images z of the population that some shadow model never saw. Images that dominate equally many are told
    apart by their own ratio, in steps smaller than one z: the share alone has as many values as the population.

    Args:
        query: With shadow models, none of which saw an image of the query.

    Returns:
        (n,) in [0, 1 + 1 / z], higher = more likely a member.

    Raises:
        AttackError: every image of the population was seen by every shadow model.

    Reference:
        Zarifzadeh et al. 2024, arXiv:2312.03262, section 3, the offline form. We differ: ties are broken.
    """
    shadows = query.shadows
    if shadows is None:
        raise TypeError("a signal with shadows=True was asked without shadow models")
    unseen = ~shadows.seen
    usable = unseen.any(dim=0)
    if not usable.any():
        raise AttackError(
            "every image of the population was seen by every shadow model", hint="--shadows with a larger number"
        )
    population = shadows.population.images[usable].to(query.images.device)
    known = None if shadows.population.labels is None else shadows.population.labels[usable]
    everywhere = torch.ones(len(shadows.targets), len(query.images), dtype=torch.bool)
    ratio = _log_ratio(query, query.images, query.labels, everywhere)
    others = _log_ratio(query, population, known, unseen[:, usable])
    dominated = torch.searchsorted(others.sort().values, ratio - log(_GAMMA), right=True)
    return (dominated + ratio.sigmoid()) / len(others)


def _log_ratio(query: Query, images: Tensor, known: Tensor | None, unseen: Tensor) -> Tensor:
    """`log(p_target / p)` of images (n,), for the shadow models that did not see them, (K, n)."""
    if query.shadows is None:
        raise TypeError("a signal with shadows=True was asked without shadow models")
    labels = labels_of(query, images, known)
    own = log_odds(query.target, images, labels)
    out = torch.stack([log_odds(shadow, images, labels) for shadow in query.shadows.targets])
    strangers = torch.nn.functional.logsigmoid(out).masked_fill(~unseen, -torch.inf).logsumexp(dim=0)
    mean = strangers - unseen.sum(dim=0).log()
    prior = torch.logaddexp(mean + log((1 + _A) / 2), torch.full_like(mean, log((1 - _A) / 2)))
    return torch.nn.functional.logsigmoid(own) - prior
