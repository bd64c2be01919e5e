"""What axe-core finds in the page: nothing serious, in no state of it."""

from pathlib import Path

import pytest
from chromium import running
from comparison_examples import after, before
from report_examples import example, hostile

from auditcli.comparison import compare
from auditcli.comparison import render as compared

AXE = Path(__file__).parent / "browser" / "node_modules" / "axe-core" / "axe.min.js"
RUN = """async rules => (await axe.run({resultTypes: ["violations"], ...rules && {runOnly: rules}})).violations
  .filter(found => ["serious", "critical"].includes(found.impact))
  .map(found => `${found.id}: ${found.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(" ")}`)"""
OPEN = "() => document.querySelectorAll('details').forEach(part => part.open = true)"
REPORTS = {
    "critical": lambda: example("critical"),
    "inconclusive": lambda: example("inconclusive"),
    "none-detected": lambda: example("none-detected"),
    "interrupted": lambda: example("low", pictures=False, interrupted=True),
    "compared": lambda: compared(compare(before(), after(recovered=1, shift=0.4, noise=0.3)), "html"),
    "not compared": lambda: compared(compare(before(), after(model__input_shape=(3, 32, 32))), "html"),
    "hostile": lambda: hostile('<b>"W --wide\u202e -- |`'),
}

pytestmark = pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: npm ci --prefix tests/browser")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with running(tmp_path_factory.mktemp("pages")) as browser:
        yield browser


@pytest.mark.parametrize("name", REPORTS)
def test_axe_finds_nothing_serious(browser, name):
    # axe waits by timers, which stand still where scripts are off.
    with browser.open(browser.write(REPORTS[name]()), scripts=True, bypass_csp=True) as visit:
        visit.page.add_script_tag(path=AXE)
        visit.page.evaluate(OPEN)
        assert visit.page.evaluate(RUN) == []
        visit.page.emulate_media(color_scheme="dark")
        assert visit.page.evaluate(RUN, ["color-contrast"]) == []


def test_axe_sees_what_it_looks_for(browser):
    bad = (
        '<!doctype html><html lang="en"><title>t</title>'
        "<style>@media (prefers-color-scheme: dark) { p { color: #fafafa } }</style>"
        '<body><main><h1>t</h1><p>pale</p><img src="data:,"><select></select>'
    )
    with browser.open(browser.write(bad), scripts=True) as visit:
        visit.page.add_script_tag(path=AXE)
        found = " ".join(visit.page.evaluate(RUN))
        visit.page.emulate_media(color_scheme="dark")
        assert visit.page.evaluate(RUN, ["color-contrast"])
    assert "image-alt" in found
    assert "select-name" in found
