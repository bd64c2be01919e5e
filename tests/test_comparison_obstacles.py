"""What forbids a comparison, what weakens it, and who tried more."""

from datetime import timedelta

import pytest
from comparison_examples import after, before, changed

from auditcli.comparison import compare
from auditcli.errors import LoadError
from auditcli.report import schema as s

OTHER = "f" * 64


def resampled(report, role):
    files = tuple(f.model_copy(update={"sha256": OTHER}) if f.role == role else f for f in report.manifest.files)
    return changed(report, manifest__files=files)


def redefined(report):
    def other(attack):
        if attack.ssim is None:
            return attack
        definition = attack.ssim.definition.model_copy(update={"window": "gaussian-11"})
        return attack.model_copy(update={"ssim": attack.ssim.model_copy(update={"definition": definition})})

    return changed(report, attacks=tuple(map(other, report.attacks)))


def renamed(report, name):
    members = tuple(m.model_copy(update={"id": name(i, m.id)}) for i, m in enumerate(report.members))
    return changed(report, members=members)


def without(report, part, name):
    kept = tuple(
        one.model_copy(update={"status": "failed", "reason": "ran out of memory", "ssim": None, "scores": None})
        if getattr(one, {"attacks": "name", "membership": "signal"}[part]) == name
        else one
        for one in getattr(report, part)
    )
    return changed(report, **{part: kept})


def obstacle(comparison, what):
    return next((one for one in comparison.obstacles if one.what == what), None)


FORBIDDING = {
    "members": lambda r: resampled(r, "members"),
    "controls": lambda r: resampled(r, "controls"),
    "images left out": lambda r: changed(r, comparability__left_out=()),
    "input shape": lambda r: changed(r, model__input_shape=(3, 32, 32)),
    "definition of a recovery": lambda r: changed(r, controls__false_discovery_rate=0.1),
    "definition of SSIM": redefined,
    "names of members": lambda r: renamed(r, lambda i, _: f"{(i + 1) % 60}.png" if i else r.members[1].id),
}


@pytest.mark.parametrize("what", FORBIDDING)
def test_what_forbids(what):
    comparison = compare(before(), FORBIDDING[what](after(recovered=0)))
    assert comparison.outcome == "not-comparable"
    assert comparison.obstacles[0].what == what
    assert comparison.obstacles[0].severity == "forbids"
    assert comparison.sentence.startswith(f"These two reports cannot be compared: other {what} (")
    assert comparison.changes == comparison.pairs == comparison.caveats == ()
    assert (comparison.crossings, comparison.n_members, comparison.worse) == (None, 0, False)
    assert not comparison.established


WEAKENING = {
    "classes": {"model__classes": 9},
    "architecture": {"model__architecture": "768-100-10, relu"},
    "normalisation": {"model__mean": (0.5, 0.5, 0.5)},
    "assumptions": {"model__assumptions": ()},
    "privaudit version": {"manifest__privaudit": "0.2.0"},
    "device": {"budget__device": "cuda"},
    "seed": {"budget__seed": 7},
}


@pytest.mark.parametrize("what", WEAKENING)
def test_what_weakens(what):
    comparison = compare(before(), after(recovered=0, **WEAKENING[what]))
    assert obstacle(comparison, what).severity == "weakens"
    assert comparison.outcome == "less"
    assert any(what in caveat for caveat in comparison.caveats)
    assert comparison.established


def test_equal_audits_have_no_obstacle():
    assert compare(before(), after()).obstacles == ()


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("profile", {"budget__profile": "quick"}),
        ("end", {"budget__stopped_by": "seconds"}),
        ("interruption", {"interrupted": True}),
    ],
)
def test_who_tried_more(what, changes):
    assert obstacle(compare(before(), after(**changes)), what).effort == "old"
    assert obstacle(compare(before(**changes), after()), what).effort == "new"
    assert not compare(before(), after(**changes)).established


def test_a_larger_budget_counts_where_the_clock_ended_an_audit():
    larger = {"budget__seconds": 1200.0}
    assert obstacle(compare(before(), after(**larger)), "budget").effort == ""
    clocked = {"budget__stopped_by": "seconds"}
    assert obstacle(compare(before(**clocked), after(**larger, **clocked)), "budget").effort == "new"


def test_what_one_audit_did_not_score():
    comparison = compare(before(), without(after(recovered=0), "attacks", "span"))
    assert obstacle(comparison, "attacks").effort == "old"
    assert (obstacle(comparison, "attacks").old, obstacle(comparison, "attacks").new) == ("span", "not scored")
    comparison = compare(before(), without(after(shift=-1.0), "membership", "loss"))
    assert obstacle(comparison, "signals").effort == "old"
    loss = next(change for change in comparison.changes if change.subject == "loss")
    assert loss.reason == "the new audit did not score it: ran out of memory"
    assert (loss.difference, loss.moved) == (None, "")
    assert "What the new audit did not score may have moved too: loss." in comparison.caveats
    assert not comparison.established


def test_hidden_names_are_paired_by_place():
    comparison = compare(before(), renamed(after(recovered=3), lambda i, _: f"image-{i * 7919 % 4096:012x}"))
    assert obstacle(comparison, "names of members").severity == "weakens"
    assert comparison.crossings.only_old == 11


def test_the_same_audit_and_swapped_audits():
    assert obstacle(compare(before(), before()), "audit").why == "Both are the same audit, so nothing can differ."
    assert "swapped" in obstacle(compare(after(), before()), "order").why


def test_an_inconclusive_audit_is_no_basis():
    inconclusive = s.Verdict(level="inconclusive", headline="x", reasons=(), next_steps=(), mitigations=())
    comparison = compare(before(), after(recovered=0, verdict=inconclusive))
    assert obstacle(comparison, "verdict").severity == "weakens"
    assert comparison.level == "unordered"
    assert not comparison.established


def test_audits_without_images():
    from report_examples import example

    old = example("inconclusive", pictures=False)
    new = changed(
        old, model__sha256=OTHER, **{f"manifest__{k}": old.manifest.finished + timedelta(1) for k in ("started",)}
    )
    comparison = compare(old, new)
    assert comparison.outcome == "not-comparable"
    assert comparison.sentence.startswith("These two reports cannot be compared: neither audit was given members.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"controls__n_members": 61}, "the new report has figures of 60 members and says that there are 61"),
        (
            {"controls__controls_ssim": (0.1, 0.2)},
            "the new report has figures of 2 controls and says that there are 400",
        ),
    ],
)
def test_a_report_that_contradicts_itself(changes, message):
    with pytest.raises(LoadError) as raised:
        compare(before(), after(**changes))
    assert raised.value.message == message
    assert raised.value.hint
