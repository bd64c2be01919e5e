"""A comparison as HTML, Markdown, JSON and text: whole, escaped, and without torch."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from chromium import HEIGHTS, running
from comparison_examples import after, before, changed
from report_examples import hostile

from auditcli.comparison import VIEWS, Comparison, compare, render
from auditcli.errors import UsageError
from auditcli.terminal import comparison_text

ROOT = Path(__file__).resolve().parents[1]
CASES = {
    "less": lambda: compare(before(), after(recovered=1, shift=0.4, noise=0.3)),
    "no-difference": lambda: compare(before(), after(noise=0.1, budget__seed=7)),
    "not-comparable": lambda: compare(before(), after(model__input_shape=(3, 32, 32))),
}


@pytest.fixture(scope="module")
def comparisons():
    return {name: make() for name, make in CASES.items()}


STORED = [
    *((case, view) for case in CASES for view in ("md", "json", "txt")),
    *((case, "html") for case in ("less", "not-comparable")),  # together they show all of the page
]


@pytest.mark.parametrize(("case", "view"), STORED)
def test_shows_as_stored(case, view, comparisons, golden):
    comparison = comparisons[case]
    golden(f"compare-{case}.{view}", comparison_text(comparison) if view == "txt" else render(comparison, view))


def test_json_is_read_back(comparisons):
    for comparison in comparisons.values():
        assert Comparison.model_validate_json(render(comparison, "json")) == comparison


def test_there_is_no_other_view(comparisons):
    with pytest.raises(UsageError, match="unknown format 'pdf'") as raised:
        render(comparisons["less"], "pdf")
    assert raised.value.hint == "use --format text|html|md|json"


@pytest.mark.parametrize("case", CASES)
def test_the_page_runs_nothing_and_asks_nobody(case, comparisons):
    page = render(comparisons[case], "html")
    assert not re.search(r"<script|<link|<img|\son\w+=|https?://|@import|url\(", page)
    assert "default-src 'none'" in page
    assert len(re.findall("<h1", page)) == 1
    assert len(set(re.findall(r'href="#([\w-]+)"', page)) - set(re.findall(r'id="([\w-]+)"', page))) == 0


def test_no_paired_figure_is_shown_where_they_cannot_be_compared(comparisons):
    comparison = comparisons["not-comparable"]
    for text in (render(comparison, "html"), render(comparison, "md"), comparison_text(comparison)):
        assert "Mean best SSIM" not in text
        assert "AUC of" not in text
        assert "Members recovered" not in text
        assert "cannot be compared" in text


@pytest.mark.parametrize("text", ["<script>alert(1)</script> | `x` [y](z)", "a\u202eb\x1b[31mc", "WIDE" * 200])
def test_strangers_write_nothing_into_it(text):
    old, new = hostile(text), changed(hostile(text), model__sha256="f" * 64, model__architecture="other " + text)
    comparison = compare(old, new)
    page, markdown, plain = render(comparison, "html"), render(comparison, "md"), comparison_text(comparison)
    assert "<script" not in page
    for shown in (page, markdown, plain):
        assert not {"\u202e", "\x1b"} & set(shown)
    assert "<script" not in markdown
    cells = {line.replace("\\|", "").count("|") for line in markdown.splitlines() if line.startswith("| architecture")}
    assert cells == {5}


def test_says_who_is_better_by_more_than_colour(comparisons):
    page = render(comparisons["less"], "html")
    assert re.search(r'<span class="claim less"><span aria-hidden="true">↓</span> less</span>', page)
    assert "only-old" in page
    assert '<svg class="scatter"' in page
    assert page.count('class="dot ') == 60 + 4


@pytest.mark.parametrize("width", [60, 80, 140])
def test_text_keeps_to_its_width(width, comparisons, monkeypatch):
    monkeypatch.setattr("auditcli.terminal._comparison._WIDTH", width)
    for comparison in comparisons.values():
        text = comparison_text(comparison)
        assert max(map(len, text.splitlines())) <= width
        assert "\x1b" not in text


def test_the_page_fits(comparisons, tmp_path):
    with running(tmp_path) as browser:
        for case in ("less", "not-comparable"):
            with browser.open(browser.write(render(comparisons[case], "html"))) as visit:
                for width, height in HEIGHTS.items():
                    visit.page.set_viewport_size({"width": width, "height": height})
                    seen = visit.look()
                    assert seen["overflow"] <= 0, (case, width)
                    assert seen["wide"] == seen["spilt"] == [], (case, width)
            assert visit.asked == []
            assert visit.said == []


def test_compares_and_renders_without_torch(tmp_path):
    (tmp_path / "old.json").write_text(before().to_json())
    (tmp_path / "new.json").write_text(after(recovered=1).to_json())
    code = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'onnx', 'safetensors', 'skimage', 'matplotlib'):\n"
        "            raise ImportError(f'{name} is blocked')\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "from auditcli.__main__ import main\n"
        f"sys.exit(main(['compare', {str(tmp_path / 'old.json')!r}, {str(tmp_path / 'new.json')!r}, '-f', 'html']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "The new model leaks less" in done.stdout


def test_a_thousand_members_stay_small(comparisons):
    less = comparisons["less"]
    many = less.model_copy(update={"pairs": less.pairs * 17})
    assert len(render(many, "html").encode()) < 400_000
    assert json.loads(render(many, "json"))["n_members"] == 60
    assert set(VIEWS) == {"html", "md", "json"}
