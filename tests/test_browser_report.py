"""The page in a real browser: it fits desk, tablet and phone, asks nobody for anything, and shows its pictures."""

from itertools import product

import pytest
from chromium import HEIGHTS, running
from report_examples import LEVELS, example, hostile

LONG = "<b>" + "W" * 300 + " --" + "a" * 300 + "\u202e -- |`"
REPORTS = {
    "critical": lambda: example("critical"),
    "inconclusive": lambda: example("inconclusive"),
    "hostile": lambda: hostile(LONG),
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with running(tmp_path_factory.mktemp("pages")) as browser:
        yield browser


@pytest.fixture(scope="module")
def files(browser):
    return {name: browser.write(make()) for name, make in REPORTS.items()}


@pytest.mark.parametrize("scripts", [False, True], ids=["scripts off", "scripts on"])
@pytest.mark.parametrize("name", REPORTS)
def test_fits_and_is_whole(browser, files, name, scripts):
    pictures = len(REPORTS[name]().pictures)
    with browser.open(files[name], scripts=scripts) as visit:
        for width, scheme in product(HEIGHTS, ("light", "dark")):
            visit.page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
            visit.page.emulate_media(color_scheme=scheme)
            seen = visit.look()
            assert seen["wide"] == seen["spilt"] == [], (width, scheme)
            assert (seen["images"], seen["blank"]) == (pictures, 0)
            assert seen["overflow"] <= 0, (width, scheme)
    assert visit.asked == []
    assert visit.said == []


@pytest.mark.parametrize("level", LEVELS)
def test_verdict_and_budget_are_on_the_first_screen(browser, level):
    with browser.open(browser.write(example(level))) as visit:
        for width, height in HEIGHTS.items():
            visit.page.set_viewport_size({"width": width, "height": height})
            verdict, budget, why = visit.page.evaluate(
                "() => ['h1', '.spent', '.why'].map(name => document.querySelector(name).getBoundingClientRect())"
            )
            assert verdict["bottom"] < budget["top"]
            assert budget["bottom"] < 0.6 * height
            assert why["top"] < height or width == 390


def test_the_guard_sees_what_it_looks_for(browser):
    bad = (
        '<!doctype html><body><img src="http://example.invalid/a.png">'
        '<div style="width:2000px">wide</div><p style="width:9px">wordy'
        "<script>console.error('a complaint'); throw new Error('a failure')</script>"
    )
    with browser.open(browser.write(bad), scripts=True) as visit:
        seen = visit.look()
    assert seen["overflow"] > 0
    assert seen["wide"]
    assert seen["spilt"]
    assert visit.asked == ["http://example.invalid/a.png"]
    assert {"error: a complaint", "a failure"} <= set(visit.said)
    assert seen["blank"] == 1


def test_paper_shows_what_a_screen_folds_away(browser, files):
    with browser.open(files["critical"], scheme="dark") as visit:
        visit.page.emulate_media(media="print", color_scheme="light")
        shown = visit.page.evaluate(
            """() => {
              const seen = name => [...document.querySelectorAll(name)].filter(one => one.offsetHeight).length;
              return {
                exhibits: seen(".gallery > li"), settings: seen(".settings"), choosers: seen(".choosers, nav"),
                members: seen(".sieve .tall tbody tr"), paper: getComputedStyle(document.body).backgroundColor,
                cut: [...document.querySelectorAll(".tall")].filter(one => one.scrollHeight > one.clientHeight).length,
              };
            }"""
        )
    white = "rgb(255, 255, 255)"
    assert shown == {"exhibits": 14, "settings": 1, "choosers": 0, "members": 40, "paper": white, "cut": 0}
