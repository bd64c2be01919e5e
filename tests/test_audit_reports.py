"""Whole audits with little effort: what the report says, and what it must not show."""

import base64
import json
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from auditcli.auditing import audit, load
from auditcli.effort import Effort
from auditcli.errors import SampleError, UsageError
from auditcli.report import json_schema, read, schema

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
ALL_CONTROLS = FIXTURES / "controls.npz"
TINY = Effort(steps=30, candidates=20, restarts=2, shuffles=3, shuffle_steps=5)


@pytest.fixture(autouse=True)
def little_effort(monkeypatch):
    monkeypatch.setattr(sys.modules["auditcli.auditing"], "EFFORTS", {"quick": TINY})


def model(name):
    return FIXTURES / name / ("model" if name == "vit-leaky" else "model.safetensors")


def members(name):
    return FIXTURES / name / "members.npz"


def quick(name, **options):
    return audit(model(name), profile="quick", device="cpu", **options)


def images_of(path, count=None):
    """Images and labels, or `count` of them, of all classes alike: the files are sorted by class."""
    with np.load(path, allow_pickle=False) as archive:
        order = np.random.default_rng(0).permutation(len(archive["images"]))[:count] if count else slice(None)
        return archive["images"][order], archive["labels"][order]


def write(path, images, labels=None):
    np.savez(path, images=images, **({} if labels is None else {"labels": labels}))
    return path


@pytest.fixture(scope="module")
def holdout(tmp_path_factory):
    """A quarter of the shipped controls, which is quicker to compare with."""
    return write(tmp_path_factory.mktemp("holdout") / "controls.npz", *images_of(ALL_CONTROLS, 100))


# ---- the verdict ----------------------------------------------------------------------------------------------------


def test_a_convolution_without_images_is_inconclusive_and_says_what_to_add():
    report = quick("cnn-leaky")
    assert report.verdict.level == "inconclusive"
    assert any("--members" in step and "--controls" in step for step in report.verdict.next_steps)
    assert {attack.name: attack.status for attack in report.attacks}["kkt"] == "skipped"
    assert {signal.status for signal in report.membership} == {"skipped"}


@pytest.mark.parametrize("name", ["cnn-leaky", "vit-leaky"])
def test_with_images_confidence_finds_the_members(holdout, name):
    report = quick(name, reference=members(name), controls=holdout)
    assert report.verdict.level in ("moderate", "high")
    assert any("confidence" in reason.text for reason in report.verdict.reasons[:2])
    (signal,) = (signal for signal in report.membership if signal.signal == "confidence")
    assert signal.status == "scored"
    assert signal.auc.low > 0.6
    assert (signal.n_members, signal.n_controls) == (100, 100)
    assert report.controls.positive == ()


def test_members_without_controls_are_uncalibrated_and_give_no_level():
    report = quick("mlp-honest", reference=members("mlp-honest"))
    assert len(report.members) == 100
    assert all(m.p_value is None and m.q_value is None and not m.leaked for m in report.members)
    assert report.controls.reconstruction_test is None
    assert {signal.status for signal in report.membership} == {"skipped"}
    assert report.gallery
    assert all(item.evidence.startswith("uncalibrated") for item in report.gallery)
    assert report.verdict.level == "inconclusive"
    assert any("without controls" in reason.text for reason in report.verdict.reasons)
    assert any("--controls" in step for step in report.verdict.next_steps)


def test_controls_without_members_score_nothing(holdout):
    report = quick("mlp-honest", controls=holdout)
    assert report.members == ()
    asked = {attack.name: attack.status for attack in report.attacks if attack.status != "skipped"}
    assert asked == {"noise": "unscored", "kkt": "unscored"}
    assert any("--members" in step for step in report.verdict.next_steps)


def test_a_failed_positive_control_is_inconclusive(holdout):
    report = quick("mlp-honest", reference=members("mlp-honest"), controls=holdout)
    failed = [control for control in report.controls.positive if not control.passed]
    assert [(control.method, control.matched) for control in failed] == [("kkt", False), ("kkt", True)]
    shipped = {c.method for c in report.controls.positive if c.passed and not c.matched}
    assert {"confidence", "span"} <= shipped
    assert shipped <= {c.method for c in report.controls.positive if c.passed and c.matched}
    assert report.verdict.level == "inconclusive"
    assert any("positive control failed" in reason.text for reason in report.verdict.reasons)
    assert any("--budget" in step for step in report.verdict.next_steps)


def test_what_was_found_needs_no_positive_control():
    report = quick("mlp-leaky", reference=members("mlp-leaky"), controls=ALL_CONTROLS)
    assert report.verdict.level in ("high", "critical")
    assert report.controls.positive == ()
    assert report.controls.negative is not None
    assert report.controls.negative.p_value > 0.001


def test_no_time_is_inconclusive(holdout):
    report = quick("mlp-honest", reference=members("mlp-honest"), controls=holdout, budget=0.001)
    assert report.verdict.level == "inconclusive"
    assert report.budget.stopped_by == "seconds"


def test_an_attack_that_diverges_is_failed_and_the_audit_goes_on(holdout, monkeypatch):
    import torch

    from auditcli.attacks import Attack, all_attacks
    from auditcli.types import Step

    def broken(target, budget, rng):
        yield Step(torch.full((1, 1, 1, 28, 28), float("nan")), torch.zeros(1))

    attack = Attack("broken", "Breaks", "none", frozenset(), broken, {})
    monkeypatch.setattr(sys.modules["auditcli.auditing"], "all_attacks", lambda: (attack, *all_attacks()))
    report = quick("cnn-leaky", reference=members("cnn-leaky"), controls=holdout)
    (outcome,) = (outcome for outcome in report.attacks if outcome.name == "broken")
    assert outcome.status == "failed"
    assert "step 1" in outcome.reason
    assert {a.name: a.status for a in report.attacks}["noise"] == "scored"
    assert report.verdict.level == "moderate"


def test_only_the_named_attack_and_the_negative_control_run():
    report = quick("mlp-untrained", attacks=("noise",))
    assert [attack.name for attack in report.attacks] == ["noise"]
    report = quick("mlp-untrained", attacks=("kkt",))
    assert {attack.name for attack in report.attacks} == {"kkt", "noise"}


# ---- the report -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("mlp-leaky", ("reference", "controls")),
        ("mlp-honest", ("reference",)),
        ("mlp-untrained", ()),
        ("cnn-leaky", ("controls",)),
        ("vit-leaky", ("reference", "controls")),
    ],
)
def test_every_report_is_valid_and_reads_back_as_it_was(holdout, tmp_path, name, given):
    options = {"reference": members("mlp-honest" if "untrained" in name else name), "controls": holdout}
    report = quick(name, **{key: options[key] for key in given})
    files = report.save(tmp_path, ["json", "html", "md", "card"])
    assert all(file.stat().st_size > 500 for file in files)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    Draft202012Validator(json_schema()).validate(json.loads(text))
    again = read(tmp_path)
    assert again == report
    assert dict(again.pictures) == dict(report.pictures)
    assert str(FIXTURES) not in text
    assert " safe " not in text.lower()
    assert {file.role for file in report.manifest.files} == {
        "model",
        *({"reference": "members", "controls": "controls"}[key] for key in given),
    }


def timeless(value):
    times = {"seconds", "seconds_used", "started", "finished", "headline"}
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in times}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("given", [True, False], ids=["images", "no images"])
def test_the_same_seed_gives_the_same_report_but_for_times(holdout, given):
    options = {"reference": members("mlp-leaky"), "controls": holdout} if given else {}
    one, again, other = (timeless(json.loads(quick("mlp-leaky", seed=seed, **options).to_json())) for seed in (1, 1, 2))
    assert one == again
    assert one["attacks"] != other["attacks"]


def calls_of(name, **options):
    told = []
    quick(name, watch=told.append, **options)
    return told


@pytest.mark.parametrize("given", [True, False], ids=["images", "no images"])
def test_an_interrupted_audit_is_marked_and_saved_wherever_it_was(holdout, tmp_path, given):
    options = {"reference": members("mlp-honest"), "controls": holdout} if given else {}
    told = calls_of("mlp-honest", **options)
    # In the attack, in the negative control, in the evidence (without images), and in the positive control.
    stops = sorted({1, 2, 5, len(told) // 2, len(told)})
    for stop in stops:
        count = [0]

        def watch(progress, count=count, stop=stop):
            count[0] += 1
            if count[0] == stop:
                raise KeyboardInterrupt

        report = quick("mlp-honest", watch=watch, **options)
        assert count[0] == stop, "it went on after Ctrl-C"
        assert report.interrupted
        assert report.budget.stopped_by == "interrupted"
        assert report.verdict.level == "inconclusive"
        assert any("interrupted" in reason.text for reason in report.verdict.reasons)
        assert report.attacks
        report.save(tmp_path / str(stop))
        assert read(tmp_path / str(stop)) == report


def test_an_error_of_the_watcher_is_no_ctrl_c():
    def watch(progress):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        quick("mlp-untrained", watch=watch)


# ---- pictures -------------------------------------------------------------------------------------------------------


def shown(folder):
    """Every picture in a saved report, whether a file or inlined, as bytes of pixels."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    found = [content for content in files if content.startswith(b"\x89PNG")]
    for content in files:
        parts = content.split(b"data:image/png;base64,")[1:]
        found += [base64.b64decode(part.split(b'"')[0].split(b")")[0]) for part in parts]
    return [np.asarray(Image.open(BytesIO(content)).convert("L")).tobytes() for content in found]


def pixels(path):
    images, _ = images_of(path)
    return {image.squeeze().tobytes() for image in images}


@pytest.mark.parametrize("include", [True, False])
def test_the_auditors_images_are_shown_only_when_asked_for(holdout, tmp_path, include):
    report = quick("mlp-leaky", reference=members("mlp-leaky"), controls=holdout, include_images=include)
    report.save(tmp_path, ["json", "html", "md", "card"])
    pictures = shown(tmp_path)
    assert pictures
    own = pixels(members("mlp-leaky")) | pixels(holdout)
    assert bool(own & set(pictures)) is include
    assert all(
        (item.member is not None) is include and (item.control is not None) is include for item in report.gallery
    )
    assert all(item.reconstruction is not None for item in report.gallery)


@pytest.mark.parametrize("given", [True, False], ids=["images", "no images"])
def test_a_redacted_report_has_no_picture(holdout, tmp_path, given):
    options = {"reference": members("mlp-leaky"), "controls": holdout} if given else {}
    report = quick("mlp-leaky", redact=True, **options)
    report.save(tmp_path, ["json", "html", "md", "card"])
    assert report.redaction == schema.Redaction(names="hashed", reconstructions="left out", images=False)
    assert report.gallery
    assert report.pictures == {}
    assert shown(tmp_path) == []


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        ({"attacks": ("guess",)}, "no attack guess", "privaudit attacks"),
        ({"profile": "lazy"}, "no profile 'lazy'", "--profile"),
        ({"device": "toaster"}, "'toaster' is no device", "--device"),
        ({"device": "cuda:99"}, "cuda:99", "--device cpu"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_is_read(options, words, hint):
    told = []
    with pytest.raises(UsageError, match=words) as caught:
        audit("nowhere.safetensors", **{"profile": "quick", "device": "cpu", "watch": told.append, **options})
    assert hint in caught.value.hint
    assert told == []


@pytest.mark.parametrize("label", [10, -1])
@pytest.mark.parametrize("role", ["reference", "controls"])
def test_a_label_the_model_does_not_have_is_refused(holdout, tmp_path, label, role):
    images, labels = images_of(holdout, 5)
    path = write(tmp_path / "images.npz", images, np.where(np.arange(5) == 2, label, labels))
    with pytest.raises(SampleError, match=f"label {label}") as caught:
        quick("cnn-leaky", **{role: path})
    assert {"reference": "members", "controls": "controls"}[role] in caught.value.message
    assert caught.value.hint


def test_a_member_that_is_also_a_control_is_refused(holdout, tmp_path):
    images, labels = images_of(holdout, 5)
    with pytest.raises(SampleError):
        quick("cnn-leaky", reference=write(tmp_path / "members.npz", images, labels), controls=holdout)


def test_load_gives_a_target_that_takes_pixels():
    target = load(model("cnn-leaky"), device="cpu")
    import torch

    images, labels = images_of(members("cnn-leaky"))
    logits = target(torch.from_numpy(images).float().reshape(-1, 1, 28, 28) / 255)
    assert logits.shape == (100, 10)
    assert (logits.argmax(1).numpy() == labels).all()
