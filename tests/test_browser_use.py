"""The page in the hands of a reader: sorting, filtering and the keyboard, all without a script."""

import pytest
from chromium import running
from report_examples import example

EXHIBITS = """() => [...document.querySelectorAll(".gallery > li")].filter(one => one.offsetHeight)
  .map(one => ({box: one.getBoundingClientRect(), rank: +one.querySelector(".rank").textContent}))
  .sort((a, b) => a.box.top - b.box.top || a.box.left - b.box.left).map(one => one.rank)"""
"""The ranks of the reconstructions that are seen, as the eye finds them."""
MEMBERS = """() => [...document.querySelectorAll(".sieve .tall tbody tr")].filter(row => row.offsetHeight)
  .map(row => row.querySelector(".came").textContent)"""
FOCUS = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  return one === document.body ? null : {
    at: [...document.querySelectorAll("*")].indexOf(one),
    seen: one.matches(":focus-visible") && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    named: Boolean(one.textContent.trim() || one.getAttribute("aria-label")),
  };
}"""
CONTROLS = """() => [...document.querySelectorAll("a[href], select, summary, [tabindex='0']")]
  .filter(one => one.checkVisibility({contentVisibilityAuto: true}))
  .map(one => [...document.querySelectorAll("*")].indexOf(one))"""


@pytest.fixture(scope="module")
def report():
    """Fourteen reconstructions by two attacks, nine of them of members that came back."""
    whole = example("critical")
    kept = {item.member_id for item in whole.gallery[3:12]}
    members = tuple(m.model_copy(update={"leaked": m.id in kept}) for m in whole.members)
    gallery = tuple(
        item.model_copy(update={"attack": "span" if item.rank % 4 == 0 else "kkt"}) for item in whole.gallery
    )
    return whole.model_copy(update={"members": members, "gallery": gallery})


@pytest.fixture(scope="module")
def visit(report, tmp_path_factory):
    with running(tmp_path_factory.mktemp("pages")) as browser, browser.open(browser.write(report)) as visit:
        yield visit


def choose(visit, name, value):
    visit.page.locator(f'select:has([value="{name}-{value}"])').first.select_option(f"{name}-{value}")


@pytest.mark.parametrize(
    ("group", "belongs"),
    [
        ("first", lambda item, report: item.rank <= 12),
        ("all", lambda item, report: True),
        ("recovered", lambda item, report: 4 <= item.rank <= 12),
        ("attack-1", lambda item, report: item.attack == "span"),
        ("class-0", lambda item, report: item.label == report.gallery[0].label),
    ],
)
def test_the_gallery_shows_what_was_chosen(visit, report, group, belongs):
    choose(visit, "show", group)
    expected = [item.rank for item in report.gallery if belongs(item, report)]
    assert visit.page.evaluate(EXHIBITS) == expected
    chosen = visit.page.locator(f'[value="show-{group}"]').first.text_content()
    assert chosen.endswith(f"({len(expected)})")


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("ssim", lambda item: -item.ssim),
        ("agreement", lambda item: -item.agreement),
        ("class", lambda item: item.label),
        ("rank", lambda item: item.rank),
    ],
)
def test_the_gallery_is_sorted_as_chosen(visit, report, order, key):
    choose(visit, "show", "all")
    choose(visit, "by", order)
    assert visit.page.evaluate(EXHIBITS) == [item.rank for item in sorted(report.gallery, key=key)]


def test_members_show_what_was_chosen(visit, report):
    select = visit.page.locator("select").last
    for group, expected in (("recovered", ["yes"] * 9), ("not-recovered", ["no"] * 51)):
        select.select_option(f"show-{group}")
        assert visit.page.evaluate(MEMBERS) == expected
    select.select_option("show-all")
    assert len(visit.page.evaluate(MEMBERS)) == len(report.members)


def test_the_keyboard_reaches_everything_in_order(visit):
    page = visit.page
    controls = page.evaluate(CONTROLS)
    assert len(controls) > 20
    page.evaluate("() => document.activeElement.blur()")
    walked = []
    for _ in controls:
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        assert focus is not None
        assert focus["seen"], page.evaluate("() => document.activeElement.outerHTML")
        assert focus["named"]
        walked.append(focus["at"])
    assert walked == controls


def test_the_keyboard_chooses_and_opens(visit):
    page = visit.page
    page.locator("select").first.focus()
    choose(visit, "show", "first")
    page.keyboard.press("ArrowDown")
    assert len(page.evaluate(EXHIBITS)) == 14
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    page.keyboard.press("Enter")


def test_an_id_beside_a_reason_leads_to_its_finding(visit):
    page = visit.page
    page.locator(".why a.id").first.click()
    assert page.evaluate("() => document.querySelector(':target h4').textContent").startswith("PA001")
    assert page.evaluate("() => document.querySelector(':target').getBoundingClientRect().top") < 800
