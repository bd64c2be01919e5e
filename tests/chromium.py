"""Reports in a real Chromium: every request that leaves the file is stopped and noted, and so is every complaint."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from auditcli.report import Report, render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HEIGHTS = {1280: 800, 768: 1024, 390: 844}
"""Height of the first screen by width, in CSS pixels: a desk, a tablet, a phone."""
LOOK = """() => {
  const width = document.documentElement.clientWidth;
  document.querySelectorAll("details").forEach(part => part.open = true);
  const wide = [...document.querySelectorAll("body *")].filter(element =>
    element.getBoundingClientRect().right > width + 1 && !element.closest(".scroll, .skip, svg"));
  return {
    overflow: document.documentElement.scrollWidth - width,
    wide: wide.map(element => element.outerHTML.slice(0, 120)),
    spilt: [...document.querySelectorAll("td, th, dt, dd, li, p, h1, h2, h3, h4, figcaption, summary")]
      .filter(one => one.clientWidth && one.scrollWidth > one.clientWidth + 1 && !one.closest(".scroll, .stack thead"))
      .map(one => one.outerHTML.slice(0, 120)),
    images: document.images.length,
    blank: [...document.images].filter(image => !image.naturalWidth).length,
  };
}"""


def playwright_or_skip():
    """The package, where it and a browser for it are there."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium in PATH: apt-get install chromium")
    return pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")


@dataclass
class Visit:
    """A page that was opened, and what it did."""

    page: object
    asked: list[str] = field(default_factory=list)
    """Addresses outside of the file that it asked for."""
    said: list[str] = field(default_factory=list)
    """Errors and warnings of the console, and of scripts."""

    def look(self) -> dict[str, object]:
        """The measures of the page, with all its details opened."""
        return self.page.evaluate(LOOK)


@dataclass
class Browser:
    """A running Chromium and a folder for its pages."""

    chromium: object
    folder: Path
    written: int = 0

    def write(self, page: Report | str) -> Path:
        """The file of a report, or of a page as it is."""
        self.written += 1
        file = self.folder / f"report-{self.written}.html"
        file.write_text(page if isinstance(page, str) else render(page, "html"), encoding="utf-8")
        return file

    @contextmanager
    def open(
        self, file: Path, width: int = 1280, scheme: str = "light", *, scripts: bool = False, **more: object
    ) -> Iterator[Visit]:
        """One visit of a file; scripts of the page may be on or off, those of the test run all the same."""
        context = self.chromium.new_context(
            viewport={"width": width, "height": HEIGHTS[width]},
            color_scheme=scheme,
            java_script_enabled=scripts,
            **more,
        )
        try:
            visit = Visit(context.new_page())

            def guard(route):
                if route.request.url.startswith(("data:", file.as_uri())):
                    route.continue_()
                else:
                    visit.asked.append(route.request.url)
                    route.abort()

            context.route("**/*", guard)
            visit.page.on("console", lambda line: visit.said.append(f"{line.type}: {line.text}"))
            visit.page.on("pageerror", lambda error: visit.said.append(str(error)))
            visit.page.goto(file.as_uri())
            yield visit
        finally:
            context.close()


@contextmanager
def running(folder: Path) -> Iterator[Browser]:
    """A Chromium that runs for as long as the tests of one file."""
    with playwright_or_skip().sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield Browser(chromium, folder)
        finally:
            chromium.close()
