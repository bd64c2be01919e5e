"""The scores in a report: each belongs to its image, whatever order the signal saw them in."""

from types import SimpleNamespace

import pytest
import torch

from auditcli.assembly import _rounded, _signal
from auditcli.membership import Signal
from auditcli.outcomes import SignalOutcome, measure
from auditcli.training._shadows import part
from auditcli.types import Sample


def sample(name, n, seed):
    images = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    ids = tuple(f"{name}-{i}" for i in range(n))
    return Sample(images=images, ids=ids, hashes=ids, labels=None, sha256=name)


@pytest.fixture
def brightness():
    """A signal whose score can be read off the image."""
    return Signal(
        name="brightness",
        summary="",
        paper="",
        requires=frozenset(),
        shadows=False,
        scores=lambda query: query.images.mean(dim=(1, 2, 3)),
    )


def target():
    return SimpleNamespace(profile=SimpleNamespace(traits=frozenset(), family="mlp"))


def measured(signal, members, controls, seed=3):
    return measure(signal, target(), members, controls, torch.device("cpu"), seed=seed)


def test_scores_are_in_the_order_of_the_samples(brightness):
    members, controls = sample("m", 7, 0), sample("k", 9, 1)
    scores = _signal(measured(brightness, members, controls), controls).scores
    assert scores.members == pytest.approx(members.images.mean(dim=(1, 2, 3)).tolist(), rel=1e-5)
    assert scores.controls == pytest.approx(controls.images.mean(dim=(1, 2, 3)).tolist(), rel=1e-5)
    assert scores.places is None


def test_scores_do_not_depend_on_the_seed(brightness):
    members, controls = sample("m", 7, 0), sample("k", 9, 1)
    first, second = (_signal(measured(brightness, members, controls, seed), controls).scores for seed in (0, 1))
    assert first == second


def test_controls_that_were_held_back_keep_their_places(brightness):
    members, controls = sample("m", 7, 0), sample("k", 9, 1)
    compared = part(controls, torch.tensor([8, 2, 5]))
    scores = _signal(measured(brightness, members, compared), controls).scores
    assert scores.places == (2, 5, 8)
    whole = controls.images.mean(dim=(1, 2, 3)).tolist()
    assert scores.controls == pytest.approx([whole[place] for place in scores.places], rel=1e-5)


def test_a_signal_without_scores_has_none(brightness):
    outcome = SignalOutcome(brightness, "skipped", "needs shadow models")
    assert _signal(outcome, sample("k", 3, 1)).scores is None


@pytest.mark.parametrize(
    ("score", "written"),
    [(0.123456789, 0.123457), (-1234567.0, -1234570.0), (1e-12, 1e-12), (float("inf"), 1e308), (float("-inf"), -1e308)],
)
def test_six_digits(score, written):
    assert _rounded(score) == written
