"""Whether images alone tell members from controls: `blind`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.ensemble import RandomTreesEmbedding

from auditcli.comparability._features import Group, describe
from auditcli.errors import SampleError
from auditcli.types import Sample, Test

LEVEL = 0.001
"""Below this p-value members and controls differ in kind. It silences an audit, so it is strict."""
DRAWS = 9_999
"""Random permutations of who is a member."""
AT_ONCE = 500
"""Permutations held in memory at a time."""
IMAGES = 500
"""No more images of either sample are looked at: with these, small differences are found as well."""
TIE = 1e-4
"""Standardised statistics this near are equal: float32 sums in another order."""
TREES, LEAVES = 100, 16
"""Of the trees that group images by several features at once."""
RIDGE = 1.0
"""Each direction of a group's features is shrunk by s / (s + RIDGE mean s), s being its variance."""
TOGETHER = "features together"

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Difference:
    """One kind of feature that tells members from controls."""

    what: str
    """In words: `brightness`, `JPEG traces`, `class mix` ..."""
    auc: float
    """How often a member scores above a control, in [0, 1], each scored by a classifier fitted to the others."""
    p_value: float
    """Corrected for the number of kinds looked at."""


@dataclass(frozen=True, slots=True)
class Blind:
    """What a classifier that never saw the model makes of members and controls."""

    test: Test
    """Its statistic is the largest standardised one of all kinds of features."""
    auc: float
    """Of the kind of features that tells most, chosen as such: above one half by luck too. The test allows for it."""
    differences: tuple[Difference, ...]
    """Kinds of features that are significant at `LEVEL` and have an area above one half, the most telling first."""
    least_p_value: float
    """The smallest p-value that samples of this size can reach."""
    n_members: int
    """Images looked at, at most `IMAGES`."""
    n_controls: int

    @property
    def has_power(self) -> bool:
        """Whether any difference could have been found at `LEVEL`; if not, a large p-value says nothing."""
        return self.least_p_value < LEVEL

    @property
    def differs(self) -> bool:
        """Whether members and controls differ in kind."""
        return self.test.p_value < LEVEL


def blind(members: Sample, controls: Sample, *, seed: int) -> Blind:
    """Try to tell members from controls without the model; on comparable samples that fails.

    A ridge classifier for each kind of feature, one for all, and one for the leaves of trees drawn without labels,
    which sees combinations. Each image is scored by the classifier fitted to the others; the statistic is the
    correlation of these scores with membership, divided by its spread over permutations of who is a member, and the
    largest counts (Westfall and Young 1993). Features, trees and shrinkage do not depend on who is a member, so each
    permutation repeats the whole procedure, and the p-value is exact whatever the features are: at most a share a of
    exchangeable samples falls to p <= a. Leaving an image out needs no refit: with the smoother H = Z (Z'Z + R)^-1 Z'
    the score is (Hy - diag(H) y) / (1 - diag(H)), so ten thousand permutations take seconds.

    Args:
        members: m >= 1 images (m, c, h, w).
        controls: k >= 1 images of the same shape.
        seed: Of permutations, trees, and the draw of `IMAGES` where there are more.

    Returns:
        The test, and what tells them apart.

    Raises:
        SampleError: A sample is empty.

    Reference:
        Classifier two-sample test: Lopez-Paz and Oquab 2017, arXiv:1610.06545, section 3. We differ: leave-one-out in
        place of a held-out half, and permutations in place of the normal approximation. Blind baselines: Das, Zhang,
        Tramer 2024, arXiv:2406.16201.
    """
    if not len(members) or not len(controls):
        raise SampleError(
            f"comparing members with controls needs both, got {len(members)} members and {len(controls)} controls",
            hint="give both --members and --controls",
        )
    rng = np.random.default_rng(seed)
    parts = [_some(sample, rng) for sample in (members, controls)]
    m, k = (len(images) for images, _ in parts)
    known = [labels for _, labels in parts if labels is not None]
    classes = np.concatenate(known) if len(known) == len(parts) else None
    groups = describe(np.concatenate([images for images, _ in parts]), classes)
    names, bases = zip(*_smoothers(groups, seed), strict=True)
    seen = np.stack(list(_statistics(bases, m, k, rng)))
    seen = (seen - seen.mean(axis=0)) / np.maximum(seen.std(axis=0), 1e-12)
    largest = seen.max(axis=1)
    p_values = (largest[None, :] >= seen[0][:, None] - TIE).mean(axis=1)
    truth = _labels(m, k)
    aucs = [_auc(_scores(basis, truth[:, None])[:, 0], m) for basis in bases]
    order = sorted(range(len(names)), key=lambda g: -seen[0][g])
    least = max(1 / comb(m + k, m), 1 / (DRAWS + 1))
    return Blind(
        test=Test(f"blind classifiers, {DRAWS:,} permutations", float(largest[0]), float(p_values.min())),
        auc=aucs[order[0]],
        differences=tuple(
            Difference(names[g], aucs[g], float(p_values[g])) for g in order if p_values[g] < LEVEL and aucs[g] > 0.5
        ),
        least_p_value=least,
        n_members=m,
        n_controls=k,
    )


def _some(sample: Sample, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Pixels (n, h, w, c) and labels of at most `IMAGES` images, drawn at random."""
    index = np.sort(rng.choice(len(sample), min(len(sample), IMAGES), replace=False))
    images = (sample.images[index].detach().cpu() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return images, None if sample.labels is None else sample.labels[index].cpu().numpy()


def _labels(m: int, k: int) -> Matrix:
    """(m + k,) of sum zero."""
    return np.concatenate([np.full(m, k / (m + k)), np.full(k, -m / (m + k))]).astype(np.float32)


def _smoothers(groups: tuple[Group, ...], seed: int) -> Iterator[tuple[str, Matrix]]:
    for group in groups:
        yield group.name, _basis(group.values)
    together = np.hstack([group.values / np.sqrt(max(1.0, (group.values**2).mean(axis=0).sum())) for group in groups])
    yield TOGETHER, _basis(together)
    trees = RandomTreesEmbedding(TREES, max_leaf_nodes=LEAVES, max_depth=None, random_state=seed, sparse_output=False)
    leaves = trees.fit_transform(np.hstack([group.values for group in groups if group.values.shape[1] < 60]))
    yield "combinations of features", _basis(leaves - leaves.mean(axis=0))


def _basis(values: NDArray[np.float64]) -> Matrix:
    """(n, r) B with B B' the smoother of a ridge regression on centred features (n, f)."""
    u, s, _ = np.linalg.svd(values, full_matrices=False)
    power = s**2
    keep = power > 1e-9 * max(1.0, float(power.max(initial=0.0)))
    if not keep.any():
        return np.zeros((len(values), 1), dtype=np.float32)
    power = power[keep]
    basis: Matrix = (u[:, keep] * np.sqrt(power / (power + RIDGE * power.mean()))).astype(np.float32)
    return basis


def _scores(basis: Matrix, labels: Matrix) -> Matrix:
    """(n, draws) scores, each image's by the classifier fitted to the others, of labels (n, draws)."""
    own = (basis**2).sum(axis=1, keepdims=True)
    scores: Matrix = (basis @ (basis.T @ labels) - own * labels) / np.maximum(1 - own, 1e-3)
    return scores


def _statistics(bases: tuple[Matrix, ...], m: int, k: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """(groups,) for the labels as they are, then for each permutation."""
    truth = _labels(m, k)
    for at in range(0, DRAWS + 1, AT_ONCE):
        labels = rng.permuted(np.tile(truth, (min(AT_ONCE, DRAWS + 1 - at), 1)), axis=1)
        if at == 0:
            labels[0] = truth
        yield from _correlations(bases, np.ascontiguousarray(labels.T)).T


def _correlations(bases: tuple[Matrix, ...], labels: Matrix) -> NDArray[np.float64]:
    rows = []
    for basis in bases:
        scores = _scores(basis, labels)
        length = np.sqrt(np.einsum("nd,nd->d", scores, scores))
        rows.append(np.einsum("nd,nd->d", scores, labels) / np.maximum(length, 1e-9))
    return np.asarray(rows, dtype=np.float64)


def _auc(scores: Matrix, m: int) -> float:
    ranks = rankdata(scores)
    return float((ranks[:m].sum() - m * (m + 1) / 2) / (m * (len(scores) - m)))
