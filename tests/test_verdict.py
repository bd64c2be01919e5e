"""The verdict: every level, every precedence, and its false-alarm rate by simulation."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact

from auditcli import types
from auditcli.scoring.calibration import member_findings
from auditcli.scoring.findings import Findings
from auditcli.scoring.matching import Pooled
from auditcli.scoring.membership import signal_finding
from auditcli.scoring.mitigations import Kind, mitigations
from auditcli.scoring.reasons import signal_level
from auditcli.scoring.significance import recovery
from auditcli.scoring.verdict import headline, judge
from auditcli.scoring.weighing import swapped
from auditcli.types import Evidence, Interval, Level, MemberFinding, PositiveControl, SignalFinding, Trait


def significance(p):
    return types.Test("Mann-Whitney U", 1.0, p)


def member(leaked, best=0.5):
    return MemberFinding("a.png", best, best, "kkt", 0.001, 0.01 if leaked else 0.6, leaked)


def signal(p, *, auc_low=0.5, tpr_low=0.0, n=(60, 400), name="loss"):
    tpr = None if tpr_low is None else Interval(0.36, tpr_low, 0.6)
    return SignalFinding(
        name, Interval(0.7, auc_low, 0.8), ((0.001, None), (0.01, tpr)), significance(p), ((0, 0), (1, 1)), *n
    )


def evidence(significant, *, test=True, shuffled=(0, 1)):
    p = significance(0.001 if significant else 0.7) if test else None
    return Evidence("kkt", (0.95,), 14, 0.9, 0.8, shuffled if test else (), (0.1,), p, significant)


def positive(passed, kind="reconstruction"):
    return PositiveControl(kind, "kkt", "leaky-mlp", 21 if passed else 0, 60, passed, "")


PASSED = (positive(True), positive(True, "membership"))
FAILED = (positive(False), positive(True, "membership"))
IMAGES = Findings(
    n_members=60,
    n_controls=400,
    applicable=3,
    reconstruction=significance(0.4),
    signals=(signal(0.5),),
    positive=PASSED,
)
NO_IMAGES = Findings(applicable=1, evidence=evidence(False), positive=PASSED[:1])
LEAK = replace(
    IMAGES,
    reconstruction=significance(1e-5),
    members=(member(True, 0.85), *[member(True, 0.7)] * 13, *[member(False)] * 46),
    best_control=0.62,
)
DIFFERENT = significance(0.0005)

LEVELS = {
    "recovered": (LEAK, Level.CRITICAL),
    "recovered, no control's best known": (replace(LEAK, best_control=None), Level.CRITICAL),
    "no single image": (replace(LEAK, members=(member(False),) * 60), Level.HIGH),
    "signal with high TPR": (replace(IMAGES, signals=(signal(1e-6, tpr_low=0.10),)), Level.HIGH),
    "signal with high AUC": (replace(IMAGES, signals=(signal(1e-6, auc_low=0.60, tpr_low=0.09),)), Level.MODERATE),
    "signal, rate not resolved": (replace(IMAGES, signals=(signal(1e-6, auc_low=0.6, tpr_low=None),)), Level.MODERATE),
    "weak signal": (replace(IMAGES, signals=(signal(1e-6, auc_low=0.59),)), Level.LOW),
    "weak and strong signal": (replace(IMAGES, signals=(signal(1e-6), signal(1e-6, tpr_low=0.3))), Level.HIGH),
    "evidence": (replace(NO_IMAGES, evidence=evidence(True)), Level.HIGH),
    "evidence, no shuffle": (replace(NO_IMAGES, evidence=evidence(True, test=False)), Level.HIGH),
    "evidence, members unmoved": (replace(IMAGES, evidence=evidence(True)), Level.HIGH),
    "nothing, images": (IMAGES, Level.NONE_DETECTED),
    "nothing, no images": (NO_IMAGES, Level.NONE_DETECTED),
    "nothing, one kind checked": (replace(IMAGES, positive=PASSED[:1]), Level.NONE_DETECTED),
    "nothing, irrelevant control failed": (
        replace(NO_IMAGES, positive=(positive(True), positive(False, "membership"))),
        Level.NONE_DETECTED,
    ),
    # Holm: 0.008 alone is below 0.01, but the smaller of two must be below 0.005.
    "one of two tests, not enough": (replace(IMAGES, reconstruction=significance(0.008)), Level.NONE_DETECTED),
    "one of two tests, enough": (replace(IMAGES, reconstruction=significance(0.004)), Level.HIGH),
    "a single test": (replace(IMAGES, reconstruction=significance(0.008), signals=()), Level.HIGH),
    # Gatekeeping: a flagged member does not count behind a reconstruction test that holds.
    "flagged, not significant": (replace(LEAK, reconstruction=significance(0.2)), Level.INCONCLUSIVE),
    # Precedence of the controls.
    "leak, positive control failed": (replace(LEAK, positive=FAILED), Level.CRITICAL),
    "leak, positive control absent": (replace(LEAK, positive=()), Level.CRITICAL),
    "leak, interrupted": (replace(LEAK, interrupted=True), Level.CRITICAL),
    "leak, negative control passed": (replace(LEAK, negative=significance(0.001)), Level.CRITICAL),
    "leak, negative control failed": (replace(LEAK, negative=DIFFERENT), Level.INCONCLUSIVE),
    "evidence, negative control failed": (
        replace(LEAK, negative=DIFFERENT, evidence=evidence(True)),
        Level.HIGH,
    ),
    "nothing, negative control failed": (replace(IMAGES, negative=DIFFERENT), Level.INCONCLUSIVE),
    "leak, blind classifier succeeds": (replace(LEAK, blind=DIFFERENT), Level.INCONCLUSIVE),
    "nothing, blind classifier succeeds": (replace(IMAGES, blind=DIFFERENT), Level.INCONCLUSIVE),
    "leak, blind classifier fails": (replace(LEAK, blind=significance(0.001)), Level.CRITICAL),
    "evidence, blind classifier succeeds": (replace(IMAGES, blind=DIFFERENT, evidence=evidence(True)), Level.HIGH),
    # What the model makes of the samples themselves.
    "nothing, no mistake on controls": (
        replace(IMAGES, accuracy_members=1.0, accuracy_controls=1.0),
        Level.NONE_DETECTED,
    ),
    "nothing, right on controls rather than members": (
        replace(IMAGES, accuracy_members=0.5, accuracy_controls=0.9),
        Level.INCONCLUSIVE,
    ),
    "leak, right on controls rather than members": (
        replace(LEAK, accuracy_members=0.5, accuracy_controls=0.9),
        Level.CRITICAL,
    ),
    # The methods of a kind are one procedure: one that finds the leak of a model is enough.
    "nothing, one of two signals finds the control": (
        replace(IMAGES, positive=(*PASSED, positive(False, "membership"))),
        Level.NONE_DETECTED,
    ),
    "nothing, neither finds it": (
        replace(IMAGES, positive=(PASSED[0], positive(False, "membership"), positive(False, "membership"))),
        Level.INCONCLUSIVE,
    ),
    "nothing, no leak found in a copy of the model": (
        replace(IMAGES, positive=(*PASSED, replace(positive(False), matched=True))),
        Level.INCONCLUSIVE,
    ),
    "nothing, positive control failed": (replace(IMAGES, positive=FAILED), Level.INCONCLUSIVE),
    "nothing, positive control absent": (replace(IMAGES, positive=()), Level.INCONCLUSIVE),
    "nothing, only an irrelevant control": (replace(NO_IMAGES, positive=PASSED[1:]), Level.INCONCLUSIVE),
    "nothing, interrupted": (replace(IMAGES, interrupted=True), Level.INCONCLUSIVE),
    "nothing applies": (Findings(), Level.INCONCLUSIVE),
    "nothing was measured": (Findings(applicable=2, positive=PASSED), Level.INCONCLUSIVE),
    "few images explain much, too few reproduced": (
        replace(NO_IMAGES, evidence=replace(evidence(False), unclear=True)),
        Level.INCONCLUSIVE,
    ),
    "few images explain much, but images were compared": (
        replace(IMAGES, evidence=replace(evidence(False), unclear=True)),
        Level.NONE_DETECTED,
    ),
    "no shuffle, no evidence": (replace(NO_IMAGES, evidence=evidence(False, test=False)), Level.INCONCLUSIVE),
    "too few to tell": (replace(IMAGES, n_members=2, n_controls=5, signals=()), Level.INCONCLUSIVE),
    "members without controls": (
        Findings(n_members=60, applicable=1, members=(member(False, 0.99),) * 60, positive=PASSED),
        Level.INCONCLUSIVE,
    ),
    "controls without members": (Findings(n_controls=60, applicable=1, positive=PASSED), Level.INCONCLUSIVE),
}


@pytest.mark.parametrize("case", LEVELS)
def test_level(case):
    findings, level = LEVELS[case]
    verdict = judge(findings)
    assert verdict.level is level
    assert verdict.reasons
    assert verdict.reasons[0].level is level


def test_members_without_controls_add_nothing_to_the_evidence():
    findings = replace(NO_IMAGES, n_members=60, members=(member(False, 0.99),) * 60)
    assert judge(findings).level is Level.NONE_DETECTED
    assert any("adds nothing" in reason.text for reason in judge(findings).reasons)


def texts(findings):
    return " ".join(reason.text for reason in judge(findings).reasons)


def test_reasons_carry_the_numbers():
    assert texts(replace(LEAK, signals=())) == (
        "14 of 60 training images were individually recovered (q <= 0.05); the best matches at SSIM 0.85, "
        "while the best of 400 controls reaches 0.62."
    )
    one = replace(LEAK, n_members=1, members=(member(True, 0.85),), best_control=None, signals=())
    assert "1 of 1 training image was individually recovered (q <= 0.05); the best matches at SSIM 0.85." in texts(one)
    assert "stands out" in texts(replace(one, reconstruction=significance(0.5)))
    assert "14 of 60 training images stand out" in texts(replace(LEAK, reconstruction=significance(0.5)))
    assert "at 1% false alarms it finds 36% of the members (95% interval 12% to 60%)" in texts(
        replace(IMAGES, signals=(signal(1e-6, tpr_low=0.12),))
    )
    assert "same 14 images, against at most 1 with the weights shuffled" in texts(LEVELS["evidence"][0])
    assert "same 14 images." in texts(LEVELS["evidence, no shuffle"][0])
    assert "p < 0.0001" in texts(LEVELS["weak signal"][0])
    assert "kkt found 0 of 60 on leaky-mlp" in texts(LEVELS["leak, positive control failed"][0])
    assert "check that the members were trained on" in texts(LEVELS["evidence, members unmoved"][0])
    assert "check that the members" not in texts(LEVELS["evidence"][0])
    assert "A classifier that never saw the model tells the training images from the controls (p = 0.0005)" in texts(
        LEVELS["leak, blind classifier succeeds"][0]
    )
    told = replace(LEAK, blind=DIFFERENT, tells=("brightness", "size", "JPEG traces"))
    assert "from the controls by brightness, size and JPEG traces (p = 0.0005)" in texts(told)
    copy = replace(positive(True), fixture="a copy of this model, overfitted on 60 controls", matched=True)
    assert "found 21 of 60 on a copy of this model, overfitted on 60 controls." in texts(
        replace(IMAGES, positive=(*PASSED, copy))
    )
    assert "2 members, 5 controls, not even" in texts(LEVELS["too few to tell"][0])
    assert "membership part" in texts(LEVELS["nothing, one kind checked"][0])
    assert "p = 0.4" in texts(IMAGES)
    assert "restarts agree on 14" in texts(NO_IMAGES)


def steps(findings):
    return " ".join(judge(findings).next_steps)


def test_next_steps_name_the_cheapest_thing_to_add():
    few = replace(IMAGES, n_members=10, n_controls=50, reconstruction=significance(0.2))
    assert "Give at least 199 controls (--controls DIR, now 50) to be able to flag one of 10 members." in steps(few)
    assert "one of 1 member." in steps(replace(few, n_members=1, n_controls=5))
    assert "--members DIR" in steps(NO_IMAGES)
    assert "at least 1,199 images" in steps(LEVELS["members without controls"][0])
    assert "--members DIR" in steps(LEVELS["controls without members"][0])
    assert "--profile quick" in steps(LEVELS["nothing, interrupted"][0])
    assert "one collection" in steps(LEVELS["leak, negative control failed"][0])
    assert "privaudit inspect" in steps(Findings())
    assert "until the positive control passes" in steps(LEVELS["nothing, positive control failed"][0])
    assert "Leave time for the positive control" in steps(LEVELS["nothing, positive control absent"][0])
    weak = replace(LEAK, n_controls=100, signals=(signal(1e-6, n=(60, 100)),))
    assert "at least 390 controls" in steps(weak)
    assert "at least 390 controls" not in steps(replace(weak, n_controls=390, signals=(signal(1e-6, n=(60, 390)),)))
    halved = replace(weak, n_controls=400, signals=(signal(1e-6, n=(60, 200)),))
    assert "at least 780 controls" in steps(halved)
    assert steps(LEAK) == ""


def test_mitigations_fit_the_finding():
    assert judge(IMAGES).mitigations == ()
    assert judge(LEAK).mitigations == mitigations([Kind.RECONSTRUCTION])
    assert judge(LEVELS["evidence"][0]).mitigations == mitigations([Kind.RECONSTRUCTION])
    assert judge(LEVELS["weak signal"][0]).mitigations == mitigations([Kind.MEMBERSHIP])
    both = judge(replace(LEAK, signals=(signal(1e-6),))).mitigations
    assert both == mitigations([Kind.RECONSTRUCTION, Kind.MEMBERSHIP])
    assert len(both) == len(set(both)) > len(mitigations([Kind.MEMBERSHIP]))
    assert any("DP-SGD" in text for text in both)


@pytest.mark.parametrize(
    ("trait", "word"),
    [
        (Trait.BATCH_NORM, "batch-norm statistics"),
        (Trait.HEAD, "backbone is public"),
        (Trait.FIRST_LAYER_LINEAR, "hold back the first layer"),
    ],
)
def test_mitigations_fit_the_model(trait, word):
    found = replace(LEAK, signals=(signal(1e-6),))
    assert not any(word in text for text in judge(found).mitigations)
    assert any(word in text for text in judge(replace(found, traits=frozenset({trait}))).mitigations)


@pytest.mark.parametrize("case", LEVELS)
def test_no_case_is_called_by_the_forbidden_word(case):
    verdict = judge(LEVELS[case][0])
    sentence = headline(verdict, "10 minutes")
    said = [sentence, *(r.text for r in verdict.reasons), *verdict.next_steps, *verdict.mitigations]
    assert "10 minutes" in sentence
    assert len({headline(replace(verdict, level=level), "1 s") for level in Level}) == len(Level)
    for text in said:
        assert not re.search("safe", text, re.IGNORECASE)
        assert text.endswith(".")
        assert text[0].isupper() or text[0].isdigit()
        assert "\n" not in text
        assert "  " not in text


probability = st.sampled_from([1e-6, 0.002, 0.004, 0.008, 0.3])
anything = st.builds(
    Findings,
    n_members=st.sampled_from([0, 2, 60]),
    n_controls=st.sampled_from([0, 5, 400]),
    applicable=st.integers(0, 2),
    members=st.lists(st.builds(member, st.booleans()), max_size=2).map(tuple),
    signals=st.lists(st.builds(signal, probability, tpr_low=st.sampled_from([None, 0.0, 0.2])), max_size=3).map(tuple),
    evidence=st.none() | st.builds(evidence, st.booleans(), test=st.booleans()),
    negative=st.none() | st.builds(significance, probability),
    blind=st.none() | st.builds(significance, probability),
    positive=st.lists(
        st.builds(positive, st.booleans(), st.sampled_from(["reconstruction", "membership"])), max_size=3
    ).map(tuple),
    interrupted=st.booleans(),
).flatmap(
    lambda f: st.builds(
        lambda p: replace(f, reconstruction=p if f.n_members and f.n_controls else None),
        st.none() | st.builds(significance, probability),
    )
)
SEVERITY = [Level.NONE_DETECTED, Level.INCONCLUSIVE, Level.LOW, Level.MODERATE, Level.HIGH, Level.CRITICAL]


@settings(max_examples=300, deadline=None)
@given(anything)
def test_rules_hold_for_any_findings(findings):
    verdict = judge(findings)
    assert verdict.reasons[0].level is verdict.level
    found = [r.level for r in verdict.reasons if r.level not in (Level.NONE_DETECTED, Level.INCONCLUSIVE)]
    assert found == sorted(found, key=SEVERITY.index, reverse=True)
    if findings.evidence is not None and findings.evidence.significant:
        assert verdict.level in (Level.HIGH, Level.CRITICAL)
    elif any(test is not None and test.p_value < 0.001 for test in (findings.negative, findings.blind)):
        assert verdict.level is Level.INCONCLUSIVE
    if verdict.level is Level.NONE_DETECTED:
        assert any(p.passed for p in findings.positive)
        assert not findings.interrupted
    if verdict.level is Level.CRITICAL:
        assert findings.leaked
        assert findings.reconstruction.p_value <= findings.alpha
    # More evidence never lowers the level of what was found.
    more = judge(replace(findings, evidence=evidence(True)))
    assert SEVERITY.index(more.level) >= SEVERITY.index(verdict.level)


def test_a_model_without_a_mistake_on_controls_is_doubted_where_nothing_else_tells():
    def doubted(findings):
        return any("no mistake on the" in reason.text for reason in judge(findings).reasons)

    flawless = replace(IMAGES, accuracy_controls=1.0)
    assert doubted(flawless)
    assert doubted(replace(flawless, evidence=evidence(True)))
    assert doubted(replace(flawless, n_controls=20))
    assert not doubted(replace(flawless, n_controls=19))
    assert not doubted(replace(flawless, accuracy_controls=399 / 400))
    assert not doubted(IMAGES)
    assert not doubted(replace(LEAK, accuracy_controls=1.0))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_swapped_is_the_exact_test_of_fisher(m, k, data):
    near, far = data.draw(st.integers(0, m)), data.draw(st.integers(0, k))
    findings = replace(IMAGES, n_members=m, n_controls=k, accuracy_members=near / m, accuracy_controls=far / k)
    exact = fisher_exact([[near, far], [m - near, k - far]], alternative="less").pvalue
    assert swapped(findings) == (exact < 0.001)


def test_signal_level_needs_the_rate_of_one_percent():
    other = replace(signal(1e-6), tpr_at_fpr=((0.1, Interval(0.9, 0.8, 1.0)),))
    assert signal_level(other) is Level.LOW


def audit(rng, m, k, leaked=0):
    """Findings of an audit whose members score as controls do, but for the leaked ones."""
    members = np.concatenate([rng.normal(6, 1, leaked), rng.normal(size=m - leaked)])
    controls = rng.normal(size=k)
    pools = [Pooled(tuple(x), tuple(x), ("kkt",) * len(x)) for x in (members.tolist(), controls.tolist())]
    return Findings(
        n_members=m,
        n_controls=k,
        applicable=3,
        reconstruction=recovery(members, controls),
        members=member_findings([str(i) for i in range(m)], *pools),
        best_control=float(controls.max()),
        signals=tuple(signal_finding(name, rng.normal(size=m), rng.normal(size=k)) for name in ("loss", "span")),
        negative=recovery(rng.normal(size=m), rng.normal(size=k)),
        positive=PASSED,
    )


def test_false_alarms_stay_at_the_stated_rate():
    rng = np.random.default_rng(13)
    # A larger alpha than the default makes the same number of runs say more.
    levels = [judge(replace(audit(rng, 20, 60), alpha=0.1)).level for _ in range(300)]
    alarms = sum(level not in (Level.NONE_DETECTED, Level.INCONCLUSIVE) for level in levels)
    assert binomtest(alarms, 300, 0.1, alternative="greater").pvalue > 1e-3
    assert alarms > 0
    assert levels.count(Level.NONE_DETECTED) > 200


def test_a_leak_is_found():
    rng = np.random.default_rng(14)
    levels = [judge(audit(rng, 50, 400, leaked=5)).level for _ in range(20)]
    assert levels.count(Level.CRITICAL) >= 19
