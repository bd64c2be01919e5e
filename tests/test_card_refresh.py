"""The privacy section of a model card: put in, renewed, and nothing else touched."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import example as case
from hypothesis import strategies as st
from report_examples import LEVELS, example, hostile, undrawn

from auditcli.errors import UsageError
from auditcli.report.card import BEGIN, END, render
from auditcli.report.card._section import put, take

REPORT = undrawn(example("high"))
NEWER = undrawn(example("low"))
PIECES = ["\n", "\r\n", "\r", "#", " ", "a", "|", "é", "-", "```", "<!--", "-->", "<!"]
AROUND = st.lists(st.sampled_from(PIECES), max_size=20).map("".join)
CARD = "---\nlicense: mit\n---\n# My model\n\nIt classifies.\n"
EXAMPLE = f"```html\n{BEGIN}\nold\n{END}\n```\n"


def refresh(text, report):
    return put(text, render(report))


def refreshed_or_none(text, report):
    """None where the card ends inside a block of code, or its text makes markers of its own."""
    try:
        return refresh(text, report)
    except UsageError:
        return None


@pytest.mark.parametrize("level", LEVELS)
def test_section_stands_between_markers_and_has_the_figures(level):
    report = undrawn(example(level))
    section = render(report)
    assert section.startswith(BEGIN + "\n")
    assert section.endswith(END + "\n")
    parts = [report.verdict.headline, report.model.sha256, "Budget", "What this does not show", "2026-03-02 09:23 UTC"]
    assert [part for part in parts if part not in section] == []
    assert f"**How to reproduce:** `{report.manifest.command}`" in section


@settings(max_examples=100, deadline=None)
@given(AROUND)
@case("")
@case("a\r\nb\r\n")
@case("a\r")
@case("a\n\n\n")
@case("a\n\r\n")
@case("```\ncode\n```")
@case("- item\n\n      code")
def test_added_at_the_end_idempotent_and_taken_out_again(text):
    once = refreshed_or_none(text, REPORT)
    assume(once is not None)
    assert once.startswith(text)
    assert refresh(once, REPORT) == once
    assert once.count(BEGIN) == once.count(END) == 1
    assert take(once) == text
    assert take(refresh(once, NEWER)) == text


@settings(max_examples=100, deadline=None)
@given(AROUND, AROUND)
@case("a\r", "b")
def test_replaced_in_place_and_nothing_else_touched(before, after):
    before, after = f"{before}\n\n", f"\n{after}"
    once = refreshed_or_none(before + BEGIN + "\nold\n" + END + after, REPORT)
    assume(once is not None and once.count(BEGIN) == 1)
    assert once.startswith(before + BEGIN)
    assert once.endswith(END + after)
    assert refresh(once, REPORT) == once
    newer = refresh(once, NEWER)
    assert newer.startswith(before + BEGIN)
    assert newer.endswith(END + after)
    assert newer != once
    assert refresh(newer, REPORT) == once


def test_windows_card_gets_a_windows_section():
    text = refresh(CARD.replace("\n", "\r\n"), REPORT)
    assert text.count("\n") == text.count("\r\n") == refresh(CARD, REPORT).count("\n")


def test_keeps_one_empty_line_before_the_section():
    for text in (CARD, CARD.rstrip("\n")):
        assert f"It classifies.\n\n{BEGIN}\n" in refresh(text, REPORT)


def test_front_matter_stays_first():
    assert refresh(CARD, REPORT).startswith(CARD)


def test_markers_with_other_spacing_are_found():
    text = refresh("a\n<!--privaudit:begin-->\nold\n<!--   privaudit:end   -->\nb\n", REPORT)
    assert text == f"a\n{render(REPORT)}b\n"


def test_stale_card_differs_from_its_refreshed_self():
    fresh = refresh(CARD, REPORT)
    assert refresh(fresh.replace("0.741", "0.541"), REPORT) == fresh


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{BEGIN}\n", "only a privaudit:begin"),
        (f"{END}\n", "only a privaudit:end"),
        (f"{END}\n{BEGIN}\n", "end marker stands before"),
        (f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n", "more than once"),
        (f"{BEGIN}\n{BEGIN}\n{END}\n", "more than once"),
        (f"{BEGIN}\n<!-- privaudit:edn -->\n", "misspelt"),
        (f"{BEGIN}\n<!-- privaudit:end\n", "not closed"),
        (f"{BEGIN} text\n{END}\n", "misspelt"),
        (f"{EXAMPLE}{END}\n", "only a privaudit:end"),
    ],
)
def test_damaged_markers_are_refused(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        refresh(text, REPORT)
    assert "\n" not in caught.value.message
    assert BEGIN in caught.value.hint


def test_a_file_name_cannot_close_the_section():
    section = render(undrawn(hostile(f"x {END} {BEGIN} y")))
    assert section.count("<!--") == 2
    once = refresh(CARD, undrawn(hostile(END)))
    assert refresh(once, undrawn(hostile(END))) == once


@pytest.mark.parametrize(
    "shown",
    [
        EXAMPLE,
        EXAMPLE.replace("```", "~~~~"),
        EXAMPLE.replace("\n", "\r\n"),
        f"    {BEGIN}\n    {END}\n",
        f"- a list\n\n  ```\n  {BEGIN}\n  ```\n",
        f"> ```\n> {BEGIN}\n",
        f"Write `{BEGIN}` and `{END}`.\n",
        f"| marker |\n|---|\n| {BEGIN} |\n",
        f"---\ndescription: |\n  {BEGIN}\n---\n",
        f"---\nlicense: mit\n{BEGIN}: x\n---\n",
    ],
)
def test_markers_that_are_only_shown_are_text(shown):
    once = refresh(shown, REPORT)
    assert once.startswith(shown)
    assert once.endswith(f"{END}\r\n" if "\r" in shown else f"{END}\n")
    assert refresh(once, REPORT) == once
    assert take(once) == shown


@pytest.mark.parametrize("open", ["```\n", "text\n~~~~ python\ncode\n~~~\n", f"```\n{BEGIN}\n{END}\n"])
def test_a_card_that_ends_inside_code_is_refused(open):
    with pytest.raises(UsageError, match="ends inside a block of code") as caught:
        refresh(open, REPORT)
    assert "close the code block" in caught.value.hint


def test_a_section_in_the_middle_leaves_no_hole():
    text = refresh("a\n", REPORT) + "\nb\n"
    assert take(text) == "a\n\nb\n"
    assert take(f"a\n{BEGIN}\n{END}\nb\n") == "a\nb\n"
    assert take("a\nb") == "a\nb"


def test_a_card_without_a_last_line_end_keeps_none():
    assert refresh("a", REPORT) == f"a\n\n{render(REPORT)}".rstrip("\n")
