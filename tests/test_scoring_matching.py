"""Matching against the slow obvious versions."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditcli.errors import SampleError
from auditcli.scoring.matching import UNMATCHED, pool, similarity
from auditcli.scoring.ssim import pairwise_ssim
from auditcli.types import Similarity


def pictures(count, seed):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_equals_the_slow_version(n, m, seed):
    candidates, images = pictures(n, seed), pictures(m, seed + 1)
    scores = pairwise_ssim(candidates, images).double()
    got = similarity(candidates, images)
    assert got.best == pytest.approx(scores.max(dim=0).values.tolist())
    assert [scores[i, j].item() for j, i in enumerate(got.best_candidate)] == pytest.approx(list(got.best))
    # Every way to give each image a candidate of its own, or, where they run out, none.
    slots = [*range(n), *([None] * max(0, m - n))]
    total = max(sum(scores[i, j].item() for j, i in enumerate(p[:m]) if i is not None) for p in permutations(slots))
    matched = [s for s in got.matched if s != UNMATCHED]
    assert len(matched) == min(n, m)
    assert sum(matched) == pytest.approx(total, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**31))
def test_another_candidate_never_lowers_the_best(n, seed):
    candidates, images = pictures(n + 1, seed), pictures(3, seed + 1)
    fewer, more = similarity(candidates[:n], images), similarity(candidates, images)
    assert all(b >= a - 1e-6 for a, b in zip(fewer.best, more.best, strict=True))


def test_one_candidate_matches_many_images_but_is_given_to_one():
    images = pictures(1, 0).repeat(3, 1, 1, 1)
    got = similarity(images[:1], images)
    assert got.best == pytest.approx((1.0, 1.0, 1.0))
    assert sorted(got.matched) == pytest.approx([UNMATCHED, UNMATCHED, 1.0])


def test_no_candidates_are_refused():
    with pytest.raises(SampleError, match="no candidates"):
        similarity(pictures(0, 0), pictures(2, 0))


def test_pooling_takes_the_best_attack_of_each_image():
    pooled = pool(
        {
            "a": Similarity((0.25, 0.5, 0.5), (0, 1, 2), (0.25, -1.0, 0.5)),
            "b": Similarity((0.75, 0.25, 0.5), (3, 4, 5), (0.5, 0.25, 0.5)),
        }
    )
    assert pooled.best == (0.75, 0.5, 0.5)
    assert pooled.matched == (0.5, 0.25, 0.5)
    assert pooled.attack == ("b", "a", "a")
