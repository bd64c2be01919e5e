"""Agreement of restarts against the slow obvious version."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditcli.errors import SampleError
from auditcli.scoring.agreement import agreement, distinct


def cosine(a, b):
    a, b = (x.double() - x.double().mean() for x in (a, b))
    return (a * b).sum().item() / (a.norm() * b.norm()).item()


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_equals_the_slow_version(r, n, seed):
    candidates = torch.rand(r, n, 2, 3, 4, generator=torch.Generator().manual_seed(seed))
    got = agreement(candidates)
    assert got.shape == (r, n)
    for i in range(r):
        for j in range(n):
            others = [cosine(candidates[i, j], candidates[a, b]) for a in range(r) if a != i for b in range(n)]
            assert got[i, j].item() == pytest.approx(max(others), abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 5), st.floats(-1, 1), st.integers(0, 2**31))
def test_brightness_and_contrast_do_not_count(scale, shift, seed):
    image = torch.rand(1, 1, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    assert agreement(torch.cat([image, image * scale + shift])).tolist() == [[pytest.approx(1, abs=1e-4)]] * 2


def test_flat_images_agree_with_nothing():
    flat = torch.full((2, 1, 3, 20, 20), 0.1) + torch.tensor([0.0, 1e-7]).view(2, 1, 1, 1, 1)
    assert agreement(flat).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("shape", [(1, 5, 1, 4, 4), (5, 1, 4, 4)])
def test_one_restart_is_refused(shape):
    with pytest.raises(SampleError, match="restarts >= 2"):
        agreement(torch.rand(shape))


def planted(images, restarts, noise, seed=0):
    """Restarts that each find the images in another order, and as many random ones."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(restarts):
        near = images + noise * torch.randn(images.shape, generator=generator)
        other = torch.rand(images.shape, generator=generator)
        found.append(torch.cat([near, other])[torch.randperm(2 * len(images), generator=generator)])
    return torch.stack(found)


def test_each_planted_image_is_found_once():
    images = torch.rand(6, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    candidates = planted(images, restarts=3, noise=0.03)
    scores = agreement(candidates)
    representatives = distinct(candidates, scores, 0.9)
    assert len(representatives) == 6
    flat = candidates.flatten(0, 1)
    nearest = [max(range(6), key=lambda j: cosine(flat[i], images[j])) for i in representatives]
    assert sorted(nearest) == list(range(6))
    ordered = [scores.flatten()[i].item() for i in representatives]
    assert ordered == sorted(ordered, reverse=True)
    # One restart's own scores do as well.
    assert len(distinct(candidates[0], scores[0], 0.9)) == 6


def test_a_chain_of_near_images_counts_once():
    generator = torch.Generator().manual_seed(2)
    a, b = torch.rand(2, 1, 10, 10, generator=generator)
    chain = torch.stack([a * (1 - t) + b * t for t in torch.linspace(0, 1, 8).tolist()]).unsqueeze(1)
    assert cosine(a, b) < 0.9
    scores = torch.linspace(0.95, 0.91, 8)
    assert distinct(chain, scores, 0.9) == (0,)


def test_nothing_above_the_threshold_gives_nothing():
    candidates = torch.rand(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert distinct(candidates, agreement(candidates), 0.9) == ()
