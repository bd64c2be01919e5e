"""The page in a real browser: it fits desk, tablet and phone, asks nobody for anything, and shows its pictures."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_examples import example, hostile

from auditcli.report import render

WIDTHS = (1280, 768, 390)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *(
        "--hide-scrollbars",
        "--disable-sync",
        "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--virtual-time-budget=2000",
    ),
)
PROBE = """
window.onload = () => {
  const looks = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, width = page.documentElement.clientWidth;
    page.querySelectorAll("details").forEach(part => part.open = true);
    const wide = [...page.querySelectorAll("body *")].filter(element =>
      element.getBoundingClientRect().right > width + 1 && !element.closest(".scroll, .skip, svg"));
    return {
      width, overflow: page.documentElement.scrollWidth - width, wide: wide.map(e => e.outerHTML.slice(0, 120)),
      requests: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name)
        .filter(name => !name.startsWith("data:")),
      blank: [...page.images].filter(image => !image.naturalWidth).length, images: page.images.length,
      sizes: [...page.images].map(image => image.getBoundingClientRect().width),
      verdict: page.querySelector("h1") ? page.querySelector("h1").getBoundingClientRect().bottom : null,
      why: page.querySelector(".why") ? page.querySelector(".why").getBoundingClientRect().top : null,
    };
  });
  document.body.replaceChildren(document.createElement("pre"));
  document.querySelector("pre").textContent = JSON.stringify(looks);
};
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium in PATH")


def look(page: str, directory: Path) -> list[dict[str, object]]:
    """What the browser made of a page at each of the widths."""
    frames = "".join(
        f'<iframe width="{w}" height="900" style="border:0" srcdoc="{html.escape(page)}"></iframe>' for w in WIDTHS
    )
    desk = directory / "desk.html"
    desk.write_text(f"<!doctype html><meta charset='utf-8'><script>{PROBE}</script><body>{frames}", encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={directory / 'profile'}", "--dump-dom", desk.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return json.loads(html.unescape(re.search(r"<pre>(.*)</pre>", dom, re.DOTALL)[1]))


@pytest.mark.parametrize("level", ["critical", "inconclusive"])
def test_fits_and_is_whole(level, tmp_path):
    report = example(level)
    seen = look(render(report, "html"), tmp_path)
    assert [page["width"] for page in seen] == list(WIDTHS)
    for page in seen:
        assert page["overflow"] <= 0
        assert page["wide"] == []
        assert page["requests"] == []
        assert page["blank"] == 0
        assert page["images"] == len(report.pictures)
        assert all(85 <= size <= 112 for size in page["sizes"])
        assert page["verdict"] < 250
    assert seen[0]["why"] < 800


def test_no_name_breaks_the_page(tmp_path):
    for page in look(render(hostile("<b>" + "W" * 300 + " --" + "a" * 300 + "\u202e -- |`"), "html"), tmp_path):
        assert page["wide"] == []
        assert page["overflow"] <= 0
        assert page["requests"] == []


def test_the_probe_sees_what_it_looks_for(tmp_path):
    bad = '<!doctype html><body><img src="http://example.invalid/a.png"><div style="width:2000px">wide</div>'
    for page in look(bad, tmp_path):
        assert page["overflow"] > 0
        assert page["wide"]
        assert page["requests"] == ["http://example.invalid/a.png"]
        assert page["blank"] == 1
