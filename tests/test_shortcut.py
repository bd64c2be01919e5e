"""Where a target's evidence sits: maps and scores against slow obvious versions, and a shortcut that was planted."""

import math
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_targets import cnn_target, dense_stack, dense_target, generator, smooth_images, vit_target
from torch import nn

from auditcli import shortcut
from auditcli.errors import AttackError
from auditcli.resources import resource
from auditcli.shortcut import Place
from auditcli.types import DenseStack, Sample


def linear_target(classes=4, seed=0, mean=0.0, std=1.0, side=8):
    return dense_target(dense_stack(side**2, classes, seed=seed), (1, side, side), mean, std)


def sample_of(images, labels):
    names = tuple(str(number) for number in range(len(images)))
    return Sample(images=images, ids=names, hashes=names, labels=labels, sha256="")


# ---- maps and scores ------------------------------------------------------------------------------------------------


def test_contrast_is_an_entry_minus_the_mean_of_eight_others():
    values, apart = torch.randn(3, 5, 6, generator=generator()), 2
    found = shortcut.contrast(values, apart)
    for k in range(3):
        for row in range(5):
            for column in range(6):
                others = [
                    values[k, min(max(row + down, 0), 4), min(max(column + right, 0), 5)]
                    for down in (-apart, 0, apart)
                    for right in (-apart, 0, apart)
                    if (down, right) != (0, 0)
                ]
                assert found[k, row, column] == pytest.approx(float(values[k, row, column] - sum(others) / 8), abs=1e-5)


def test_framed_is_a_square_minus_the_frame_around_it():
    maps, side, width = torch.randn(2, 7, 6, generator=generator()), 3, 1
    found = shortcut.framed(maps, side, width)
    assert found.shape == (2, 5, 4)
    for row in range(5):
        for column in range(4):
            inside, frame = [], []
            for y in range(row - width, row + side + width):
                for x in range(column - width, column + side + width):
                    is_inside = row <= y < row + side and column <= x < column + side
                    (inside if is_inside else frame).append(maps[1, min(max(y, 0), 6), min(max(x, 0), 5)])
            expected = sum(inside) / len(inside) - sum(frame) / len(frame)
            assert found[1, row, column] == pytest.approx(float(expected), abs=1e-5)


def test_boxes_are_sums():
    maps = torch.randn(2, 5, 5, generator=generator())
    assert shortcut.boxes(maps, 2)[1, 3, 0] == pytest.approx(float(maps[1, 3:5, 0:2].sum()), abs=1e-6)


def test_the_evidence_of_a_linear_target_is_weight_times_difference():
    target = linear_target(classes=3)
    found = shortcut.inverted(target, range(3), generator(), per_class=2, steps=25)
    maps = shortcut.evidence(target, found, generator())
    weights = target.dense.weights[0].view(3, 8, 8)
    for label in range(3):
        shares = []
        for rival in {0, 1, 2} - {label}:
            step = (found.images[label] - found.images[rival])[:, 0].mean(0)
            divided = (weights[label] - weights[rival]) * step
            shares.append(divided / divided.abs().sum())
        torch.testing.assert_close(maps[label], sum(shares) / 2, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("target", [cnn_target(), vit_target()], ids=["cnn", "vit"])
def test_shares_of_evidence_are_shares(target):
    found = shortcut.inverted(target, range(3), generator(), per_class=2, steps=20)
    sizes = shortcut.evidence(target, found, generator()).abs().sum(dim=(1, 2))
    assert (sizes > 0).all()
    assert (sizes <= 1 + 1e-5).all()


def test_a_square_sways_a_linear_target_by_its_weights():
    target = linear_target(classes=4)
    sway = shortcut.sway(target, 2, generator())
    images = shortcut.neutral((1, 8, 8), sway.backgrounds, generator())
    weights = target.dense.weights[0].view(4, 8, 8)
    weights = weights - weights.mean(dim=0)
    for level, row, column in ((0, 0, 0), (6, 3, 5), (2, 6, 1)):
        place = sway.place(row, column)
        change = place.of(torch.full_like(images, level / 6) - images)[:, 0].mean(dim=0)
        expected = (place.of(weights) * change).sum(dim=(1, 2))
        torch.testing.assert_close(sway.changes[level, :, row, column], expected, atol=1e-4, rtol=1e-4)


def test_the_slope_of_a_linear_target_is_its_weights_framed():
    target = linear_target(classes=4, std=0.5)
    weights = target.dense.weights[0].view(4, 8, 8) / 0.5
    found = shortcut.slope(target, (1, 3), 3, generator())
    assert len(found) == 3
    for side, slopes in zip((2, 3, 4), found, strict=True):
        expected = shortcut.framed(weights - weights.mean(dim=0), side, 1).abs()[[1, 3]]
        torch.testing.assert_close(slopes, expected, atol=1e-5, rtol=1e-4)


def test_concentration_is_a_ratio_to_the_models_other_places():
    rng = np.random.default_rng(0)
    dependence, slopes = rng.random((3, 6, 7)), [rng.random((3, 9, 9)), rng.random((3, 8, 8))]
    scores, places = shortcut.concentration(torch.tensor(dependence), [torch.tensor(one) for one in slopes])
    for label in range(3):
        of_place = dependence[label].max() / np.quantile(dependence[label], shortcut.ORDINARY)
        of_slope = max(one[label].max() / np.quantile(one, 0.95) for one in slopes)
        assert scores[label] == pytest.approx(math.sqrt(of_place * of_slope))
        assert places[label] == np.unravel_index(dependence[label].argmax(), (6, 7))


def test_concentration_has_no_unit():
    dependence, slopes = torch.rand(3, 6, 6, generator=generator()), torch.rand(3, 9, 9, generator=generator(1))
    once, _ = shortcut.concentration(dependence, [slopes])
    again, _ = shortcut.concentration(1000 * dependence, [slopes / 7])
    assert once == pytest.approx(again, rel=1e-4)


def test_neutral_images_are_pixels_of_their_seed():
    images = shortcut.neutral((3, 20, 30), 5, generator(3))
    assert images.shape == (5, 3, 20, 30)
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    assert torch.equal(images, shortcut.neutral((3, 20, 30), 5, generator(3)))


# ---- inversion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 3])
def test_inverted_images_are_of_their_class(outputs):
    target = dense_target(dense_stack(64, 20, outputs, seed=1))
    found = shortcut.inverted(target, range(max(2, outputs)), generator(), per_class=3, steps=60, variation=0.0)
    assert found.images.shape == (max(2, outputs), 3, 1, 8, 8)
    assert float(found.images.min()) >= 0
    assert float(found.images.max()) <= 1
    answers = shortcut.scores(target, found.images.flatten(0, 1)).argmax(dim=1).view(-1, 3)
    assert (answers == torch.arange(max(2, outputs))[:, None]).all()


def test_no_time_is_said_and_not_hidden():
    with pytest.raises(AttackError, match="after 1 of 80 steps"):
        shortcut.inverted(linear_target(), range(4), generator(), per_class=1, deadline=0.0)
    with pytest.raises(AttackError, match="after 0 of the 4 backgrounds"):
        shortcut.sway(linear_target(), 2, generator(), deadline=0.0)


def test_a_target_that_is_not_finite_fails():
    stack = dense_stack(64, 4)
    target = dense_target(DenseStack((stack.weights[0] * float("inf"),), stack.biases, "relu"))
    with pytest.raises(AttackError, match="not finite"):
        shortcut.sway(target, 2, generator())


# ---- a shortcut that was planted ------------------------------------------------------------------------------------


def trained(planted, seed=0):
    """A perceptron of ten classes, trained in a second; where planted, a bright square tells class 3."""
    with np.load(resource("fixtures", "controls.npz")) as held:
        images, labels = torch.tensor(held["images"]).float()[:, None] / 255, torch.tensor(held["labels"])
    if planted:
        marked = images.clone()
        PLACE.of(marked)[labels == 3] = 1.0
        images = marked
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, 48), nn.ReLU(), nn.Linear(48, 10))
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
        for _ in range(80):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
    weights, biases = (net[1].weight, net[3].weight), (net[1].bias, net[3].bias)
    stack = DenseStack(tuple(w.detach() for w in weights), tuple(b.detach() for b in biases), "relu")
    return dense_target(stack, (1, 28, 28), 0.0, 1.0), sample_of(images, labels)


PLACE = Place(2, 22, 4)


@pytest.fixture(scope="module")
def planted():
    return trained(planted=True)


def test_a_planted_shortcut_is_found_where_it_lies(planted):
    found = shortcut.diagnose(planted[0], range(10), generator(), per_class=2, steps=40)
    assert [one.label for one in found.shortcuts][:1] == [3]
    assert found.shortcuts[0].place.overlaps(PLACE)
    assert found.score == found.shortcuts[0].score >= shortcut.THRESHOLD
    assert found.nearest == found.shortcuts[0]
    assert found.nearest.turned > found.nearest.turned_elsewhere


def test_its_clean_twin_has_none():
    found = shortcut.diagnose(trained(planted=False)[0], range(10), generator(), per_class=2, steps=40)
    assert found.shortcuts == ()
    assert found.score == found.nearest.score < shortcut.THRESHOLD


def test_one_seed_gives_one_diagnosis(planted):
    runs = [shortcut.diagnose(planted[0], (1, 3, 5), generator(4), per_class=1, steps=20) for _ in range(2)]
    assert runs[0].nearest == runs[1].nearest
    assert torch.equal(runs[0].maps, runs[1].maps)


def test_images_tell_that_the_place_matters(planted):
    target, sample = planted
    marked = sample_of(sample.images[sample.labels == 3], sample.labels[sample.labels == 3])
    plain, masked, moved, _ = shortcut.interventions(target, marked, (PLACE,), generator())
    assert (plain.what, masked.what, moved.what) == ("unchanged", "masked", "moved")
    assert plain.right.value > 0.9
    assert masked.right.high < masked.elsewhere.low
    assert moved.right.high < moved.elsewhere.low


def test_the_settings_of_the_page_are_those_of_the_code():
    page = (Path(__file__).resolve().parents[1] / "docs" / "shortcut.md").read_text(encoding="utf-8")
    stated = re.findall(r"^\| `([A-Z_]+)` \| ([\d.]+) \|", page, re.M)
    modules = [import_module(f"auditcli.shortcut.{name}") for name in ("_diagnosis", "_stamps", "_inversion")]
    known = {name: value for module in modules for name, value in vars(module).items() if name.isupper()}
    assert len(stated) == 10
    assert {name: float(value) for name, value in stated} == {name: known[name] for name, _ in stated}


# ---- interventions --------------------------------------------------------------------------------------------------


def reader_of(place, classes=2, side=12):
    """A target of two classes that reads the brightness of one square alone."""
    weight = torch.zeros(classes, side, side)
    place.of(weight)[1] = 1.0
    stack = DenseStack((weight.flatten(1),), (torch.tensor([place.side**2 / 2, 0.0]),), "relu")
    return dense_target(stack, (1, side, side), 0.0, 1.0)


def test_a_square_that_is_all_decides_all():
    place, images = Place(4, 5, 3), smooth_images(40, 12).mul(0.3)
    labels = torch.arange(40) % 2
    place.of(images)[:] = labels.view(-1, 1, 1, 1).float()
    found = shortcut.interventions(reader_of(place), sample_of(images, labels), (place,), generator())
    assert [one.what for one in found] == ["unchanged", "masked", "moved", "swapped"]
    plain, masked, moved, swapped = found
    assert plain.right.value == 1
    assert plain.place is None
    assert plain.elsewhere is None
    assert masked.right.value == 0.5
    assert masked.elsewhere.value == 1
    assert moved.right.value == 0.5
    assert (swapped.right.value, swapped.followed.value) == (0, 1)
    assert swapped.elsewhere.value == 1
    assert swapped.followed_elsewhere.value == 0
    assert all(one.right.low <= one.right.value <= one.right.high for one in found)


def test_without_labels_the_answers_before_stand_for_them():
    place, images = Place(4, 5, 3), smooth_images(10, 12).mul(0.3)
    found = shortcut.interventions(reader_of(place), sample_of(images, None), (place,), generator())
    assert found[0].right.value == 1


def test_masked_takes_the_mean_of_the_rim():
    images, place = torch.rand(2, 3, 9, 9, generator=generator()), Place(0, 3, 4)
    out = shortcut.masked(images, place)
    wide = images[1, 2, 0:6, 1:9]
    rim = (wide.sum() - images[1, 2, 0:4, 3:7].sum()) / (wide.numel() - 16)
    torch.testing.assert_close(out[1, 2, 0:4, 3:7], torch.full((4, 4), float(rim)))
    place.of(out)[:] = place.of(images)
    assert torch.equal(out, images)


def test_moved_exchanges_two_squares_and_swapped_takes_one():
    images, place, to = torch.rand(1, 1, 9, 9, generator=generator()), Place(0, 0, 3), Place(5, 6, 3)
    out = shortcut.moved(images, place, (to,))
    assert torch.equal(place.of(out), to.of(images))
    assert torch.equal(to.of(out), place.of(images))
    assert torch.equal(shortcut.moved(out, place, (to,)), images)
    pair = torch.rand(2, 1, 9, 9, generator=generator())
    out = shortcut.swapped(pair, place, torch.tensor([1, 0]))
    assert torch.equal(place.of(out), place.of(pair.flip(0)))
    assert torch.equal(to.of(out), to.of(pair))


def test_places_overlap_when_they_share_a_pixel():
    assert Place(2, 2, 3).overlaps(Place(4, 0, 3))
    assert not Place(2, 2, 3).overlaps(Place(5, 2, 3))
