"""Planted traps: samples that cannot carry the comparison they are given for, and what the whole audit says of them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auditcli.auditing import audit
from auditcli.errors import SampleError
from auditcli.report.summary import comparability_sentences

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


class Bench:
    """Writes samples and audits the shipped models with them."""

    def __init__(self, folder):
        self._folder = folder

    def audit(self, name, members, controls, **options):
        return audit(
            FIXTURES / name / "model.safetensors",
            reference=self._write("members", *members),
            controls=self._write("controls", *controls),
            profile="quick",
            device="cpu",
            names=True,
            **options,
        )

    def _write(self, role, images, labels):
        path = self._folder / f"{role}.npz"
        np.savez(path, images=images, labels=labels)
        return path


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("traps"))


def read(path):
    """Images and labels in a random order: the files are sorted by class."""
    with np.load(path, allow_pickle=False) as archive:
        order = np.random.default_rng(0).permutation(len(archive["images"]))
        return archive["images"][order], archive["labels"][order]


def members_of(name):
    return read(FIXTURES / name / "members.npz")


CONTROLS = read(FIXTURES / "controls.npz")
SEEN = members_of("cnn-leaky")


def take(sample, index):
    return tuple(part[index] for part in sample)


def joined(*samples):
    return tuple(np.concatenate(parts) for parts in zip(*samples, strict=True))


def each(change):
    """A sample with each image changed."""
    return lambda sample: (np.stack([np.asarray(change(Image.fromarray(image))) for image in sample[0]]), sample[1])


def jpeg(quality):
    def change(picture):
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return each(change)


def resized(picture):
    return picture.resize((20, 20), Image.Resampling.BILINEAR).resize(picture.size, Image.Resampling.BILINEAR)


def said(report):
    return " ".join(reason.text for reason in report.verdict.reasons)


# ---- two sources ----------------------------------------------------------------------------------------------------


def test_the_honest_comparison_finds_the_leak_that_the_traps_hide(bench):
    report = bench.audit("cnn-leaky", SEEN, take(CONTROLS, slice(100)))
    assert report.verdict.level in ("moderate", "high")
    assert report.comparability.left_out == ()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        pytest.param(jpeg(90), "JPEG traces", id="re-encoded"),
        pytest.param(
            each(lambda picture: picture.point(lambda level: min(255, round(level * 1.02)))), "levels", id="2%"
        ),
        pytest.param(each(resized), "sharpness", id="resized"),
    ],
)
def test_nothing_is_claimed_where_controls_were_prepared_otherwise(bench, change, what):
    check_incomparable(bench.audit("cnn-leaky", SEEN, change(take(CONTROLS, slice(100)))), what)


def test_nothing_is_claimed_where_controls_show_other_things(bench):
    low = SEEN[1] < 5
    report = bench.audit("cnn-leaky", take(SEEN, low), take(take(CONTROLS, CONTROLS[1] >= 5), slice(100)))
    check_incomparable(report, "class mix")


def check_incomparable(report, what):
    assert report.verdict.level == "inconclusive"
    assert "A classifier that never saw the model tells the training images from the controls by " in said(report)
    assert what in said(report)
    assert "no comparison between them counts" in said(report)
    # Though the signals do tell them apart: the model leaks, and was audited.
    assert min(signal.test.p_value for signal in report.membership if signal.test is not None) < 1e-4
    assert {reason.level for reason in report.verdict.reasons} == {"inconclusive"}
    assert any("from one collection" in step for step in report.verdict.next_steps)


# ---- controls that were trained on ----------------------------------------------------------------------------------


def test_the_same_images_on_both_sides_are_refused(bench):
    with pytest.raises(SampleError, match="are the same image") as caught:
        bench.audit("cnn-leaky", SEEN, SEEN)
    assert "99 more pairs" in caught.value.message


def test_weights_speak_up_where_controls_are_other_training_images(bench):
    trained = members_of("mlp-leaky")
    check_only_the_weights_speak(bench.audit("mlp-leaky", take(trained, slice(30)), take(trained, slice(30, None))))


def test_controls_without_a_mistake_are_doubted(bench):
    report = bench.audit("cnn-leaky", take(SEEN, slice(50)), take(SEEN, slice(50, None)))
    assert report.verdict.level == "none-detected"
    assert (report.comparability.accuracy_members, report.comparability.accuracy_controls) == (1.0, 1.0)
    assert "no mistake on the 50 controls: were they trained on?" in said(report)
    assert any("kept out of training" in step for step in report.verdict.next_steps)


def test_swapped_samples_are_noticed(bench):
    report = bench.audit("cnn-leaky", take(CONTROLS, slice(100)), SEEN)
    assert report.verdict.level == "inconclusive"
    assert "as if the two had been swapped" in said(report)


# ---- members that were not trained on -------------------------------------------------------------------------------


def test_weights_speak_up_where_members_were_not_trained_on(bench):
    """Of the members of mlp-honest, sixty are those of mlp-leaky as well; the others are strangers to it."""
    seen = {image.tobytes() for image in members_of("mlp-leaky")[0]}
    others = members_of("mlp-honest")
    strangers = take(others, [image.tobytes() not in seen for image in others[0]])
    assert len(strangers[0]) == 40
    report = bench.audit("mlp-leaky", strangers, take(CONTROLS, slice(100)))
    check_only_the_weights_speak(report)
    assert report.comparability.accuracy_members < 0.7


def check_only_the_weights_speak(report):
    assert report.verdict.level == "high"
    assert "From the weights alone" in report.verdict.reasons[0].text
    assert "check that the members were trained on and the controls were not" in said(report)
    assert not any(member.leaked for member in report.members)


def test_accuracies_show_members_that_were_not_trained_on(bench):
    report = bench.audit("cnn-leaky", take(CONTROLS, slice(100)), take(CONTROLS, slice(100, None)))
    assert report.verdict.level in ("none-detected", "inconclusive")
    assert report.comparability.accuracy_members < 0.7
    (sentence,) = (text for text in comparability_sentences(report.comparability) if "right on" in text)
    assert sentence.startswith(
        f"The model is right on {report.comparability.accuracy_members:.0%} of the labelled members"
    )
    assert "may not have been trained on them" in sentence


# ---- images that count twice ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def repeated(bench):
    """Three members and two controls are given again; five members come back as re-encoded controls."""
    members = joined(SEEN, take(SEEN, [50, 50, 51]))
    strangers = take(CONTROLS, slice(100))
    return bench.audit("cnn-leaky", members, joined(strangers, take(strangers, [7, 8]), jpeg(75)(take(SEEN, range(5)))))


def names(report, why):
    return [(out.role, int(out.id.split("#")[1]), int(out.like.split("#")[1])) for out in left(report, why)]


def left(report, why):
    return [out for out in report.comparability.left_out if out.why == why]


def test_repeats_leave_and_are_listed(repeated):
    assert names(repeated, "repeat") == [
        *(("member", 100, 50), ("member", 101, 50), ("member", 102, 51)),
        *(("control", 100, 7), ("control", 101, 8)),
    ]


def test_re_encoded_copies_across_the_samples_leave_both(repeated):
    copies = [(i, 102 + i) for i in range(5)]
    assert sorted(names(repeated, "near copy")) == sorted(
        [*(("member", i, j) for i, j in copies), *(("control", j, i) for i, j in copies)]
    )


def test_distinct_images_are_counted_and_the_audit_goes_on(repeated):
    assert (repeated.controls.n_members, repeated.controls.n_controls) == (95, 100)
    assert (repeated.plan.n_members, repeated.plan.n_controls) == (95, 100)
    assert {(s.n_members, s.n_controls) for s in repeated.membership if s.status == "scored"} == {(95, 100)}
    assert repeated.verdict.level in ("moderate", "high")
    sentences = comparability_sentences(repeated.comparability)
    assert any(text.startswith("Left out: ") and text.endswith(", and 10 more.") for text in sentences)


# ---- too few --------------------------------------------------------------------------------------------------------


def test_five_controls_carry_no_more_than_was_announced(bench):
    announced, progress = [], []
    report = bench.audit(
        "cnn-leaky",
        take(SEEN, slice(50)),
        take(CONTROLS, slice(5)),
        announce=lambda plan: announced.append((plan, len(progress))),
        watch=progress.append,
    )
    ((plan, before),) = announced
    assert before == 0 < len(progress)
    assert plan.sentences == report.plan.sentences
    assert any(text.startswith("No training image can be flagged") for text in plan.sentences)
    assert "No signal can give the level high" in " ".join(plan.sentences)
    assert "critical" not in report.plan.levels
    assert report.verdict.level in ("inconclusive", "none-detected", "low", "moderate")
    assert not any(member.leaked for member in report.members)
    assert not any(signal.named for signal in report.membership)
