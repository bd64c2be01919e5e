"""Escaping: a stranger's text is shown, and is never markup."""

import html
import re

import pytest
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markupsafe import Markup

from auditcli.report.text import attribute, clean, code, options, plain

NASTY = st.text(st.sampled_from("\\`*_[]()#~$|!<>&;:@-+=.1 \n\ta\"'{}x/w"), max_size=25) | st.text(max_size=25)
CASES = ["<script>", "1. x", "- x", "---", "# x", "a\n\n# b", "| a |", "\\|", "`a``", "&amp;", "[a](b)", "~~x~~", "_a_"]
WRAPPERS = {"paragraph": "{}", "list": "- {}", "cell": "| a |\n|---|\n| {} |", "strong": "**x**: {}"}


def shown(markdown: str) -> str:
    """What a reader sees of some Markdown, its tags taken off."""
    rendered = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)
    return html.unescape(re.sub(r"<[^>]*>", "", rendered)).strip()


@pytest.mark.parametrize("wrapper", WRAPPERS)
@settings(max_examples=150, deadline=None)
@given(NASTY)
@case("www.example.org http://example.org")
def test_plain_shows_the_very_text(wrapper, text):
    lead = {"cell": "a\n\n\n\n\n\n\n", "strong": "x: "}.get(wrapper, "")
    seen = shown(WRAPPERS[wrapper].format(plain(text)))
    assert seen.split() == (lead + clean(text)).split()


@pytest.mark.parametrize("text", CASES)
def test_plain_makes_one_paragraph_without_markup(text):
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(plain(text))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in tokens[1].children} == {"text"}


@settings(max_examples=150, deadline=None)
@given(NASTY)
def test_code_shows_the_very_text(text):
    assert shown(code(text)).split() == clean(text).split()


@pytest.mark.parametrize("text", ["http://example.org", "https://example.org", "www.example.org", "WWW.example.org"])
def test_bare_addresses_do_not_become_links(text):
    assert "http://" not in plain(text)
    assert "https://" not in plain(text)
    assert "www." not in plain(text).lower()


def test_names_stay_readable():
    assert plain("deep_inversion, 0.71 (0.6 to 0.8), -1.5: model.safetensors") == (
        "deep_inversion, 0.71 (0.6 to 0.8), -1.5: model.safetensors"
    )
    assert code("a/b_c.png") == "`a/b_c.png`"


@settings(max_examples=150, deadline=None)
@given(NASTY)
def test_attribute_holds_the_very_text(text):
    escaped = attribute(text)
    assert not set('"<>|`*[]\\\n') & set(escaped)
    assert html.unescape(escaped) == clean(text)


@given(st.text(max_size=40))
def test_clean_is_one_line_without_controls(text):
    cleaned = clean(text)
    assert len(cleaned.splitlines()) <= 1
    assert clean(cleaned) == cleaned
    assert not re.search("[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069\u200e\u200f]", cleaned)


def test_results_are_not_escaped_twice():
    assert all(isinstance(made, Markup) for made in (plain("<"), code("<"), attribute("<")))


@given(st.text(st.sampled_from('-<>&ab "=')))
@case("--assume <b>")
def test_options_show_the_very_text(text):
    made = options(text)
    assert html.unescape(re.sub(r"</?code>", "", made)) == clean(text)
    assert not re.search(r"<(?!/?code>)", made)


def test_options_are_code():
    assert (
        options("give --include-images or <x>--y") == "give <code>--include-images</code> or &lt;x&gt;<code>--y</code>"
    )
