"""The ruling: what breaks a policy, what a waiver lets pass, and what nothing lets pass."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_examples import HASH, LEVELS, example

from auditcli.gate import Policy, Thresholds, Waiver, rule
from auditcli.gate.identity import contradictions
from auditcli.report import schema as s
from auditcli.report.findings import findings
from auditcli.report.wording import SCALE
from auditcli.rules import RULES

ENDED = date(2026, 3, 2)
SOON = ENDED + timedelta(days=30)


@cache
def report(level):
    return example(level, pictures=False)


def changed(level, part, /, **fields):
    """The example of that level with other values in one of its parts."""
    whole = report(level)
    return whole.model_copy(update={part: getattr(whole, part).model_copy(update=fields)})


def ruled(level_or_report, *, today=ENDED, model=HASH, waivers=(), **policy):
    audited = report(level_or_report) if isinstance(level_or_report, str) else level_or_report
    return rule(audited, Policy(waivers=waivers, **policy), today=today, model_sha256=model)


def waiver(id, **fields):
    return Waiver(**{"id": id, "reason": "the images are public", "expires": SOON, **fields})


def broken(ruling):
    """Id and subject of what is not met."""
    return {(d.breach.id, d.breach.subject) for d in ruling.demands if d.status == "broken"}


def status(ruling, name):
    (demand,) = (demand for demand in ruling.demands if demand.name == name)
    return demand.status


# ---- the level ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fail_on", [*SCALE[1:], "never"])
@pytest.mark.parametrize("level", SCALE)
def test_a_level_breaks_a_policy_from_its_own_on(level, fail_on):
    worse = fail_on != "never" and SCALE.index(level) >= SCALE.index(fail_on)
    ruling = ruled(level, fail_on=fail_on)
    assert ruling.outcome == ("broken" if worse else "passed")
    assert broken(ruling) == ({("PA305", "")} if worse else set())


def test_every_leak_that_reaches_the_level_must_be_waived():
    ids = ["PA001", "PA006"]
    for kept in ids:
        ruling = ruled("critical", waivers=tuple(waiver(id) for id in ids if id != kept))
        assert broken(ruling) == {("PA305", "")}
        assert kept in ruling.findings[-1].text
    ruling = ruled("critical", waivers=tuple(map(waiver, ids)))
    assert ruling.outcome == "passed"
    assert status(ruling, "fail_on") == "waived"


def test_a_waived_finding_is_listed_with_its_reason_and_its_end():
    before, after = ruled("critical"), ruled("critical", waivers=(waiver("PA001"), waiver("PA006")))
    assert {f.id for f in findings(report("critical"))} <= {f.id for f in after.findings}
    waived = {f.id: f.waived for f in after.findings if f.waived}
    assert waived == dict.fromkeys(["PA001", "PA006"], f"the images are public (until {SOON})")
    assert not any(f.waived for f in before.findings)


def test_a_level_that_no_finding_explains_cannot_be_waived():
    verdict = report("critical").verdict.model_copy(update={"reasons": report("high").verdict.reasons})
    ruling = rule(
        report("critical").model_copy(update={"verdict": verdict}),
        Policy(waivers=(waiver("PA002"), waiver("PA004"))),
        today=ENDED,
    )
    assert broken(ruling) == {("PA305", "")}
    assert "no finding explains" in ruling.findings[-1].text


def test_a_finding_counts_where_the_verdict_is_milder_than_it():
    verdict = report("low").verdict.model_copy(update={"reasons": report("high").verdict.reasons})
    ruling = ruled(report("low").model_copy(update={"verdict": verdict}), model=None)
    assert broken(ruling) == {("PA305", "")}


# ---- doubts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fail_on", ["low", "never"])
def test_no_answer_is_no_pass(fail_on):
    ruling = ruled("inconclusive", fail_on=fail_on)
    assert ruling.outcome == "inconclusive"
    assert status(ruling, "verdict") == "open"


def test_no_answer_passes_only_with_every_doubt_waived():
    assert ruled("inconclusive", waivers=(waiver("PA106"),)).outcome == "inconclusive"
    ruling = ruled("inconclusive", waivers=(waiver("PA106"), waiver("PA113")))
    assert ruling.outcome == "passed"
    assert status(ruling, "verdict") == "waived"


def test_no_answer_without_a_named_doubt_never_passes():
    silent = changed("inconclusive", "verdict", reasons=())
    assert ruled(silent).outcome == "inconclusive"


def test_an_interrupted_audit_is_a_doubt():
    cut = report("low").model_copy(update={"interrupted": True})
    assert ruled(cut).outcome == "inconclusive"
    assert "PA104" in {finding.id for finding in ruled(cut).findings}
    assert ruled(cut, waivers=(waiver("PA104"),)).outcome == "passed"


def test_where_the_leak_is_waived_the_doubts_count():
    doubt = s.Reason(text="The positive control failed.", level="inconclusive", id="PA113")
    doubtful = changed("high", "verdict", reasons=(*report("high").verdict.reasons, doubt))
    assert ruled(doubtful, fail_on="critical").outcome == "passed"
    assert ruled(doubtful, waivers=(waiver("PA002"),)).outcome == "inconclusive"
    assert ruled(doubtful, waivers=(waiver("PA002"), waiver("PA113"))).outcome == "passed"


def test_what_is_broken_outranks_what_is_open():
    assert ruled("inconclusive", required_members=1).outcome == "broken"


# ---- identity -------------------------------------------------------------------------------------------------------


def test_a_report_of_another_model_is_never_let_pass():
    ruling = ruled("none-detected", model="0" * 64, fail_on="never")
    assert broken(ruling) == {("PA301", "")}


def test_right_after_an_audit_the_model_is_not_asked_for():
    assert not {"model", "report", "date"} & {d.name for d in ruled("low", model=None).demands}


@pytest.mark.parametrize("level", LEVELS)
def test_no_report_of_an_audit_contradicts_itself(level):
    assert not list(contradictions(report(level)))


@pytest.mark.parametrize(
    "edited",
    [
        lambda: changed("critical", "verdict", level="low"),
        lambda: changed("critical", "verdict", level="inconclusive"),
        lambda: changed("low", "verdict", level="none-detected"),
        lambda: changed("critical", "verdict", level="none-detected", reasons=()),
        lambda: changed("critical", "model", sha256="0" * 64),
        lambda: report("critical").model_copy(update={"members": report("critical").members[30:]}),
        lambda: report("critical").model_copy(update={"members": ()}),
        lambda: changed("low", "controls", n_controls=9000),
        lambda: changed("low", "controls", n_members=9000),
        lambda: changed("low", "manifest", started=datetime(2026, 4, 1, tzinfo=UTC)),
        lambda: report("none-detected").model_copy(update={"interrupted": True}),
    ],
)
def test_an_edit_that_forgets_a_part_is_seen(edited):
    report = edited()
    ruling = ruled(report, model=report.model.sha256, fail_on="never")
    assert ("PA302", "") in broken(ruling)


@pytest.mark.parametrize("days", [1, 400])
def test_a_report_from_the_future_is_never_let_pass(days):
    assert broken(ruled("low", today=ENDED - timedelta(days=days))) == {("PA303", "")}


def test_the_day_is_that_of_utc():
    late = datetime(2026, 3, 2, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert broken(ruled(changed("low", "manifest", finished=late))) == {("PA303", "")}
    naive = changed("low", "manifest", started=datetime(2026, 3, 2, 1), finished=datetime(2026, 3, 2, 2))
    assert not broken(ruled(naive))
    mixed = changed("low", "manifest", started=datetime(2026, 3, 2, 3), finished=datetime(2026, 3, 2, 2, tzinfo=UTC))
    assert broken(ruled(mixed)) == {("PA302", "")}


# ---- the other demands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "policy", "breach"),
    [
        ("low", {"minimum_budget": "10m"}, None),
        ("low", {"minimum_budget": "601s"}, "PA311"),
        ("low", {"minimum_profile": "quick"}, None),
        ("low", {"minimum_profile": "standard"}, None),
        ("low", {"minimum_profile": "deep"}, "PA312"),
        ("low", {"required_members": 60}, None),
        ("low", {"required_members": 61}, "PA313"),
        ("low", {"required_controls": 400}, None),
        ("low", {"required_controls": 401}, "PA314"),
        ("low", {"required_attacks": ("kkt",)}, None),
        ("low", {"required_attacks": ("deep_inversion",)}, "PA309 deep_inversion"),
        ("low", {"required_attacks": ("nonsense",)}, "PA309 nonsense"),
        ("inconclusive", {"required_attacks": ("kkt",)}, "PA309 kkt"),
        ("low", {"required_signals": ("loss",)}, None),
        ("low", {"required_signals": ("nonsense",)}, "PA310 nonsense"),
        ("inconclusive", {"required_signals": ("loss",)}, "PA310 loss"),
        ("none-detected", {"require_positive_control": True}, None),
        ("inconclusive", {"require_positive_control": True}, "PA315"),
        ("critical", {"require_positive_control": True}, None),
        ("low", {"forbid": ("PA101",)}, None),
        ("low", {"forbid": ("PA205",)}, "PA306 PA205"),
    ],
)
def test_a_demand_is_met_or_broken_and_can_be_waived(level, policy, breach):
    policy = {"fail_on": "never", **policy}
    found = broken(ruled(level, **policy))
    assert found == ({(breach[:5], breach[6:])} if breach else set())
    if breach and RULES[breach[:5]].waivable:
        ruling = ruled(level, waivers=(waiver(breach[:5], subject=breach[6:] or None),), **policy)
        assert not broken(ruling)
        assert "waived" in {demand.status for demand in ruling.demands}


def test_the_demands_of_effort_come_from_durations():
    assert Policy(minimum_budget="10m").minimum_budget == 600


@pytest.mark.parametrize(("days", "breach"), [(0, None), (90, None), (91, "PA304")])
def test_age_counts_in_days(days, breach):
    found = broken(ruled("low", today=ENDED + timedelta(days=days), maximum_age="90d"))
    assert found == ({(breach, "")} if breach else set())


def test_a_positive_control_that_failed_or_was_not_run_is_none():
    (passed, *_) = report("none-detected").controls.positive
    failed = passed.model_copy(update={"passed": False})
    matched = failed.model_copy(update={"matched": True})
    for positive, met in (
        ((), False),
        ((failed,), False),
        ((failed, passed), True),
        ((passed, matched), False),
    ):
        edited = changed("none-detected", "controls", positive=positive)
        assert (not broken(ruled(edited, require_positive_control=True))) is met


def test_a_forbidden_finding_is_waived_by_its_own_id_and_subject():
    ruling = ruled("low", forbid=("PA205",), waivers=(waiver("PA205", subject="activation"),))
    assert broken(ruling) == {("PA306", "PA205")}
    assert "about mean, std." in ruling.findings[-1].text
    assert ruled("low", forbid=("PA205",), waivers=(waiver("PA205"),)).outcome == "passed"


# ---- thresholds -----------------------------------------------------------------------------------------------------


def scored(level):
    return [signal for signal in report(level).membership if signal.status == "scored"]


@pytest.mark.parametrize(
    ("name", "measured"),
    [
        ("recovered", lambda r: sum(m.leaked for m in r.members)),
        ("best_ssim", lambda r: max(m.best_ssim for m in r.members)),
        ("members_over_half", lambda r: sum(m.best_ssim >= 0.5 for m in r.members)),
        ("membership_auc", lambda r: max(m.auc.high for m in r.membership if m.auc)),
        ("tpr_at_10_percent", lambda r: max(m.tpr_at_fpr.at_10_percent.high for m in r.membership if m.tpr_at_fpr)),
        ("named", lambda r: max(m.named for m in r.membership)),
        ("accuracy_gap", lambda r: r.comparability.accuracy_members - r.comparability.accuracy_controls),
    ],
)
@pytest.mark.parametrize("level", ["none-detected", "critical"])
def test_a_figure_may_reach_its_threshold_and_not_pass_it(level, name, measured):
    value = measured(report(level))
    at, over = Thresholds.model_construct(**{name: value}), Thresholds.model_construct(**{name: value - 1e-9})
    assert not broken(ruled(level, fail_on="never", thresholds=at))
    assert broken(ruled(level, fail_on="never", thresholds=over)) == {("PA307", name)}


def test_a_threshold_holds_for_the_upper_end_unless_the_estimate_is_asked_for():
    worst = max(signal.auc.value for signal in scored("moderate"))
    assert broken(ruled("moderate", thresholds=Thresholds(membership_auc=worst))) == {("PA307", "membership_auc")}
    estimate = Thresholds(membership_auc=worst, bound="estimate")
    assert not broken(ruled("moderate", thresholds=estimate))


@pytest.mark.parametrize(
    "name",
    ["recovered", "best_ssim", "members_over_half", "membership_auc", "tpr_at_1_percent", "named", "accuracy_gap"],
)
def test_what_was_not_measured_is_not_below_its_threshold(name):
    ruling = ruled("inconclusive", thresholds=Thresholds(**{name: 1}))
    assert ("PA308", name) in broken(ruling)
    waived = ruled("inconclusive", thresholds=Thresholds(**{name: 1}), waivers=(waiver("PA308", subject=name),))
    assert not broken(waived)


def test_one_signal_that_cannot_resolve_a_rate_leaves_it_unmeasured():
    first, *others = report("none-detected").membership
    at_one = first.tpr_at_fpr.model_copy(update={"at_1_percent": None})
    blunt = first.model_copy(update={"tpr_at_fpr": at_one})
    ruling = ruled(
        report("none-detected").model_copy(update={"membership": (blunt, *others)}),
        thresholds=Thresholds(tpr_at_1_percent=1),
    )
    assert broken(ruling) == {("PA308", "tpr_at_1_percent")}
    assert f"by {first.signal};" in ruling.findings[-1].text


def test_images_reproduced_from_the_weights_have_a_threshold():
    reproduced = report("critical").evidence.reproduced
    assert not broken(ruled("critical", fail_on="never", thresholds=Thresholds(reproduced=reproduced)))
    assert broken(ruled("critical", fail_on="never", thresholds=Thresholds(reproduced=reproduced - 1)))


# ---- waivers --------------------------------------------------------------------------------------------------------


def test_a_waiver_is_good_through_its_last_day():
    waivers = (waiver("PA001"), waiver("PA006"))
    assert ruled("critical", today=SOON, waivers=waivers).outcome == "passed"
    late = ruled("critical", today=SOON + timedelta(days=1), waivers=waivers)
    assert broken(late) == {("PA305", ""), ("PA316", "PA001"), ("PA316", "PA006")}


def test_an_expired_waiver_is_an_error_also_where_nothing_needs_it():
    old = waiver("PA004", expires=ENDED - timedelta(days=1))
    assert broken(ruled("moderate", waivers=(old,))) == {("PA316", "PA004")}
    assert broken(ruled("none-detected", waivers=(old,))) == {("PA316", "PA004")}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"id": "PA101"}, "the report has no PA101"),
        ({"id": "PA205", "subject": "layers"}, "the subjects found are activation, mean, std"),
        ({"id": "PA004", "subject": "loss"}, "the subjects found are (none)"),
        ({"id": "PA004", "model": "0" * 64}, f"it is for the model {'0' * 64}"),
    ],
)
def test_a_waiver_that_matches_nothing_is_an_error(fields, why):
    ruling = ruled("moderate", waivers=(waiver(**fields),))
    assert {id for id, _ in broken(ruling)} == {"PA317"}
    assert why in ruling.findings[-1].text


def test_a_waiver_for_this_model_counts():
    ruling = ruled("moderate", fail_on="moderate", waivers=(waiver("PA004", model=HASH),))
    assert ruling.outcome == "passed"


def test_breaches_of_waivers_and_identity_stand_beside_a_waiver_that_would_cover_them():
    """A policy file cannot say so; one made in Python can."""
    bold = Waiver.model_construct(id="PA301", reason="x", expires=SOON, subject=None, model=None)
    assert ("PA301", "") in broken(ruled("low", model="0" * 64, waivers=(bold,)))


# ---- what holds for every report and policy -------------------------------------------------------------------------

REASONS = st.lists(
    st.sampled_from(
        [
            s.Reason(text="found", level=level, id=id)
            for id, level in (
                *(("PA001", "critical"), ("PA002", "high"), ("PA003", "high"), ("PA004", "moderate")),
                *(("PA005", "low"), ("PA106", "inconclusive"), ("PA113", "inconclusive")),
            )
        ]
    ),
    max_size=4,
)
WAIVERS = st.lists(
    st.builds(
        Waiver,
        id=st.sampled_from(["PA001", "PA002", "PA003", "PA004", "PA005", "PA106", "PA113", "PA308"]),
        reason=st.just("x"),
        expires=st.dates(ENDED - timedelta(days=2), ENDED + timedelta(days=2)),
        subject=st.sampled_from([None, None, "loss"]),
        model=st.sampled_from([None, None, HASH, "0" * 64]),
    ),
    max_size=4,
)


def audited(reasons, level):
    verdict = report("low").verdict.model_copy(update={"level": level, "reasons": tuple(reasons)})
    return report("low").model_copy(update={"verdict": verdict})


@given(REASONS, st.sampled_from(LEVELS), WAIVERS, st.sampled_from(SCALE[1:]))
def test_no_leak_at_or_above_the_level_passes_without_a_waiver_of_its_own(reasons, level, waivers, fail_on):
    valid = {w.id for w in waivers if w.expires >= ENDED and w.subject is None and w.model in {None, HASH}}
    limit = SCALE.index(fail_on)
    standing = [r for r in reasons if r.level in SCALE and SCALE.index(r.level) >= limit and r.id not in valid]
    ruling = ruled(audited(reasons, level), model=None, fail_on=fail_on, waivers=tuple(waivers))
    if standing:
        assert ruling.outcome == "broken"
    if level == "inconclusive" and not {r.id for r in reasons} & valid & {"PA106", "PA113"}:
        assert ruling.outcome != "passed"
    assert (ruling.outcome == "passed") == all(d.status in {"met", "waived"} for d in ruling.demands)


@given(REASONS, st.sampled_from(LEVELS), WAIVERS)
def test_a_report_that_passes_passes_where_more_is_allowed(reasons, level, waivers):
    outcomes = [
        ruled(audited(reasons, level), model=None, fail_on=fail_on, waivers=tuple(waivers)).outcome == "passed"
        for fail_on in (*SCALE[1:], "never")
    ]
    assert outcomes == sorted(outcomes)


@given(REASONS, st.sampled_from(LEVELS), WAIVERS)
def test_nothing_that_was_found_is_hidden(reasons, level, waivers):
    whole = audited(reasons, level)
    ruling = ruled(whole, model=None, waivers=tuple(waivers))
    assert tuple(replace(f, waived="") for f in ruling.findings)[: len(findings(whole))] == findings(whole)
    assert {f.id for f in ruling.findings if f.waived} <= {w.id for w in waivers}
