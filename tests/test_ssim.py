"""SSIM is the published definition: the oracle is scikit-image, one pair at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from auditcli.errors import SampleError
from auditcli.scoring.ssim import pairwise_ssim

WINDOWS = {
    "uniform-7": (7, {}),
    "gaussian-11": (11, {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}),
}
KINDS = ("noise", "flat", "nearly flat", "binary", "gradient", "zero")


def oracle(candidates, images, window):
    """(n, m) float64, from scikit-image."""
    rows = [[_skimage(a, b, window) for b in images.double().numpy()] for a in candidates.double().numpy()]
    return torch.tensor(np.array(rows))


def _skimage(a, b, window):
    return structural_similarity(a, b, data_range=1.0, channel_axis=0, **WINDOWS[window][1])


def picture(kind, shape, generator):
    noise = torch.rand(shape, generator=generator, dtype=torch.float64)
    return {
        "noise": noise,
        "flat": torch.ones_like(noise) * noise.flatten()[0],
        "nearly flat": noise.flatten()[0] * 0.9 + 1e-3 * noise,
        "binary": (noise > 0.5).double(),
        "gradient": torch.linspace(0, 1, shape[-1], dtype=torch.float64).expand(shape),
        "zero": torch.zeros_like(noise),
    }[kind]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("window", list(WINDOWS))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_equals_skimage(window, dtype, tolerance, data):
    side = st.integers(WINDOWS[window][0], WINDOWS[window][0] + 10)
    shape = (data.draw(st.integers(1, 3)), data.draw(side), data.draw(side))
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=5))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    pictures = torch.stack([picture(kind, shape, generator) for kind in kinds]).to(dtype)
    n = data.draw(st.integers(1, len(kinds) - 1))
    got = pairwise_ssim(pictures[:n], pictures, window=window, chunk_bytes=data.draw(st.integers(1, 10**6)))
    assert got.dtype == dtype
    assert got.shape == (n, len(kinds))
    assert (got.double() - oracle(pictures[:n], pictures, window)).abs().max() <= tolerance


@pytest.mark.parametrize("window", list(WINDOWS))
def test_many_pairs_cross_every_tile_border(window):
    generator = torch.Generator().manual_seed(3)
    candidates = torch.rand(300, 1, 12, 12, generator=generator)
    images = torch.rand(1100, 1, 12, 12, generator=generator)
    got = pairwise_ssim(candidates, images, window=window)
    for i, j in [(0, 0), (255, 511), (256, 512), (299, 1099), (255, 1024), (256, 1023)]:
        assert got[i, j].item() == pytest.approx(_skimage(*_pair(candidates[i], images[j]), window), abs=1e-6)
    torch.testing.assert_close(
        got[250:260, 505:520], pairwise_ssim(candidates[250:260], images[505:520], window=window)
    )


def _pair(a, b):
    return a.double().numpy(), b.double().numpy()


def test_threads_change_nothing_and_are_given_back():
    generator = torch.Generator().manual_seed(4)
    candidates = torch.rand(3, 1, 8, 8, generator=generator)
    images = torch.rand(1030, 1, 8, 8, generator=generator)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = pairwise_ssim(candidates, images)
        torch.set_num_threads(3)
        three = pairwise_ssim(candidates, images)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(one, three, rtol=0, atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(KINDS))
def test_identical_is_one_and_symmetric_and_bounded(seed, kind):
    generator = torch.Generator().manual_seed(seed)
    images = torch.stack([picture(k, (1, 9, 8), generator) for k in ("noise", kind)])
    scores = pairwise_ssim(images, images)
    torch.testing.assert_close(scores.diagonal(), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(scores, scores.T)
    assert scores.abs().max() <= 1 + 1e-12


def test_half_precision_is_scored_in_float32():
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).half()
    assert pairwise_ssim(images, images).dtype == torch.float32


def test_needs_no_graph():
    images = torch.rand(2, 1, 8, 8, requires_grad=True)
    assert not pairwise_ssim(images, images).requires_grad


def test_no_candidates_give_an_empty_table():
    assert pairwise_ssim(torch.zeros(0, 1, 8, 8), torch.zeros(3, 1, 8, 8)).shape == (0, 3)


@pytest.mark.parametrize(
    ("candidates", "images", "window", "message"),
    [
        (torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8), "uniform-7", "one shape"),
        (torch.zeros(1, 8, 8), torch.zeros(1, 8, 8), "uniform-7", "one shape"),
        (torch.zeros(1, 1, 6, 9), torch.zeros(1, 1, 6, 9), "uniform-7", "at least 7x7 pixels, got 6x9"),
        (torch.zeros(1, 1, 10, 20), torch.zeros(1, 1, 10, 20), "gaussian-11", "at least 11x11"),
        (torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "uniform-7", "floating-point"),
        (torch.full((1, 1, 8, 8), torch.nan), torch.zeros(1, 1, 8, 8), "uniform-7", "the candidates are not"),
    ],
)
def test_refuses_what_it_cannot_score(candidates, images, window, message):
    with pytest.raises(SampleError, match=message) as error:
        pairwise_ssim(candidates, images, window=window)
    assert error.value.hint
