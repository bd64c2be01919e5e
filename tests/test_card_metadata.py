"""The metadata of a model card: our result goes in and out as lines, and whatever else it says stays as it is."""

import re

import pytest
import yaml
from card_examples import BODY, CARD, FRONT
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import HASH, LEVELS, example, hostile, undrawn

from auditcli.errors import UsageError
from auditcli.report.card._front import find
from auditcli.report.card._metadata import put, take
from auditcli.report.card._result import SOURCE, result

REPORT = undrawn(example("high"))
NEWER = undrawn(example("critical"))
BLIND = undrawn(example("inconclusive"))
INDEX = "model-index:\n- name: x\n  results:\n"
RESULT = "  - task: {type: t}\n    dataset: {type: d, name: d}\n    metrics: [{type: m, value: 1}]\n"
OURS = RESULT + f"    source: {{name: {SOURCE}, url: u}}\n"


def card(front, body="# A model\n"):
    return f"---\n{front}---\n{body}"


def meaning(text):
    front = find(text)
    return yaml.safe_load(text[front.start : front.stop]) or {}


def ours(text):
    return [one for one in ModelCard(text.removeprefix("\ufeff")).data.eval_results or () if one.source_name == SOURCE]


def foreign(text):
    """What a card means without our result."""
    data = meaning(text)
    for model in data.get("model-index", ()):
        model["results"] = [one for one in model["results"] if one.get("source", {}).get("name") != SOURCE]
    if [model["results"] for model in data.get("model-index", ())] == [[]]:
        del data["model-index"]
    return repr(data)


# ---- what is said ---------------------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_report():
    found = {one.metric_type: one for one in ours(put(CARD, NEWER))}
    signal = max((one for one in NEWER.membership if one.auc), key=lambda one: one.auc.value)
    assert found["privacy_verdict"].metric_value == "critical"
    assert found["privacy_verdict"].metric_args["sha256"] == HASH
    assert found["training_images_recovered"].metric_value == 14
    assert found["training_images_recovered"].metric_args["of"] == 60
    assert found["membership_auc"].metric_value == pytest.approx(signal.auc.value, abs=1e-4)
    assert found["membership_auc"].metric_args["low"] == pytest.approx(signal.auc.low, abs=1e-4)
    rate = found["membership_tpr_at_1_percent_fpr"]
    assert rate.metric_name == "TPR at 1% FPR"
    assert rate.metric_value == pytest.approx(signal.tpr_at_fpr.at_1_percent.value, abs=1e-4)
    assert {one.task_type for one in found.values()} == {"image-classification"}
    assert {one.dataset_name for one in found.values()} == {"The auditor's 60 members and 400 controls"}


def test_what_was_not_measured_is_not_there():
    (only,) = ours(put(CARD, BLIND))
    assert only.metric_type == "privacy_verdict"
    assert only.metric_value == "inconclusive"
    assert only.dataset_name == "No images: the weights alone"


def test_an_interrupted_audit_says_so():
    assert ours(put(CARD, REPORT.model_copy(update={"interrupted": True})))[0].metric_args["interrupted"] is True
    assert "interrupted" not in ours(put(CARD, REPORT))[0].metric_args


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_is_called_verified(level):
    assert not re.search("verif", yaml.safe_dump(result(undrawn(example(level)))), re.IGNORECASE)
    assert put(CARD, REPORT).lower().count("verif") == CARD.lower().count("verif") == 2


@pytest.mark.parametrize(
    "text", ["---\n# x: 'y' \"z\"", "name: &a *a", "\u202e: - [", "é" * 200 + " a: b", "%YAML", ""]
)
def test_the_text_of_a_stranger_stays_text(text):
    for start in (CARD, card("license: mit\n"), "# A model\n"):
        after = put(start, undrawn(hostile(text)))
        assert ours(after)
        assert put(after, undrawn(hostile(text))) == after
        assert take(after) == start


# ---- where it is said -----------------------------------------------------------------------------------------------


def variants(text):
    windows = text.replace("\n", "\r\n")
    return {
        "unix": text,
        "windows": windows,
        "BOM": "\ufeff" + windows,
        "no last line end": text.rstrip("\n"),
        "empty lines first": "\n\n" + text,
        "windows front, unix body": card(FRONT, "").replace("\n", "\r\n") + BODY,
    }


@pytest.mark.parametrize("text", variants(CARD).values(), ids=variants(CARD))
def test_a_card_of_the_hub_survives_ten_refreshes(text):
    once = put(text, REPORT)
    again = once
    for _ in range(10):
        again = put(again, REPORT)
    assert again == once
    assert take(once) == text
    assert take(put(once, NEWER)) == text
    assert len(ours(once)) == 4
    at = next(at for at, (new, old) in enumerate(zip(once, text, strict=False)) if new != old)
    added = once[at : at + len(once) - len(text)]
    assert once == text[:at] + added + text[at:]
    assert added.count("\n") == added.count("\r\n" if "---\r\n" in text else "\n") > 30
    assert foreign(once) == foreign(text)


def test_a_card_file_loads(tmp_path):
    for name, text in variants(CARD).items():
        path = tmp_path / f"{name}.md"
        path.write_bytes(put(text, REPORT).encode())
        loaded = ModelCard.load(path)
        assert loaded.data.model_name == "Thumbnails"
        assert [one.source_name for one in loaded.data.eval_results] == [None] * 3 + [SOURCE] * 4


def test_the_result_follows_those_of_the_author():
    once = put(CARD, REPORT)
    lines = once.splitlines()
    at = lines.index("      # no more metrics")
    assert lines[at + 1 : at + 3] == ["  - task:", "      type: image-classification"]
    assert lines[lines.index("# Keep this at the end.") - 1] == ""


@pytest.mark.parametrize(
    "front",
    [
        "license: mit\n",
        "license: mit\n# the end\n",
        "license: mit\n\n\n",
        "\n",
        "# only a comment\n",
        "license: mit\n...\n",
        "  license: mit\n  tags:\n  - a\n",
        "text: |+\n  kept\n\n",
        "quoted: 'a\n\n  b'\n",
        "quoted: 'a\n\n  b\n  # c'\n",
        INDEX + RESULT.replace("value: 1}]", "value: 1}]\n    note: |+\n      kept\n\n") + "\n# end\nlicense: mit\n",
        "last:\n",
        "list:\n- |\n  # text\n",
        INDEX + RESULT,
        INDEX + RESULT + "  # comment\n",
        INDEX + RESULT + "license: mit\n",
        INDEX + RESULT + RESULT + "- name: y\n  results:\n" + RESULT,
        INDEX.replace("results:", "results:  # mine") + "\n  # first\n" + RESULT + "\n# end\n",
        "model-index:\n  - results:\n"
        + RESULT.replace("  ", "      ", 1).replace("\n    ", "\n        ")
        + "    name: x\n",
        f"tags:\n- {SOURCE}\n",
        f"model_name: {SOURCE}\n",
    ],
)
def test_put_in_and_taken_out(front):
    for text in (card(front), card(front).replace("\n", "\r\n")):
        once = put(text, REPORT)
        assert len(ours(once)) == 4
        assert foreign(once) == foreign(text)
        assert put(once, REPORT) == once
        assert take(once) == text
        assert take(put(once, BLIND)) == text
        assert take(text) == text


@pytest.mark.parametrize(
    "body", ["", "# A model\n", "a\r\nb\r\n", "text\n\n---\n\nmore\n\n---\n", "```\n---\n```\n", "\n"]
)
def test_a_card_without_front_matter_gets_one(body):
    for text in (body, "\ufeff" + body):
        once = put(text, REPORT)
        assert once.endswith(body)
        assert len(ours(once)) == 4
        assert put(once, REPORT) == once
        assert take(once) == text


def test_a_new_report_replaces_the_result_where_it_stands():
    once = put(card(INDEX + RESULT), REPORT)
    edited = once.replace(
        "---\n# A", "  - task: {type: later}\n    dataset: {type: d, name: d}\n    metrics: []\n---\n# A"
    )
    assert edited != once
    assert put(edited, REPORT) == edited
    newer = put(edited, NEWER)
    assert newer.index("critical") < newer.index("type: later")
    assert take(newer) == take(edited)
    assert "type: later" in take(edited)


def test_a_card_that_huggingface_hub_has_saved_is_still_known():
    saved = str(ModelCard(put(card("license: mit\n"), REPORT)))
    assert put(saved, REPORT) == saved
    assert len(ours(put(saved, NEWER))) == 4
    assert ours(take(saved)) == []


def test_a_name_for_the_model_is_kept():
    named = put(card("license: mit\n"), REPORT).replace("- name: thumbnails-mlp.safetensors", "- name: Mine")
    assert "- name: Mine" in put(named, NEWER)


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (card("model-index: [{name: x, results: []}]\n"), "no list of results"),
        (card("model-index:\n- name: x\n  results: []\n"), "no list of results"),
        (card("model-index:\n- {name: x, results: []}\n"), "no list of results"),
        (card("model-index:\n"), "no list of results"),
        (card("model-index: text\n"), "no list of results"),
        (card("{license: mit}\n"), "in braces"),
        (card("license: mit\nlicense: other\n"), "'license' twice, line 3"),
        (card(INDEX + RESULT + "  results: []\n"), "'results' twice"),
        (card("license: [mit\n"), "no YAML that can be read"),
        (card("a: b: c\n"), "line 2"),
        (card("\tlicense: mit\n"), "no YAML that can be read"),
        (card("a: *b\n"), "undefined alias"),
        (card("day: 2026-13-45\n"), "no YAML that can be read"),
        (card("flag: !!bool maybe\n"), "no YAML that can be read"),
        (card("day: !!timestamp soon\n"), "no YAML that can be read"),
        (card("a\x07: b\n"), "no YAML that can be read"),
        (card("- a\n- b\n"), "no mapping"),
        (card("just text\n"), "no mapping"),
        (card("1: a\n"), "does not load it"),
        (card("model-index:\n- name: x\n  results:\n  - dataset: {}\n"), "does not load it"),
        (card("a: &r\n" + RESULT + "model-index:\n- name: x\n  results: *r\n"), "no list of results"),
        (card("model-index:\n- &m\n  name: x\n  results:\n" + RESULT + "other: *m\n"), "meaning of another"),
        (card("model-index:\n- &m\n  name: x\n  results:\n" + RESULT + "- *m\n"), "does not find the result"),
        (card(INDEX + OURS + OURS), "2 results whose source"),
        (card(INDEX.replace("\n  results:\n", "\n  results: ") + f"[{{source: {{name: {SOURCE}}}}}]\n"), "hyphen"),
        ("---\n---\n# A model\n", "is empty, or is not closed"),
        ("---\r\n---\r\n# A model\r\n", "is empty, or is not closed"),
        ("---\n---\n# A model\n\n---\n", "is empty, or is not closed"),
        ("---\nlicense: mit\n...\n# A model\n", "is empty, or is not closed"),
        ("---\nlicense: mit\n", "is empty, or is not closed"),
    ],
)
def test_metadata_that_is_better_left_alone(text, message):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        put(text, REPORT)
    assert "\n" not in caught.value.message
    assert "--no-metadata" in caught.value.hint


# ---- any card -------------------------------------------------------------------------------------------------------

WORDS = st.text("ab:#-'\"{}[]&*!|>%@` \n\té🔒", max_size=12)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=True), st.dates(), WORDS)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(WORDS, v, max_size=3), max_leaves=8)
KEYS = st.text("abcdefg-_ é", min_size=1, max_size=8).filter(lambda key: key not in {"tags", "model-index"})
RESULTS = st.lists(
    st.fixed_dictionaries(
        {
            "task": st.just({"type": "image-classification"}),
            "dataset": st.fixed_dictionaries({"type": WORDS, "name": WORDS}),
            "metrics": st.lists(st.fixed_dictionaries({"type": WORDS, "value": SCALARS}), max_size=2),
        }
    ),
    min_size=1,
    max_size=3,
)
COMMENTS = st.sampled_from(["", "\n", "# comment\n", "    # deep\n", "\n# a\n\n# b\n"])


@st.composite
def fronts(draw):
    """YAML as some program or some author wrote it."""
    data = draw(st.dictionaries(KEYS, VALUES, max_size=4))
    if draw(st.booleans()):
        data["model-index"] = [{"name": "x", "results": draw(RESULTS)}]
    data |= draw(st.dictionaries(KEYS, VALUES, max_size=2))
    style = {"allow_unicode": draw(st.booleans()), "indent": draw(st.sampled_from([2, 3, 4])), "sort_keys": False}
    style |= {"width": draw(st.sampled_from([20, 80])), "default_style": draw(st.sampled_from([None, '"', "'", "|"]))}
    written = yaml.safe_dump(data, default_flow_style=False, **style) if data else ""
    return draw(COMMENTS) + written + draw(COMMENTS)


@settings(max_examples=30, deadline=None)
@given(fronts(), st.booleans())
def test_any_card_is_left_as_it_was_or_refused(front, windows):
    text = card(front.encode("utf-8", "replace").decode())
    text = text.replace("\n", "\r\n") if windows else text
    try:
        once = put(text, REPORT)
    except UsageError as error:
        assert "\n" not in error.message  # noqa: PT017
        return
    assert len(ours(once)) == 4
    assert foreign(once) == foreign(text)
    assert put(once, REPORT) == once
    assert take(once) == text
    assert take(put(once, NEWER)) == text
