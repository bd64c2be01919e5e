"""What a comparison of two audits says, and how it says it."""

import pytest
from comparison_examples import after, before, changed

from auditcli.comparison import compare
from auditcli.report import schema as s


def change(comparison, measure, subject=""):
    return next(one for one in comparison.changes if (one.measure, one.subject) == (measure, subject))


def leveled(level):
    return s.Verdict(level=level, headline="x", reasons=(), next_steps=(), mitigations=())


def test_less_was_recovered():
    comparison = compare(before(), after(recovered=1))
    assert comparison.outcome == "less"
    assert comparison.sentence == (
        "The new model leaks less: members recovered from 14 to 1 of 60 (p = 0.0007), "
        "mean best SSIM, members above controls from 0.151 to 0.023 (p = 0.0007). The verdict stays: critical."
    )
    assert comparison.caveats == ("A lower figure is not the absence of a leak.",)
    assert vars(comparison.crossings) == {"both": 1, "only_old": 13, "only_new": 0, "neither": 46}
    assert [pair.id for pair in comparison.pairs] == [member.id for member in before().members]
    assert (comparison.worse, comparison.established) == (False, True)


def test_more_was_recovered():
    comparison = compare(after(recovered=1), changed(before(), manifest__started=after().manifest.finished))
    assert comparison.outcome == "more"
    assert comparison.sentence.startswith("The new model leaks more: members recovered from 1 to 14 of 60 (p = ")
    assert comparison.worse


def test_a_signal_fell():
    comparison = compare(before(), after(shift=0.0))
    assert [(c.measure, c.moved) for c in comparison.changes if c.subject == "loss"] == [("auc", "less"), ("rate", "")]
    assert comparison.sentence.startswith("The new model leaks less: AUC of loss from 0.")
    assert change(comparison, "recovered").moved == ""


def test_less_in_one_way_and_more_in_another():
    comparison = compare(before(), after(recovered=0, shift=2.5))
    assert comparison.outcome == "mixed"
    assert comparison.sentence.startswith("The new model leaks less in one way and more in another. Down: members")
    assert ". Up: AUC of " in comparison.sentence
    assert comparison.worse


def test_no_difference_says_how_large_a_one_may_be():
    comparison = compare(before(), after(noise=0.1))
    assert comparison.outcome == "no-difference"
    recovered, reach = change(comparison, "recovered").difference, 0.0
    for one in comparison.changes:
        if one.measure == "auc":
            reach = max(reach, abs(one.difference.low), abs(one.difference.high))
    members = -int(-max(abs(recovered.low), abs(recovered.high)) * 60 // 1)
    assert comparison.sentence == (
        f"No difference beyond chance was found. A true difference of up to {members} of 60 members recovered or "
        f"{reach:.3f} in AUC cannot be excluded. The verdict stays: critical."
    )


def test_one_model_audited_twice():
    old = before()
    comparison = compare(old, after(noise=0.1, budget__seed=7, model__sha256=old.model.sha256))
    assert comparison.same_model
    assert "between two audits of one model" in comparison.sentence
    assert comparison.caveats == ("Both audits are of one model and differ in seed.",)
    moved = compare(old, after(recovered=0, budget__seed=7, model__sha256=old.model.sha256))
    assert moved.sentence.startswith("The new audit of the same model found less: ")


@pytest.mark.parametrize(
    ("old", "new", "sentence", "caveat"),
    [
        ({}, {"budget__profile": "deep"}, "The new model leaks less", "and recovered less all the same"),
        (
            {"budget__profile": "deep"},
            {},
            "Less was recovered from the new model, by an audit that tried less",
            "that less was recovered may be the effort and not the model",
        ),
    ],
)
def test_a_decrease_and_effort(old, new, sentence, caveat):
    comparison = compare(before(**old), after(recovered=1, **new))
    assert comparison.sentence.startswith(sentence)
    assert caveat in comparison.caveats[0]
    assert "profile" in comparison.caveats[0]


def test_an_increase_may_be_effort():
    new = changed(before(), budget__profile="deep", manifest__started=after().manifest.finished)
    comparison = compare(after(recovered=1), new)
    assert comparison.sentence.startswith("More was recovered from the new model, by an audit that tried more")
    assert "that more was recovered may be the effort and not the model" in comparison.caveats[0]
    assert comparison.worse  # found is found


def test_effort_does_not_explain_a_signal():
    comparison = compare(before(budget__profile="deep"), after(shift=0.0))
    assert comparison.sentence.startswith("The new model leaks less: AUC")
    assert comparison.caveats[0].startswith("The old audit tried more (profile), which may hide a difference")


@pytest.mark.parametrize(
    ("old", "new", "level"),
    [("low", "high", "worse"), ("critical", "none-detected", "better"), ("low", "low", "same")],
)
def test_levels(old, new, level):
    comparison = compare(before(verdict=leveled(old)), after(verdict=leveled(new)))
    assert comparison.level == level
    assert ("The verdict stays: low." if old == new else "The verdict goes from ") in comparison.sentence
    assert comparison.worse == (level == "worse")


def test_reports_of_an_older_version_hold_no_scores():
    old = changed(before(), membership=tuple(m.model_copy(update={"scores": None}) for m in before().membership))
    comparison = compare(old, after(recovered=1, shift=0.0))
    loss = change(comparison, "auc", "loss")
    assert loss.reason == "the old audit holds no score of each image, as it was made by an older version"
    assert (loss.old, loss.new) == tuple(
        next(m.auc.value for m in report.membership if m.signal == "loss") for report in (old, after())
    )
    assert loss.p_value is None
    assert change(comparison, "recovered").moved == "less"


def test_controls_that_trained_shadow_models_are_not_compared():
    def halved(report, places):
        def part(signal):
            if signal.scores is None:
                return signal
            kept = tuple(signal.scores.controls[place] for place in places)
            scores = s.Scores(members=signal.scores.members, controls=kept, places=tuple(places))
            return signal.model_copy(update={"scores": scores})

        return changed(report, membership=tuple(map(part, report.membership)))

    # Where both compared the same image its score is the same, so pairs in the wrong order would show.
    comparison = compare(halved(before(), range(300)), halved(after(), range(399, 99, -1)))
    loss = change(comparison, "auc", "loss")
    assert loss.difference.value == 0
    assert loss.p_value == 1
    apart = change(compare(halved(before(), range(200)), halved(after(), range(200, 400))), "auc", "loss")
    assert apart.reason == "the audits have 60 members and 0 controls of it in common"


def test_places_fit_the_scores():
    with pytest.raises(ValueError, match="1 places for 2 controls"):
        s.Scores(members=(1.0,), controls=(0.0, 0.5), places=(3,))


def test_without_controls_nothing_is_tested():
    def bare(report):
        files = tuple(file for file in report.manifest.files if file.role != "controls")
        members = tuple(
            m.model_copy(update={"p_value": None, "q_value": None, "leaked": False}) for m in report.members
        )
        return changed(
            report, manifest__files=files, members=members, membership=(), controls__controls_ssim=(),
            controls__n_controls=0,
        )  # fmt: skip

    comparison = compare(bare(before()), bare(after(recovered=0)))
    assert comparison.outcome == "not-comparable"
    assert comparison.sentence == (
        "These two reports cannot be compared: without controls nothing says how near chance comes."
    )
    assert change(comparison, "similarity").difference.value < -0.05
    assert not comparison.established


def test_all_tests_are_corrected_together():
    comparison = compare(before(), after(recovered=9, noise=0.5))
    tested = [one for one in comparison.changes if one.p_value is not None]
    assert len(tested) == 4
    least = min(tested, key=lambda one: one.p_value)
    assert least.adjusted_p == pytest.approx(min(1, 4 * least.p_value))
    assert all((one.adjusted_p <= comparison.alpha) == bool(one.moved) for one in tested)
