"""The Markdown page: the same content, and tables that keep their columns whatever a stranger's file says."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_examples import LEVELS, example, hostile, undrawn

from auditcli.report import render
from auditcli.report.text import clean

TEXT_TOKENS = {"text", "code_inline", "text_special"}
OWN_TAG = re.compile(
    r'<br>|<img src="gallery/[\w.-]+\.png" width="112" alt="[^"<>]*">|<!-- privaudit:(begin|end) -->\n?'
)
ANY = st.text(st.sampled_from("\\`*_[]()#~$|!<>&;:-+=.1 \n\ta\"'"), max_size=25) | st.text(max_size=25)
NASTY = ANY.filter(clean)
"""Text that leaves something to be seen."""


def structure(markdown: str) -> list[str]:
    """The tokens of a page without its words; tags that are not ours fail."""
    tokens = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown):
        for part in (token, *(token.children or ())):
            if part.type in {"html_inline", "html_block"}:
                assert OWN_TAG.fullmatch(part.content), part.content
            if part.type not in TEXT_TOKENS:
                tokens.append(f"{part.type} {part.tag}")
    return tokens


def columns(markdown: str) -> list[list[int]]:
    """For each table, the number of cells of each of its lines."""
    tables: list[list[int]] = []
    previous = ""
    for line in markdown.splitlines():
        if line.startswith("|"):
            if not previous.startswith("|"):
                tables.append([])
            tables[-1].append(line.count("|") - 1)
        previous = line
    return tables


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", ["md", "card"])
def test_tables_are_whole(level, form):
    tables = columns(render(example(level), form))
    assert tables
    assert all(len(set(table)) == 1 and len(table) > 2 for table in tables)


@pytest.mark.parametrize("form", ["md", "card"])
@settings(max_examples=25, deadline=None)
@given(NASTY)
def test_no_text_changes_the_page(form, text):
    said = render(undrawn(hostile(text)), form)
    benign = render(undrawn(hostile("benign")), form)
    assert structure(said) == structure(benign)
    assert columns(said) == columns(benign)


@pytest.mark.parametrize("level", LEVELS)
def test_says_what_the_page_says(level):
    report = example(level)
    text = render(report, "md")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    expected = ["Why", "What to do", "Main figures", "What was tried, and what was not", "What came back"]
    assert headings[:5] == expected
    assert {"What this report does not show", "Model", "Manifest", "Glossary"} <= set(headings)
    assert ("Members" in headings) == bool(report.members)
    assert report.verdict.headline in text
    assert "**Failed**: the objective became NaN at step 212; the attack was stopped" in text
    assert "**Not run**: needs batch norm; this MLP has none" in text


def test_no_heading_clings_to_what_stands_before_it():
    for level in LEVELS:
        lines = render(example(level), "md").splitlines()
        for before, line in pairwise(lines):
            assert not line.startswith("#") or before == ""
            assert not line.startswith("|") or before == "" or before.startswith("|")


def test_pictures_are_links_into_the_gallery():
    report = example("critical")
    assert set(re.findall(r'src="([^"]*)"', render(report, "md"))) == set(report.pictures)


def test_redacted_report_has_placeholders():
    text = render(example("critical", pictures=False), "md")
    assert "<img" not in text
    assert text.count("*not embedded: run with --include-images*") == 14 * 2
    assert text.count("*left out: run with --reconstructions blurred or sharp*") == 14
    assert "Reconstructions are left out, for they may be training images" in text


def test_interrupted_is_said_at_the_top():
    text = render(example("low", interrupted=True), "md")
    assert text.splitlines()[2].startswith("> **Interrupted report.**")
    assert "interrupted" in render(example("low", interrupted=True), "card")
