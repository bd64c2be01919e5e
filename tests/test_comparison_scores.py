"""The ranks in a report: each belongs to its image, whatever order the signal saw them in."""

from types import SimpleNamespace

import pytest
import torch

from auditcli.assembly import _scores, _signal
from auditcli.comparison._paired import areas, rates
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


def brightest(*samples):
    """Rank of each image by its brightness, among the images of all samples."""
    light = torch.cat([one.images.mean(dim=(1, 2, 3)) for one in samples]).tolist()
    return [1 + sorted(light).index(value) for value in light]


def test_ranks_are_in_the_order_of_the_samples(brightness):
    members, controls = sample("m", 7, 0), sample("k", 9, 1)
    scores = _signal(measured(brightness, members, controls), controls).scores
    assert [*scores.members, *scores.controls] == brightest(members, controls)
    assert scores.places is None


def test_ranks_do_not_depend_on_the_seed(brightness):
    members, controls = sample("m", 7, 0), sample("k", 9, 1)
    first, second = (_signal(measured(brightness, members, controls, seed), controls).scores for seed in (0, 1))
    assert first == second


def test_controls_that_were_held_back_keep_their_places(brightness):
    members, controls = sample("m", 7, 0), sample("k", 9, 1)
    compared = part(controls, torch.tensor([8, 2, 5]))
    scores = _signal(measured(brightness, members, compared), controls).scores
    assert scores.places == (2, 5, 8)
    assert [*scores.members, *scores.controls] == brightest(members, compared)


def test_ranks_say_all_that_the_areas_rest_on(brightness):
    members, controls = sample("m", 7, 0), sample("k", 9, 1)
    membership = _signal(measured(brightness, members, controls), controls)
    found = areas(*2 * [(membership.scores.members, membership.scores.controls)])
    assert found.old == pytest.approx(membership.auc.value)
    assert rates(*2 * [(membership.scores.members, membership.scores.controls)], 0.1).new == (
        membership.tpr_at_fpr.at_10_percent.value
    )


def test_what_the_signal_gave_is_not_told(brightness):
    """Whoever holds the model and an image can compute it, and would learn from a match that it was a member."""
    members, controls = sample("m", 7, 0), sample("k", 9, 1)
    scores = _signal(measured(brightness, members, controls), controls).scores
    assert all(rank == round(2 * rank) / 2 for rank in (*scores.members, *scores.controls))


def test_ties_share_their_rank(brightness):
    outcome = SignalOutcome(
        brightness, "scored", members=(0.5, float("inf")), controls=(0.5, float("-inf")), compared=("k-0", "k-1")
    )
    assert _scores(outcome, sample("k", 2, 1)).members == (2.5, 4.0)


def test_a_signal_without_scores_has_none(brightness):
    outcome = SignalOutcome(brightness, "skipped", "needs shadow models")
    assert _signal(outcome, sample("k", 3, 1)).scores is None
