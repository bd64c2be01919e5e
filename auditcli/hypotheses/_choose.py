"""Which hypotheses images reject, by a paired comparison with the best: `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.hypotheses._search import Search, Tried

CLEAR = 1.5
"""Times as far from the recorded statistics as the best: what is nearer is not rejected by them."""
_DRAWS, _CONFIDENCE = 200, 0.99
FAR = 0.02
"""Squared Hellinger distance above which the recorded statistics are not those of the images."""
_SAME = 1e-4
"""Of logits, relative to the largest."""
_LEVEL = 0.01
"""Of the paired test of accuracies, over all hypotheses together."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is left of the hypotheses."""

    tried: tuple[Tried, ...]
    """All, each graph once, the best first."""
    left: tuple[Tried, ...]
    """Those that images do not tell from the best; it is the first."""
    by: str
    """`batch-norm statistics`, `accuracy`, both joined by `and`, or empty where images could not tell anything."""
    doubt: str = ""
    """Why nothing is rejected, where something speaks against it."""


def floor(classes: int) -> float:
    """Accuracy below which nothing is chosen by accuracy: twice chance, or halfway from chance to perfect."""
    return min(2 / classes, (1 + 1 / classes) / 2)


def compare(found: Search, classes: int) -> Comparison:
    """Reject by batch-norm statistics, then by accuracy.

    Nothing is rejected where not even the best is convincing, or where the two kinds of evidence contradict each other:
    the right hypothesis may not be among those that were tried.

    Args:
        found: What was measured on the same images, not empty.
        classes: Of the model.
    """
    labels, tried = found.pictures.labels, _distinct(found.tried)
    by: list[str] = []
    left = list(tried)
    recorded = [one.distance for one in tried if one.distance is not None]
    telling = labels is not None and max(one.accuracy or 0.0 for one in tried) >= floor(classes)
    doubt = _doubt(found, recorded, labels, telling=telling)
    if doubt:
        return Comparison(tried, tried, "", doubt)
    if recorded:
        left = _by_statistics(left)
        by += ["batch-norm statistics"] if len(left) < len(tried) else []
    if labels is not None and telling:
        if recorded and not set(map(id, _by_accuracy(tried, labels))) & set(map(id, left)):
            return Comparison(tried, tried, "", "batch-norm statistics and accuracy contradict each other")
        kept = _by_accuracy(left, labels)
        by += ["accuracy"] if len(kept) < len(left) else []
        left = kept
    return Comparison(tried, tuple(left), " and ".join(by))


def _doubt(found: Search, recorded: Sequence[float], labels: Tensor | None, *, telling: bool) -> str:
    if not found.complete:
        return f"only {found.count} hypotheses could be tried"
    if recorded and min(recorded) > FAR:
        return f"not even the best finds the recorded batch-norm statistics ({min(recorded):.2g} off)"
    if not recorded and labels is None:
        return "without batch norm, labelled images are needed"
    if not recorded and not telling:
        return "not even the best is right on twice as many as chance"
    return ""


def _distinct(tried: Sequence[Tried]) -> tuple[Tried, ...]:
    """One hypothesis of those that compute the same, that with the fewest answers."""
    kept: list[Tried] = []
    for one in sorted(tried, key=lambda one: len(one.hypothesis.answers)):
        logits = one.measured.logits
        scale = _SAME * max(1.0, logits.abs().max().item())
        if all((logits - other.measured.logits).abs().max().item() > scale for other in kept):
            kept.append(one)
    return tuple(sorted(kept, key=lambda one: one.order))


def _by_statistics(tried: Sequence[Tried]) -> list[Tried]:
    """Those not clearly farther from the recorded statistics than the nearest, on most redrawn sets of images."""
    nearest = min(tried, key=lambda one: one.distance or 0.0)
    count = len(nearest.measured.logits)
    rng = torch.Generator().manual_seed(0)
    draws = torch.randint(count, (_DRAWS, count), generator=rng)
    weights = torch.zeros(_DRAWS, count, dtype=torch.float64).scatter_add_(
        1, draws, torch.ones(draws.shape, dtype=torch.float64)
    )
    best = nearest.measured.distances(weights)
    left = []
    for one in tried:
        clearly = (one.distance or 0.0) > CLEAR * (nearest.distance or 0.0)
        # Most are far away; what is redrawn is only what is near.
        if clearly and (one.distance or 0.0) < 10 * (nearest.distance or 0.0):
            clearly = (one.measured.distances(weights) > best).double().mean().item() >= _CONFIDENCE
        if not clearly:
            left.append(one)
    return sorted(left, key=lambda one: one is not nearest)


def _by_accuracy(tried: Sequence[Tried], labels: Tensor) -> list[Tried]:
    """Those not significantly less often right than the best: McNemar's exact test on the images where they differ."""
    from scipy.stats import binomtest

    best = max(tried, key=lambda one: one.accuracy or 0.0)
    right = best.measured.right(labels)
    left = [best]
    for one in tried:
        if one is best:
            continue
        other = one.measured.right(labels)
        wins, losses = int((right & ~other).sum()), int((~right & other).sum())
        p_value = binomtest(wins, wins + losses, alternative="greater").pvalue if wins + losses else 1.0
        if p_value >= _LEVEL / len(tried):
            left.append(one)
    return left
