"""The policy file: what it holds, and what is said about one that is wrong."""

import json
import re
from datetime import date
from itertools import takewhile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditcli import policy
from auditcli.errors import UsageError
from auditcli.gate import FORMATS, Policy, Thresholds, Waiver, read_policy
from auditcli.gate.measures import MEASURES
from auditcli.rules import RULES

WAIVER = '[[waivers]]\nid = "PA003"\nreason = "public"\nexpires = 2027-01-31\n'
LEVELS = ["low", "moderate", "high", "critical", "never"]


def written(tmp_path, text):
    path = tmp_path / "privaudit-policy.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(tmp_path, text):
    with pytest.raises(UsageError) as caught:
        read_policy(written(tmp_path, text))
    assert "\n" not in caught.value.message + caught.value.hint
    assert caught.value.hint
    return caught.value


def test_nothing_is_demanded_by_no_file_beside_a_level_and_an_answer(tmp_path):
    assert read_policy(None) == read_policy(written(tmp_path, "")) == Policy()
    assert Policy().fail_on == "high"


def test_the_command_line_stands_above_the_file(tmp_path):
    path = written(tmp_path, 'fail_on = "low"\nrequired_members = 5\n')
    assert read_policy(path).fail_on == "low"
    assert read_policy(path, "never") == Policy(fail_on="never", required_members=5)


def test_every_example_of_a_key_is_a_policy(tmp_path):
    for shape, opening in ((Policy, ""), (Thresholds, "[thresholds]\n"), (Waiver, WAIVER)):
        for name, field in shape.model_fields.items():
            (example,) = field.examples
            if example.startswith("["):
                continue
            lines = [line for line in opening.splitlines() if not line.startswith(f"{name} =")]
            example = example.replace("<sha256 in 64 lower-case hexadecimal digits>", "a" * 64)
            read_policy(written(tmp_path, "\n".join([*lines, example])))


@pytest.mark.parametrize(
    ("key", "seconds"), [("90d", 90 * 86400), ("10m", 600), ("1h30m", 5400), ("1d12h", 129600), ("45", 45)]
)
def test_durations(tmp_path, key, seconds):
    policy = read_policy(written(tmp_path, f'maximum_age = "{key}"\nminimum_budget = "{key}"\n'))
    assert policy.maximum_age == policy.minimum_budget == seconds


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('fail-on = "high"', "fail-on is no key of a policy", "did you mean fail_on?"),
        ('required_attack = ["kkt"]', "required_attack is no key", "did you mean required_attacks?"),
        ("[thresholds]\nrecoverd = 0", "thresholds.recoverd is no key", "did you mean recovered?"),
        ("recovered = 0", "recovered is no key of a policy", "recovered stands under [thresholds]"),
        ('[thresholds]\nfail_on = "low"', "thresholds.fail_on is no key", "fail_on stands above the first [table]"),
        (WAIVER + 'resaon = "x"', "waivers[1].resaon is no key", "did you mean reason?"),
        ("zzz = 1", "zzz is no key of a policy", "docs/policy.md"),
        ('fail_on = "worst"', "fail_on: input should be 'low'", 'fail_on = "high"'),
        ("required_members = -1", "required_members: input should be greater", "required_members = 50"),
        ("required_members = true", "required_members: input should be a valid integer", "required_members = 50"),
        ("[thresholds]\nmembership_auc = 60", "membership_auc: input should be less", "membership_auc = 0.6"),
        ("[thresholds]\nmembership_auc = nan", "membership_auc: input should be", "membership_auc = 0.6"),
        ("[thresholds]\nbest_ssim = true", "best_ssim: input should be a valid number", "best_ssim = 0.4"),
        ('require_positive_control = "yes"', "require_positive_control: input", "require_positive_control = true"),
        ("maximum_age = 90", "maximum_age: a duration in quotes", 'maximum_age = "90d"'),
        ('maximum_age = "90 days"', "maximum_age: the duration '90 days' is no duration", 'maximum_age = "90d"'),
        ('minimum_budget = "0s"', "minimum_budget: the duration '0s' is no duration above zero", '"10m"'),
        ('forbid = ["PA999"]', "forbid[1]: 'PA999' is no id of a finding", 'forbid = ["PA205"]'),
        ('forbid = ["PA304"]', "forbid[1]: PA304 is a breach of a policy already", "forbid"),
        (WAIVER.replace("PA003", "pa003"), "waivers[1].id: 'pa003' is no id of a finding; did you mean PA003?", "id ="),
        (
            WAIVER + WAIVER.replace("PA003", "PA301"),
            "waivers[2].id: PA301 (the report is about another",
            'id = "PA003"',
        ),
        (WAIVER.replace("public", "  \\n "), "waivers[1].reason: it is empty", "reason ="),
        (
            WAIVER.replace("2027-01-31", '"2027-01-31"'),
            "waivers[1].expires: a date was expected, without quotes",
            "2027",
        ),
        (WAIVER.replace("2027-01-31", "2027-01-31T00:00:00Z"), "waivers[1].expires: a date was expected", "expires ="),
        (WAIVER.replace("2027-01-31", "20270131"), "waivers[1].expires: a date was expected", "expires ="),
        (WAIVER.replace("expires = 2027-01-31\n", ""), "waivers[1].expires: field required", "expires = 2027-01-31"),
        (WAIVER.replace('reason = "public"\n', ""), "waivers[1].reason: field required", "reason ="),
        (WAIVER + 'model = "abc"', "waivers[1].model: string should match", "model ="),
        ("waivers = 3", "waivers: input should be a valid", "[[waivers]]"),
        ("fail_on = ", "is no TOML", "privaudit-policy.toml"),
        ('fail_on = "low"\nfail_on = "low"', "is no TOML", "privaudit-policy.toml"),
        (b"reason = '\xff'", "is no UTF-8 text", "TOML"),
        ("a = " + "[" * 3000, "is no TOML", "TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_how_it_is_written(tmp_path, text, message, hint):
    error = refused(tmp_path, text)
    assert message in error.message
    assert "privaudit-policy.toml" in error.message
    assert hint in error.hint


def test_a_file_that_is_none(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(UsageError, match="cannot be read") as caught:
            read_policy(path)
        assert "docs/policy.md" in caught.value.hint
    refused(tmp_path, b"#" * (2**20 + 1))


def test_what_questions_the_report_or_a_waiver_is_never_waived():
    fixed = {id for id, rule in RULES.items() if not rule.waivable}
    assert fixed == {"PA301", "PA302", "PA303", "PA305", "PA306", "PA316", "PA317"}
    assert all(RULES[id].kind == "breach" for id in fixed)


def test_every_threshold_has_a_measure():
    assert list(Thresholds.model_fields) == ["bound", *MEASURES]


def test_formats_are_those_of_the_command_line():
    from auditcli.cli.verify import Shown

    assert {shown.value for shown in Shown} == {"text", *FORMATS}


# ---- a policy comes back from its file as it was --------------------------------------------------------------------

WAIVABLE = sorted(id for id, rule in RULES.items() if rule.waivable)
LINES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
COUNTS = st.none() | st.integers(0, 10**6)
SHARES = st.none() | st.floats(0, 1)
WAIVERS = st.builds(
    Waiver,
    id=st.sampled_from(WAIVABLE),
    reason=LINES,
    expires=st.dates(),
    subject=st.none() | LINES,
    model=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
)
THRESHOLDS = st.builds(
    Thresholds, bound=st.sampled_from(["upper", "estimate"]), recovered=COUNTS, membership_auc=SHARES, best_ssim=SHARES
)
POLICIES = st.builds(
    Policy,
    fail_on=st.sampled_from(LEVELS),
    forbid=st.lists(st.sampled_from([id for id in RULES if id < "PA3"]), max_size=3).map(tuple),
    required_attacks=st.lists(LINES, max_size=2).map(tuple),
    required_members=COUNTS,
    require_positive_control=st.booleans(),
    thresholds=THRESHOLDS,
    waivers=st.lists(WAIVERS, max_size=3).map(tuple),
)


def toml(policy):
    """A policy as TOML: a JSON string is a TOML string where it holds no character outside the basic plane."""

    def lines(table):
        for key, value in table.items():
            if isinstance(value, date):
                yield f"{key} = {value.isoformat()}"
            elif value is not None:
                yield f"{key} = {json.dumps(value, ensure_ascii=False)}"

    fields = policy.model_dump()
    thresholds, waivers = fields.pop("thresholds"), fields.pop("waivers")
    top = [*lines(fields), "[thresholds]", *lines(thresholds)]
    return "\n".join([*top, *(line for waiver in waivers for line in ("[[waivers]]", *lines(waiver)))])


@given(POLICIES)
def test_a_policy_comes_back_from_its_file(tmp_path_factory, policy):
    path = Path(tmp_path_factory.getbasetemp()) / "round.toml"
    path.write_bytes(toml(policy).encode())
    assert read_policy(path) == policy


# ---- the page -------------------------------------------------------------------------------------------------------

PAGE = Path(__file__).resolve().parents[1] / "docs" / "policy.md"


def rows(heading):
    """Rows of the table of the page whose first heading is this, as lists of cells."""
    lines = iter(PAGE.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith(f"| {heading} |"):
            next(lines)
            return [[cell.strip().strip("`") for cell in row.strip("|").split(" |")] for row in takewhile(bool, lines)]
    raise AssertionError(f"no table begins with {heading}")


@pytest.mark.parametrize(("heading", "shape"), [("key", Policy), ("threshold", Thresholds), ("waiver key", Waiver)])
def test_the_page_lists_every_key(heading, shape):
    assert [row[0] for row in rows(heading)] == list(shape.model_fields)


def test_the_page_says_what_each_figure_needs():
    said = {row[0]: row[2] for row in rows("threshold")[1:] if not row[2].startswith("the same")}
    assert {"recovered", "best_ssim", "membership_auc", "accuracy_gap"} <= set(said)
    for name, needs in said.items():
        assert MEASURES[name].needs == needs


def test_the_policies_of_the_page_and_of_the_sample_are_understood(tmp_path):
    (block,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert read_policy(written(tmp_path, block)).required_controls == 400
    sample = PAGE.parents[1] / "tests" / "release"
    waivers = (sample / "waivers.toml").read_text().replace("LAST_DAY", "2027-01-31")
    text = (sample / "privaudit-policy.toml").read_text() + waivers
    assert len(read_policy(written(tmp_path, text)).waivers) == 3


def test_the_page_has_the_exit_codes_of_the_command():
    codes = {policy.PASSED, policy.BROKEN, policy.UNUSABLE, policy.INCONCLUSIVE}
    assert {int(row[0]) for row in rows("code")} == codes


def test_ids_on_the_page_are_known():
    assert set(re.findall(r"PA\d{3}", PAGE.read_text(encoding="utf-8"))) <= set(RULES)
