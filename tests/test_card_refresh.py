"""The privacy section of a model card: put in, renewed, and nothing else touched."""

import pytest
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import LEVELS, example, hostile, undrawn

from auditcli.errors import UsageError
from auditcli.report.card import BEGIN, END, refresh, render

REPORT = undrawn(example("high"))
NEWER = undrawn(example("low"))
PIECES = ["\n", "\r\n", "\r", "#", " ", "a", "|", "é", "-", "```", "<!--", "-->", "<!"]
AROUND = st.lists(st.sampled_from(PIECES), max_size=20).map("".join)
CARD = "---\nlicense: mit\n---\n# My model\n\nIt classifies.\n"


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
def test_added_at_the_end_and_idempotent(text):
    once = refresh(text, REPORT)
    assert once.startswith(text)
    assert refresh(once, REPORT) == once
    assert once.count(BEGIN) == once.count(END) == 1


@settings(max_examples=100, deadline=None)
@given(AROUND, AROUND)
@case("a\r\n", "\r\nb")
def test_replaced_in_place_and_nothing_else_touched(before, after):
    once = refresh(before + BEGIN + "\nold\n" + END + after, REPORT)
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
    for text in (CARD, CARD + "\n", CARD.rstrip("\n")):
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
