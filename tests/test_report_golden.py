"""Whole reports against the stored ones."""

import pytest
from report_examples import LEVELS, example

from auditcli.options import View
from auditcli.report import FORMATS, render

CASES = [
    *((level, "card") for level in LEVELS),
    *((level, "md") for level in ("none-detected", "critical", "inconclusive")),
    *((level, "html") for level in ("critical", "inconclusive")),
    ("inconclusive", "json"),
    *((level, "checklist") for level in ("none-detected", "critical", "inconclusive")),
    *((level, form) for form in ("summary", "sarif", "junit", "github") for level in ("critical", "inconclusive")),
]


@pytest.mark.parametrize(("level", "form"), CASES)
def test_renders_as_stored(level, form, golden):
    golden(f"{level}.{form}", render(example(level), form))


def test_every_format_is_stored():
    assert {form for _, form in CASES} == set(FORMATS)


def test_every_format_is_an_option():
    assert {view.value for view in View} == set(FORMATS)


@pytest.mark.parametrize("form", FORMATS)
def test_equal_reports_render_alike(form):
    assert render(example("high"), form) == render(example("high"), form)
