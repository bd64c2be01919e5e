"""Whether members and controls differ in kind, and which images leave as copies."""

import io
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from auditcli.comparability import _blind, blind, vet
from auditcli.comparability._features import describe
from auditcli.errors import SampleError
from auditcli.types import Sample

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def sample(images, labels=None, name="image"):
    images = images if images.ndim == 4 else images[..., None]
    return Sample(
        images=torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255,
        ids=tuple(f"{name}{i}" for i in range(len(images))),
        hashes=tuple(sha256(image.tobytes()).hexdigest() for image in images),
        labels=None if labels is None else torch.from_numpy(labels),
        sha256=name,
    )


def jpeg(images, quality):
    def one(image):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=quality)
        return np.asarray(Image.open(stream))

    return np.stack([one(image) for image in images])


def scenes(n, seed, side=28):
    """Smooth random pictures."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 7, 7), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse])


def real(name, n, seed):
    path = DATA / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in ../shared/data")
    with np.load(path, allow_pickle=False) as data:
        images, labels = data["x_train"], data["y_train"]
    index = np.random.default_rng(seed).permutation(len(images))[:n]
    return images[index], labels[index]


# ---- blind ----------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_classifiers_fitted_to_the_other_images():
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(12, 3)), rng.normal(size=12)
    values -= values.mean(axis=0)
    power = np.linalg.svd(values, compute_uv=False) ** 2
    penalty = _blind.RIDGE * power.mean()
    fast = _blind._scores(_blind._basis(values), labels[:, None].astype(np.float32))[:, 0]
    for i in range(12):
        x, y = np.delete(values, i, axis=0), np.delete(labels, i)
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(3), x.T @ y)
        assert fast[i] == pytest.approx(values[i] @ weights, abs=1e-4)


def test_false_alarms_are_at_their_level(monkeypatch):
    monkeypatch.setattr(_blind, "DRAWS", 99)
    monkeypatch.setattr(_blind, "TREES", 10)
    p_values = []
    for seed in range(100):
        images = scenes(36, seed, side=16)
        p_values.append(blind(sample(images[:12]), sample(images[12:]), seed=seed).test.p_value)
    # Binomial(100, a): each bound is passed in fewer than one of a thousand runs of other seeds.
    assert sum(p <= 0.05 for p in p_values) <= 13
    assert sum(p <= 0.5 for p in p_values) <= 66
    assert min(p_values) > 0


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_random_parts_of_one_collection_do_not_differ(name):
    images, labels = real(name, 500, 1)
    found = blind(sample(images[:100], labels[:100]), sample(images[100:], labels[100:]), seed=0)
    assert not found.differs
    assert not found.differences
    assert found.has_power


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("fashion_mnist", lambda x: jpeg(x, 90), "JPEG traces"),
        ("cifar10", lambda x: jpeg(x, 90), "JPEG traces"),
        ("fashion_mnist", lambda x: np.clip(x * 1.02, 0, 255).round().astype(np.uint8), "grey levels"),
        ("fashion_mnist", lambda x: np.clip(x + 5.0, 0, 255).astype(np.uint8), "brightness"),
        ("cifar10", lambda x: resized(x, 28), "sharpness"),
    ],
)
def test_another_way_of_preparing_controls_is_seen(name, change, what):
    images, _ = real(name, 500, 1)
    found = blind(sample(images[:100]), sample(change(images[100:])), seed=0)
    assert found.differs
    assert what in {difference.what for difference in found.differences}
    assert found.auc > 0.7


def resized(images, side):
    def one(image):
        there = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(there.resize(image.shape[:2], Image.Resampling.BILINEAR))

    return np.stack([one(image) for image in images])


def test_another_mix_of_classes_is_named():
    images = scenes(300, 0)
    labels = np.where(np.arange(300) < 100, 0, np.arange(300) % 4)
    found = blind(sample(images[:100], labels[:100]), sample(images[100:], labels[100:]), seed=0)
    assert "class mix" in {difference.what for difference in found.differences}


@pytest.mark.parametrize(("m", "k", "power"), [(1, 1, False), (5, 5, False), (3, 40, True)])
def test_small_samples_say_whether_they_could_tell(m, k, power):
    images = scenes(m + k, 0)
    found = blind(sample(images[:m]), sample(images[m:]), seed=0)
    assert found.has_power is power
    assert 0 < found.test.p_value <= 1


def test_one_seed_gives_one_answer_and_an_empty_sample_is_refused():
    members, controls = sample(scenes(10, 0)), sample(scenes(10, 1))
    assert blind(members, controls, seed=3) == blind(members, controls, seed=3)
    with pytest.raises(SampleError, match="needs both"):
        blind(sample(scenes(10, 0)[:0]), controls, seed=0)


@pytest.mark.parametrize("shape", [(4, 1, 1, 1), (4, 5, 9, 1), (4, 8, 8, 3), (4, 70, 90, 3), (4, 12, 12, 2)])
@pytest.mark.parametrize("value", [0, None])
def test_any_shape_has_finite_features(shape, value):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    images = images if value is None else np.full_like(images, value)
    assert all(np.isfinite(group.values).all() for group in describe(images, None))


# ---- vet ------------------------------------------------------------------------------------------------------------


def test_repeats_leave_and_the_first_stays():
    images = scenes(6, 0)
    found = vet(sample(images[[0, 1, 0, 2, 0]], name="m"), sample(images[3:], name="c"))
    assert found.members.ids == ("m0", "m1", "m3")
    assert [(out.id, out.role, out.like, out.why) for out in found.left_out] == [
        ("m2", "member", "m0", "repeat"),
        ("m4", "member", "m0", "repeat"),
    ]
    assert len(found.controls) == 3


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
@pytest.mark.parametrize(
    "change",
    [
        *(lambda x, q=q: jpeg(x, q) for q in (50, 75, 95)),
        lambda x: np.clip(x * 1.05 + 3, 0, 255).round().astype(np.uint8),
        lambda x: np.roll(x, (1, -1), (1, 2)),
    ],
    ids=["jpeg50", "jpeg75", "jpeg95", "brighter", "shifted"],
)
def test_near_copies_leave_both_samples_and_nothing_else_does(name, change):
    images, _ = real(name, 300, 5)
    members, controls = images[:100], np.concatenate([images[100:], change(images[:20])])
    found = vet(sample(members, name="m"), sample(controls, name="c"))
    out = {(left.id, left.like) for left in found.left_out}
    expected = {(f"m{i}", f"c{200 + i}") for i in range(20)}
    assert out == expected | {(b, a) for a, b in expected}
    assert (len(found.members), len(found.controls)) == (80, 200)
    assert found.members.sha256 != "m"


def test_the_rule_treats_members_and_controls_alike():
    images = scenes(40, 0)
    a, b = sample(images[:20], name="a"), sample(np.concatenate([images[20:], jpeg(images[:3], 75)]), name="b")
    there, back = vet(a, b), vet(b, a)
    assert {out.id for out in there.left_out} == {out.id for out in back.left_out} != set()


def test_distinct_images_stay_as_they_are():
    images = scenes(30, 0)
    members, controls = sample(images[:10]), sample(images[10:])
    found = vet(members, controls)
    assert found.members is members
    assert found.controls is controls
    assert not found.left_out


def test_images_of_one_colour_are_no_near_copies():
    plain = np.stack([np.full((16, 16), level, dtype=np.uint8) for level in range(0, 240, 20)])
    assert not vet(sample(plain[:6]), sample(plain[6:])).left_out


def test_large_images_are_compared_small():
    images = scenes(30, 0, side=96)
    controls = np.concatenate([images[10:], jpeg(images[:2], 60)])
    assert {out.id for out in vet(sample(images[:10], name="m"), sample(controls, name="c")).left_out} == {
        *("m0", "m1", "c20", "c21")
    }


def test_where_nothing_is_left_the_error_names_a_pair():
    images = scenes(12, 0)
    with pytest.raises(SampleError, match="all 3 members are near copies") as caught:
        vet(sample(images[:3], name="m"), sample(np.concatenate([images[3:], jpeg(images[:3], 80)]), name="c"))
    assert caught.value.hint
