"""The HTML page: no scripts, nothing from outside, everything escaped, and the words a signer needs."""

import re
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from report_examples import LEVELS, example, hostile, undrawn

from auditcli.report import render
from auditcli.report import schema as s
from auditcli.report.findings import findings
from auditcli.report.text import clean
from auditcli.report.wording import LEVELS as WORDS
from auditcli.resources import resource

ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}&lt;\u202e"
KINDS = ("reconstruction", "member", "control")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The tags of a page with the names of their attributes, and its text outside of the style sheet."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def layout(self) -> list[tuple[str, ...]]:
        """The tags without `code`: options inside a sentence are set as such."""
        return [tag for tag in self.tags if tag != ("code",)]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    return {level: Page(render(example(level), "html")) for level in LEVELS}


def test_every_tag_is_closed(pages):
    assert not [page.open for page in pages.values() if page.open]


def test_ids_are_there_once_and_links_lead_somewhere(pages):
    for page in pages.values():
        ids = [value for name, value in page.attributes if name == "id"]
        assert len(ids) == len(set(ids))
        links = [value for name, value in page.attributes if name in {"href", "xlink:href", "aria-labelledby"}]
        assert links
        assert {link.removeprefix("#") for link in links} <= set(ids)


def test_no_scripts_and_nothing_from_outside():
    text = render(hostile(ATTACK), "html")
    page = Page(text)
    assert not {tag[0] for tag in page.tags} & {"script", "iframe", "object", "embed", "link", "form", "base"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    sources = [value for name, value in page.attributes if name in {"src", "srcset", "action", "poster", "data"}]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_hostile_text_is_shown_and_not_obeyed():
    page = Page(render(hostile(ATTACK), "html"))
    assert page.tags == Page(render(hostile("benign"), "html")).tags
    assert page.text.count(clean(ATTACK)) > 100


@settings(max_examples=25, deadline=None)
@given(st.text(st.sampled_from("<>&\"'/!-=`{}%# \nax"), min_size=1, max_size=30) | st.text(min_size=1, max_size=30))
def test_no_text_changes_the_page(text):
    said, benign = (Page(render(undrawn(hostile(words)), "html")) for words in (text, "benign"))
    assert said.layout == benign.layout


@pytest.mark.parametrize("level", LEVELS)
def test_first_comes_the_verdict(pages, level):
    text = pages[level].text
    order = [text.index(part) for part in (WORDS[level].word, example(level).verdict.headline, "Why", "What to do")]
    assert order == sorted(order)
    assert WORDS[level].meaning in text


def test_each_level_has_its_own_icon_and_words():
    icons = {
        re.search(r'<svg class="icon".*?</svg>', render(undrawn(example(level)), "html"), re.DOTALL)[0]
        for level in LEVELS
    }
    assert len(icons) == len(LEVELS)
    assert len({words.meaning for words in WORDS.values()}) == len(LEVELS)


def test_inconclusive_is_not_a_pass(pages):
    assert "This is not a pass." in pages["inconclusive"].text
    assert "outside this scale" in pages["inconclusive"].text
    assert "is not a pass" not in pages["none-detected"].text


def test_none_detected_says_what_the_positive_control_recovered(pages):
    sentence = "kkt recovered 18 of 20 training images of the shipped leaky model mlp-16x16 at this budget: passed."
    assert pages["none-detected"].text.index(sentence) < pages["none-detected"].text.index("Why")
    controls = example("none-detected").controls.model_copy(update={"positive": ()})
    assert (
        "No positive control was run" in Page(render(undrawn(example("none-detected", controls=controls)), "html")).text
    )


def test_skipped_and_failed_do_not_look_like_passed():
    text = render(undrawn(example("none-detected")), "html")
    rows = re.findall(r'<tr class="(\w+)">(.*?)</tr>', text, re.DOTALL)
    outcomes = dict(rows)
    assert "Not run" in outcomes["skipped"]
    assert "Failed" in outcomes["failed"]
    assert "needs batch norm; this MLP has none" in text
    assert "the objective became NaN at step 212" in text
    for status in ("skipped", "failed"):
        assert "no result" in outcomes[status]
        assert "Scored" not in outcomes[status]


def test_interrupted_is_said_at_the_top():
    text = Page(render(undrawn(example("low", interrupted=True)), "html")).text
    assert text.index("Interrupted report.") < text.index("Verdict Low")
    assert "Interrupted report." not in Page(render(undrawn(example("low")), "html")).text


def test_redacted_report_holds_no_picture():
    text = render(undrawn(example("critical", pictures=False)), "html")
    assert "data:image" not in text
    assert text.count('title="not embedded: run with --include-images"') == 14 * 2
    assert text.count('title="left out: run with --reconstructions') == 14
    assert "Reconstructions are left out, for they may be training images" in text


def test_pictures_are_embedded_with_their_words(pages):
    images = [tag for tag in pages["critical"].tags if tag[0] == "img"]
    assert len(images) == len(example("critical").pictures)
    assert all("alt" in tag for tag in images)


def test_without_controls_similarities_are_uncalibrated():
    report = example("inconclusive")
    members = tuple(m.model_copy(update={"p_value": None, "q_value": None}) for m in example("low").members)
    controls = report.controls.model_copy(update={"n_members": len(members), "members_ssim": (0.2, 0.3)})
    text = Page(render(example("inconclusive", members=members, controls=controls), "html")).text
    assert "uncalibrated" in text
    assert "not measured: no controls were given" in text


def test_audit_without_any_attack_renders():
    empty = {"attacks": (), "membership": (), "gallery": (), "evidence": None}
    text = Page(render(example("inconclusive", **empty), "html")).text
    assert "No attack applied to this model." in text
    assert "There is nothing to draw" in text


def test_many_members_do_not_swell_the_page():
    member = example("low").members[0]
    members = tuple(member.model_copy(update={"id": f"{n}.png"}) for n in range(1500))
    page = Page(render(undrawn(example("low", members=members)), "html"))
    assert sum(name == "data-in" and value == "not-recovered" for name, value in page.attributes) == 1000
    assert "500 further members stand in report.json." in page.text


def test_a_large_report_stays_within_two_megabytes():
    rng = Random(0)
    noise = {f"gallery/{n:02}-{kind}.png": _noise(rng) for n in range(24) for kind in KINDS}
    gallery = tuple(
        s.GalleryItem(
            rank=n + 1,
            attack=f"attack {n % 3}",
            label=f"class {n % 10}",
            evidence="Restarts do not agree on it.",
            agreement=n / 24,
            ssim=1 - n / 24,
            control_ssim=0.3,
            member_id=f"members/a/long/name/{n:06}.png",
            control_id=f"controls/a/long/name/{n:06}.png",
            **{kind: _picture(noise, f"gallery/{n:02}-{kind}.png") for kind in KINDS},
        )
        for n in range(24)
    )
    low = example("low")
    ssims = tuple(rng.random() for _ in range(1000))
    points = tuple(s.TracePoint(step=n, objective=rng.random() + 0.1) for n in range(2000))
    roc = tuple(s.RocPoint(fpr=n / 2000, tpr=n / 2000) for n in range(2001))
    changes = {
        "gallery": (),
        "members": tuple(
            low.members[0].model_copy(update={"id": f"members/a/long/name/{n:06}.png"}) for n in range(1000)
        ),
        "controls": low.controls.model_copy(update={"members_ssim": ssims, "controls_ssim": ssims, "n_controls": 1000}),
        "attacks": tuple(low.attacks[0].model_copy(update={"name": f"attack {n}", "trace": points}) for n in range(3)),
        "membership": tuple(
            low.membership[0].model_copy(update={"signal": f"signal {n}", "roc": roc}) for n in range(12)
        ),
    }
    report = example("low", **changes).model_copy(update={"gallery": gallery}).with_pictures(noise)
    page = Page(render(report, "html"))
    assert sum(tag[0] == "img" for tag in page.tags) == 72
    assert len(render(report, "html").encode()) <= 2_000_000


def _noise(rng: Random) -> bytes:
    file = BytesIO()
    Image.frombytes("RGB", (64, 64), rng.randbytes(64 * 64 * 3)).save(file, "PNG")
    return file.getvalue()


def _picture(pictures: dict[str, bytes], file: str) -> s.Picture:
    return s.Picture(file=file, sha256=sha256(pictures[file]).hexdigest(), alt=file)


@pytest.mark.parametrize("form", ["html", "md", "card"])
@pytest.mark.parametrize("level", LEVELS)
def test_the_word_safe_appears_nowhere(level, form):
    text = render(undrawn(example(level)), form)
    assert not re.search(r"\bsafe(ly|r|st|ty)?\b", text, re.IGNORECASE)


def test_drawings_take_the_colours_of_the_page():
    drawings = re.findall(r'<svg class="drawing".*?</svg>', render(example("critical"), "html"), re.DOTALL)
    assert len(drawings) == 3
    for drawing in drawings:
        assert 'class="series-1"' in drawing
        assert "#" not in drawing
        assert "style" not in drawing


def test_every_drawing_is_there_in_words_and_figures(pages):
    labels = [value for name, value in pages["critical"].attributes if name == "aria-label"]
    for title in ("Similarity of members and controls", "Telling members from controls", "Objective over time"):
        assert any(label.startswith(f"{title}. ") for label in labels)
        assert f"{title}, in figures" in labels


def test_findings_are_told_by_kind_and_under_their_ids(pages):
    text = pages["critical"].text
    assert text.index("Leaks") < text.index("PA001 Training images were individually recovered") < text.index("Gaps")
    assert "Doubts" not in text
    assert "What to do: Do not publish these weights." in text
    assert "`" not in text
    for level in LEVELS:
        for finding in findings(example(level)):
            assert clean(finding.text) in pages[level].text
            assert finding.rule.meaning.replace("`", "") in pages[level].text
            assert ("id", finding.id) in pages[level].attributes


def test_a_reason_links_to_its_finding(pages):
    for level in LEVELS:
        links = {value for name, value in pages[level].attributes if name == "href"}
        assert {f"#{reason.id}" for reason in example(level).verdict.reasons if reason.id} <= links


def test_an_id_of_a_later_version_is_shown_and_leads_nowhere():
    verdict = example("low").verdict
    later = verdict.reasons[0].model_copy(update={"id": "PA999"})
    page = Page(render(undrawn(example("low", verdict=verdict.model_copy(update={"reasons": (later,)}))), "html"))
    assert "PA999" in page.text
    assert ("href", "#PA999") not in page.attributes


def test_what_was_tried_and_what_was_not_stands_beside_the_verdict(pages):
    first = pages["none-detected"].text.partition("What was tried, and what was not")[0]
    assert "3 attacks: kkt, span, noise" in first
    assert "Not run○ deep_inversion" in first
    assert "Failed✕ diffusion_prior, label_only" in first


def test_headings_go_down_one_step_at_a_time(pages):
    for page in pages.values():
        levels = [int(tag[0][1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag[0])]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(below <= above + 1 for above, below in pairwise(levels))


def test_nothing_moves():
    style = resource("templates", "report.css").read_text(encoding="utf-8")
    assert not re.search(r"\b(animation|transition|scroll-behavior)\b", style)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast_is_aa(level, dark):
    style = resource("templates", "report.css").read_text(encoding="utf-8")
    day, night = style.split("@media screen and (prefers-color-scheme: dark)")
    part = night.split("\n}\n")[0] if dark else day
    blocks = dict(re.findall(r"(:root|\[data-level=\"[\w-]+\"\]) \{(.*?)\}", part, re.DOTALL))
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[":root"] + blocks[f'[data-level="{level}"]']))
    texts = ("ink", "soft", "accent", "level", "good", "bad", "idle")
    for text in texts:
        for ground in ("paper", "surface", "tint"):
            assert contrast(colours[text], colours[ground]) >= 4.5, f"{text} on {ground}"
    for number in range(1, 7):
        assert contrast(colours[f"series-{number}"], colours["paper"]) >= 3
