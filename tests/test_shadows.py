"""Shadow models: halves, cache, time; and the signals that compare the target with them, against slow versions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from tiny_targets import dense_stack, dense_target, generator, smooth_images

from auditcli.errors import AttackError, SampleError
from auditcli.membership import Query, all_signals
from auditcli.training import part, shadows, split
from auditcli.types import Sample, Shadows

SIGNALS = {signal.name: signal for signal in all_signals()}
TARGET = dense_target(dense_stack(64, 16, 3))


def sample(n=24, labelled=True, seed=0):
    names = tuple(str(index) for index in range(n))
    labels = torch.arange(n) % 3 if labelled else None
    return Sample(smooth_images(n, 8, seed), names, names, labels, "all")


def trained(count=2, target=TARGET, population=None, seconds=100, seed=0, **options):
    return shadows(target, population or sample(), count, seconds=seconds, seed=seed, **options)


def weights(target):
    return [tensor.clone() for tensor in target.module.state_dict().values()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_a_split_is_two_halves_and_random():
    controls = sample(25)
    one, two = split(controls, 0)
    assert (len(one), len(two)) == (12, 13)
    assert sorted((*one.ids, *two.ids), key=int) == list(controls.ids)
    assert split(controls, 0)[0].ids == one.ids != split(controls, 1)[0].ids
    assert one.sha256 != two.sha256
    place = [int(name) for name in one.ids]
    assert torch.equal(one.images, controls.images[place])
    assert torch.equal(one.labels, controls.labels[place])
    with pytest.raises(SampleError, match="cannot be split"):
        split(part(controls, torch.tensor([3])), 0)


def test_each_learns_its_own_half():
    found = trained(3)
    assert found.seen.sum(dim=1).tolist() == [12, 12, 12]
    assert not torch.equal(found.seen[0], found.seen[1])
    for model, seen in zip(found.targets, found.seen, strict=True):
        loss = torch.nn.functional.cross_entropy
        images, labels = found.population.images, found.population.labels
        assert loss(model(images[seen]), labels[seen]) < 0.03 < loss(model(images[~seen]), labels[~seen])
    assert same(found.targets[0], trained(2).targets[0])
    assert not same(found.targets[0], trained(2, seed=1).targets[0])


def test_without_labels_the_target_says_what_to_learn():
    found = trained(population=sample(labelled=False))
    images, seen = found.population.images, found.seen[0]
    agreed = found.targets[0](images[seen]).argmax(1) == TARGET(images[seen]).argmax(1)
    assert agreed.all()


def test_what_was_trained_is_found_again(tmp_path):
    first = trained(2, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    told = []
    again = trained(3, cache=tmp_path, watch=told.append)
    assert {progress.attack for progress in told} == {"shadow model 3"}
    assert all(same(one, other) for one, other in zip(first.targets, again.targets, strict=False))
    assert torch.equal(again.targets[0].dense.weights[0], first.targets[0].dense.weights[0])
    assert len(trained(2, cache=tmp_path, seconds=0).targets) == 2


@pytest.mark.parametrize("spoilt", [b"", b"nothing", b"\xff" * 100, "other"])
def test_a_damaged_or_foreign_file_is_ignored_and_replaced(tmp_path, spoilt):
    first = trained(2, cache=tmp_path)
    one, two = sorted(tmp_path.iterdir())
    one.write_bytes(two.read_bytes() if spoilt == "other" else spoilt)
    again = trained(2, cache=tmp_path)
    assert all(same(a, b) for a, b in zip(first.targets, again.targets, strict=True))
    assert len(trained(2, cache=tmp_path, seconds=0).targets) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"population": sample(seed=9)},
        {"population": replace(sample(), labels=torch.zeros(24).long())},
        {"target": dense_target(dense_stack(64, 16, 3, activation="tanh"))},
    ],
    ids=["seed", "images", "labels", "activation"],
)
def test_nothing_is_taken_for_what_it_is_not(tmp_path, other):
    if "population" in other:
        hashes = tuple(f"{other['population'].images[i].sum():.6f}" for i in range(24))
        other = {"population": replace(other["population"], hashes=hashes)}
    trained(2, cache=tmp_path)
    with pytest.raises(AttackError):
        trained(2, cache=tmp_path, seconds=0, **other)


def test_too_little_time_or_too_few_images_are_errors_with_a_hint():
    for options in ({"seconds": 0}, {"population": part(sample(), torch.arange(3))}):
        with pytest.raises(AttackError) as caught:
            trained(2, **options)
        assert caught.value.hint


def test_ctrl_c_passes_and_what_was_finished_stays(tmp_path):
    def watch(progress):
        if progress.attack == "shadow model 2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(2, cache=tmp_path, watch=watch)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AttackError, match="could not be written") as caught:
        trained(2, cache=tmp_path / "file")
    assert tmp_path.name not in caught.value.message, "it ends in the report"


# ---- signals --------------------------------------------------------------------------------------------------------


def case(models=4, labelled=True):
    targets = tuple(dense_target(dense_stack(64, 16, 3, seed=10 + k)) for k in range(models))
    seen = torch.rand(models, 24, generator=generator(5)) < 0.5
    return Query(
        target=TARGET,
        images=smooth_images(15, 8, 7),
        labels=torch.arange(15) % 3 if labelled else None,
        shadows=Shadows(targets, sample(), seen),
    )


def probabilities(model, images, labels):
    p = model(images).double().softmax(1).detach().numpy()
    return p[np.arange(len(p)), labels]


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("models", [3, 70])
def test_lira_is_the_p_value_of_a_gaussian(models, labelled):
    query = case(models, labelled)
    labels = (query.labels if labelled else TARGET(query.images).argmax(1)).numpy()
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    out = np.array([logit(probabilities(model, query.images, labels)) for model in query.shadows.targets])
    sigma = out.std(axis=0, ddof=1) if models >= 64 else np.sqrt(out.var(axis=0, ddof=1).mean())
    own = logit(probabilities(TARGET, query.images, labels))
    expected = -norm.logsf((own - out.mean(axis=0)) / sigma)
    np.testing.assert_allclose(SIGNALS["lira"].scores(query), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("labelled", [True, False])
def test_rmia_is_the_share_of_the_population_that_is_dominated(labelled):
    query = case(labelled=labelled)
    population, seen = query.shadows.population, query.shadows.seen
    labels = (query.labels if labelled else TARGET(query.images).argmax(1)).numpy()
    others = (population.labels if labelled else TARGET(population.images).argmax(1)).numpy()

    def ratios(images, labels, seen):
        own = probabilities(TARGET, images, labels)
        out = np.array([probabilities(model, images, labels) for model in query.shadows.targets])
        found = []
        for index in range(len(images)):
            strangers = [out[k, index] for k in range(len(out)) if not seen[k][index]]
            if strangers:
                found.append(own[index] / (((1 + 0.3) * np.mean(strangers) + 1 - 0.3) / 2))
        return np.array(found)

    x = ratios(query.images, labels, np.zeros((4, 15), dtype=bool))
    z = ratios(population.images, others, seen.numpy())
    share = np.array([np.mean([a / b >= 2 for b in z]) for a in x])
    scores = SIGNALS["rmia"].scores(query).numpy()
    assert (share <= scores).all()
    assert (scores < share + 1 / len(z)).all()
    assert (np.argsort(scores) == np.argsort(x)).all()
    assert share.max() > share.min()


def test_rmia_needs_strangers_in_the_population():
    query = case()
    everything = replace(query.shadows, seen=torch.ones_like(query.shadows.seen))
    with pytest.raises(AttackError, match="seen by every shadow model"):
        SIGNALS["rmia"].scores(replace(query, shadows=everything))


@pytest.mark.parametrize("name", ["lira", "rmia"])
def test_a_signal_that_needs_shadow_models_says_so(name):
    assert SIGNALS[name].shadows
    with pytest.raises(TypeError, match="without shadow models"):
        SIGNALS[name].scores(replace(case(), shadows=None))
