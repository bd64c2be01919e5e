"""The documentation as a site: it builds strictly, asks nobody for anything, and looks like what GitHub shows."""

import re
import shutil
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

pytest.importorskip("material", reason="needs the extra docs")

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOADS = {
    **dict.fromkeys(("script", "img", "iframe", "source", "video", "audio", "embed"), "src"),
    "link": "href",
    "object": "data",
}
"""What a browser fetches by itself, by tag and attribute."""


def build(config, folder):
    # Not with --quiet: mkdocs then counts no warning, and --strict says nothing.
    words = ["-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", folder]
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site; a warning of the build fails it."""
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT / "mkdocs.yml", folder)
    assert built.returncode == 0, built.stderr
    return folder


def test_a_dead_link_and_a_page_without_a_place_fail_the_build(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("[gone](gone.md) [nowhere](#nowhere)\n", encoding="utf-8")
    (docs / "forgotten.md").write_text("# Forgotten\n", encoding="utf-8")
    config = tmp_path / "mkdocs.yml"
    inherited = f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {docs}\nnav: [index.md]\nhooks: []\nextra_css: []\n"
    config.write_text(inherited, encoding="utf-8")
    built = build(config, tmp_path / "site")
    assert built.returncode != 0
    assert all(name in built.stderr for name in ("gone.md", "#nowhere", "forgotten.md"))


class Page(HTMLParser):
    """What a page loads, and its paragraphs as text."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.paragraphs, self.ids = [], [], set()
        self._open = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.add(given.get("id"))
        if tag in LOADS and given.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(given.get(LOADS[tag]) or "")
        if tag == "p":
            self._open = True
            self.paragraphs.append("")

    def handle_endtag(self, tag):
        self._open = self._open and tag != "p"

    def handle_data(self, data):
        if self._open:
            self.paragraphs[-1] += data


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_page_of_the_documentation_is_there(site):
    own = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")}
    there = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert there == own | {"404.html", "changelog.html", "fixtures.html"}


def test_no_script_of_ours_is_published(site):
    assert not list(site.glob("*.py"))


def test_no_page_loads_anything_from_elsewhere(site, pages):
    for name, page in pages.items():
        assert page.loads, name
        assert not [link for link in page.loads if re.match(r"(?:https?:)?//", link)], name
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"(?:url\(|@import)[\s\"']*(?:https?:)?//", styles)


def test_no_list_and_no_table_became_a_paragraph(pages):
    """GitHub reads a list right after a line of text as a list, and this site does not."""
    for name, page in pages.items():
        assert not [text for text in page.paragraphs if re.search(r"\n(?:- |\d+\. |\|)", text)], name


def test_a_finding_has_the_address_that_reports_link_to(pages):
    assert "pa001" in pages["findings.html"].ids


def test_commands_are_in_the_navigation_without_being_named_there(site):
    assert "commands/scan" not in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    links = set(re.findall(r'href="commands/([a-z]+)\.html"', (site / "tour.html").read_text(encoding="utf-8")))
    assert links == {path.stem for path in (DOCS / "commands").glob("*.md")}


@pytest.fixture(scope="module")
def address(site):
    """Where the site is served from."""
    handler = partial(Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_):
        pass


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium in PATH")
def test_in_a_browser_pages_fit_a_phone_the_search_finds_and_nobody_else_is_asked(address):
    playwright = pytest.importorskip("playwright.sync_api")
    asked, errors = [], []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        for name in ("index", "commands/scan", "findings", "tour"):
            page.goto(f"{address}/{name}.html", wait_until="networkidle")
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, name
        page.set_viewport_size({"width": 1280, "height": 900})
        page.click("input.md-search__input")
        page.keyboard.type("controls")
        page.wait_for_selector(".md-search-result__item")
        browser.close()
    assert len(asked) > 4
    assert not [url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))]
    assert not errors
