"""The benchmark of `kkt`: the published equations against a slow obvious version, and the whole of it in small."""

import json
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import kkt  # noqa: E402
import kkt_published  # noqa: E402
import kkt_recoveries  # noqa: E402
import kkt_victims  # noqa: E402

from auditcli.types import DenseStack  # noqa: E402

SHARPNESS = 9.0


def dense(outputs: int) -> DenseStack:
    rng = torch.Generator().manual_seed(outputs)
    widths = (5, 6, 5, outputs)
    weights = tuple(torch.randn(b, a, generator=rng, dtype=torch.float64) for a, b in pairwise(widths))
    return DenseStack(weights, (torch.randn(6, generator=rng, dtype=torch.float64), None, None), "relu")


def points(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(n, 5, generator=rng, dtype=torch.float64)
    return x.requires_grad_(), torch.rand(n, generator=rng, dtype=torch.float64).requires_grad_()


def relu(z: torch.Tensor) -> torch.Tensor:
    """ReLU in value, softplus in all derivatives."""
    soft = torch.logaddexp(SHARPNESS * z, torch.zeros_like(z)) / SHARPNESS
    return soft + (z.clamp_min(0) - soft).detach()


def slow_stationarity(net: DenseStack, x: torch.Tensor, labels: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
    """One image at a time."""
    theta = [weight.clone().requires_grad_() for weight in net.weights]
    bias = net.biases[0].clone().requires_grad_()
    sums = [torch.zeros_like(one) for one in (*theta, bias)]
    for image, label, multiplier in zip(x, labels.tolist(), lam, strict=True):
        logits = theta[2] @ relu(theta[1] @ relu(theta[0] @ image + bias))
        if len(logits) == 1:
            margin = logits[0] if label == 1 else -logits[0]
        else:
            margin = logits[label] - max(value for other, value in enumerate(logits) if other != label)
        gradients = torch.autograd.grad(margin, [*theta, bias], create_graph=True)
        sums = [one + multiplier * gradient / len(x) for one, gradient in zip(sums, gradients, strict=True)]
    return sum(((a.detach() - b) ** 2).sum() for a, b in zip((*theta, bias), sums, strict=True))


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_published_loss_and_its_gradients(outputs):
    net = dense(outputs)
    x, lam = points(6)
    labels = torch.arange(6) % max(2, outputs)
    fast = kkt_published.stationarity(net, x, labels, lam, SHARPNESS)
    slow = slow_stationarity(net, x, labels, lam)
    torch.testing.assert_close(fast, slow)
    for one, other in zip(torch.autograd.grad(fast, [x, lam]), torch.autograd.grad(slow, [x, lam]), strict=True):
        assert other.abs().max() > 1e-3
        torch.testing.assert_close(one, other)


def test_a_network_that_is_its_own_kkt_point_has_no_residual():
    # f(x) = w . x with w = 0.5 * (lambda_0 x_0 - lambda_1 x_1): one linear layer, no activation in the way.
    x, lam = points(2)
    weight = ((lam[1] * x[1] - lam[0] * x[0]) / 2)[None].detach()
    net = DenseStack((weight,), (None,), "relu")
    loss = kkt_published.stationarity(net, x, torch.tensor([0, 1]), lam, SHARPNESS)
    assert float(loss.detach()) < 1e-20


def test_the_hinges_are_sums_of_squares():
    x = torch.tensor([[1.5, -3.0, 0.9], [-1.0, 1.0, 0.0]])
    lam = torch.tensor([0.1, 0.7])
    expected = 0.5**2 + 2.0**2 + 5 * 0.3**2
    assert float(kkt_published.penalty(x, lam, 0.4)) == pytest.approx(expected)


def curve(name: str, counts: list[int], seconds: list[float]) -> kkt_recoveries.Curve:
    points_ = tuple(
        kkt_recoveries.Point(at, step, count, count, count, 0.5)
        for step, (at, count) in enumerate(zip(seconds, counts, strict=True))
    )
    return kkt_recoveries.Curve(name, 4, points_, 0, 0, 0.1, 9.0, diverged=False)


def test_times_to_a_number_of_recoveries():
    found = curve("kkt, deep", [0, 2, 1, 5], [1.0, 2.0, 3.0, 4.0])
    assert [found.seconds_to(k) for k in (1, 2, 3, 5, 6)] == [2.0, 2.0, 4.0, 4.0, None]
    assert found.most == 5
    slower = curve("published", [0, 1, 2, 2], [1.0, 3.0, 6.0, 9.0])
    never = curve("other", [0], [50.0])
    text = kkt.table({"victim": "tiny"}, (found, slower, never))
    assert "2 recovered in 6.0 s, by kkt, deep in 2.0 s, 3.0 times as fast" in text
    assert "other: none in 50 s" in text


def test_the_clock_stops_an_attack_and_keeps_its_end():
    def endless():
        while True:
            yield torch.rand(1, 1, 1, 1)

    track = kkt_recoveries.record(endless(), 0.05)
    assert track.snapshots[-1].seconds >= 0.05
    assert not track.diverged


def test_divergence_ends_a_run_and_is_said():
    frames = [torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), torch.nan)]
    track = kkt_recoveries.record(iter(frames), 60)
    assert track.diverged
    assert float(track.snapshots[-1].candidates) == 1.0
    assert not kkt_recoveries.record(iter(frames[:2]), 60).diverged


@pytest.fixture
def data(tmp_path):
    """Smooth random images of two kinds, grey and 12 x 12."""
    rng = np.random.default_rng(0)
    stored = {}
    for part, count in (("train", 40), ("test", 900)):
        labels = np.arange(count) % 2
        coarse = rng.integers(0, 256, (count, 4, 4)) * np.where(labels, 1.0, 0.6)[:, None, None]
        stored[f"x_{part}"] = coarse.repeat(3, 1).repeat(3, 2).astype(np.uint8)
        stored[f"y_{part}"] = labels.astype(np.int64)
    np.savez(tmp_path / "mnist.npz", **stored)
    return tmp_path


TINY = kkt_victims.Recipe("mnist.npz", ((0,), (1,)), images=6, mean=0.4, std=0.3, hidden=(40, 40), steps=1500)


def test_the_whole_in_small(data, tmp_path, monkeypatch):
    monkeypatch.setattr(kkt, "RECIPES", {"mnist": TINY})
    text = kkt.compare("mnist", data, tmp_path / "out", seconds=0.3, seed=0)
    results = json.loads((tmp_path / "out" / "kkt-mnist.json").read_text())
    names = [method["name"] for method in results["methods"]]
    assert names == [
        *("kkt, quick", "kkt, standard", "kkt, deep"),
        *("published (kcf9bhbi)", "published (rbijxft7)", "published loss, Adam 0.01"),
    ]
    assert all(f"| {name} | 12 | " in text for name in names[3:])
    assert (tmp_path / "out" / "kkt-mnist.md").read_text() == text
    assert "<svg" in (tmp_path / "out" / "kkt-mnist.svg").read_text()
    assert all(method["points"][-1]["step"] > 0 for method in results["methods"])


def test_a_victim_is_trained_once_and_leaks(data, tmp_path):
    victim = kkt_victims.victim(TINY, data, tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*.safetensors")
    written = path.stat().st_mtime_ns
    again = kkt_victims.victim(TINY, data, tmp_path / "cache")
    assert path.stat().st_mtime_ns == written
    assert again.alignment == victim.alignment > 0.9
    assert replace(TINY, seed=1).key != TINY.key
    assert victim.members.shape == (6, 1, 12, 12)
    assert len(victim.controls) == 400


def test_the_members_themselves_are_all_recovered(data, tmp_path):
    victim = kkt_victims.victim(TINY, data, tmp_path / "cache")
    scored = kkt_recoveries.score("oracle", kkt_recoveries.record(iter([victim.members]), 1), victim)
    assert (scored.most, scored.matched, scored.points[-1].cosine) == (6, 6, 6)
    grey = kkt_recoveries.score("grey", kkt_recoveries.record(iter([torch.full_like(victim.members, 0.5)]), 1), victim)
    assert (grey.most, grey.matched) == (0, 0)


def test_a_missing_data_set_is_said(tmp_path):
    with pytest.raises(kkt_victims.SampleError, match="no data set mnist"):
        kkt_victims.victim(TINY, tmp_path, tmp_path)
