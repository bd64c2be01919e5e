"""`privaudit explain`, from the file of a model to its page."""

import io
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from auditcli import terminal
from auditcli.__main__ import main
from auditcli.explanation import Explanation, render, schema, wording
from auditcli.resources import resource

MODEL = resource("fixtures", "mlp-leaky") / "model.safetensors"
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
PLACE = schema.Place(row=2, column=22, side=4)
SHARE = schema.Interval(value=0.5, low=0.4, high=0.6)


def example(name="class 3", found=True):
    """An explanation without a model."""
    one = schema.Shortcut(label=3, name=name, place=PLACE, score=4.5, share=0.3, turned=0.4, turned_elsewhere=0.0)
    shapes = {"bytes": 1, "format": "safetensors", "family": "mlp", "parameters": 7850, "input_shape": (1, 28, 28)}
    return Explanation(
        model=schema.Model(
            **{"path": f"{name}.safetensors", "sha256": "0" * 64, "architecture": "784-10", "classes": 10, **shapes},
            labels=(name,),
            mean=(0.0,),
            std=(1.0,),
            identified_by="shapes",
            **dict.fromkeys(("traits", "evidence", "assumptions", "layers"), ()),
        ),
        seconds=60,
        seconds_used=12.5,
        device="cpu",
        seed=0,
        privaudit="0",
        finished=datetime(2026, 1, 2, tzinfo=UTC),
        command="privaudit explain",
        shortcut=schema.ShortcutPart(
            status="done",
            reason="",
            seconds=1,
            found=found,
            score=4.5 if found else 2.0,
            threshold=2.9,
            side=4,
            backgrounds=16,
            shortcuts=(one,) if found else (),
            nearest=one,
            classes=(
                schema.Evidence(
                    label=3,
                    name=name,
                    confidence=0.9,
                    **dict.fromkeys(("image", "evidence", "dependence"), DOT),
                    dependence_frame=(1, 1, 26, 26),
                ),
            ),
            interventions=(
                schema.Intervention(
                    what="unchanged",
                    place=None,
                    right=SHARE,
                    n=40,
                    **dict.fromkeys(("elsewhere", "followed", "followed_elsewhere")),
                ),
                schema.Intervention(
                    what="swapped",
                    place=PLACE,
                    n=40,
                    **dict.fromkeys(("right", "elsewhere", "followed", "followed_elsewhere"), SHARE),
                ),
            ),
            labelled=True,
        ),
        gallery=schema.GalleryPart(
            status="done",
            reason="",
            seconds=2,
            steps=100,
            planned=300,
            agreement=0.9,
            classes=(schema.GalleryClass(label=3, name=name, confidence=0.5, images=DOT, n=6),),
        ),
        novelty=schema.NoveltyPart(
            status="done",
            reason="",
            seconds=1,
            steps=150,
            known_by="reference",
            n_known=30,
            n_held_back=30,
            images=(schema.NoveltyImage(id="abc", score=1.5, doubt=0.2, p_value=0.03),),
        ),
    )


class Links(HTMLParser):
    """What a page refers to, its ids, and pictures without words."""

    def __init__(self, page):
        super().__init__()
        self.refers, self.ids, self.mute, self.scripts = [], set(), [], 0
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.refers += [given[name] for name in ("href", "src", "action", "poster") if name in given]
        self.ids |= {given["id"]} if "id" in given else set()
        self.scripts += tag == "script" or any(name.startswith("on") for name in given)
        if (tag == "img" and not given.get("alt")) or (tag == "svg" and not given.get("aria-label")):
            self.mute.append(given)


# ---- the page -------------------------------------------------------------------------------------------------------


def test_the_page_asks_for_nothing_and_names_its_pictures():
    page = render(example(), "html")
    links = Links(page)
    assert all(one.startswith(("#", "data:image/png;base64,")) for one in links.refers)
    assert {one[1:] for one in links.refers if one.startswith("#")} <= links.ids
    assert "default-src 'none'" in page
    assert not links.mute
    assert not links.scripts
    assert "://" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_the_page_says_that_it_is_no_verdict():
    for found in (True, False):
        page = render(example(found=found), "html")
        assert wording.NO_VERDICT in page
        assert not re.search(r"\bsafe\b", page, re.IGNORECASE)


def test_names_of_strangers_are_text():
    page = render(example("<script>alert(1)</script>\u202ecat"), "html")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page


def test_what_was_not_found_is_not_framed():
    assert "stands-out" in render(example(), "html").split("</style>")[1]
    page = render(example(found=False), "html").split("</style>")[1]
    assert "stands-out" not in page
    assert "No place stands out" in page


def test_the_json_is_read_back():
    made = example()
    assert Explanation.model_validate_json(made.to_json()) == made


@pytest.mark.parametrize("found", [True, False])
def test_the_terminal_shows_it_in_eighty_columns(found):
    file = io.StringIO()
    terminal.show_explanation(Console(file=file, width=80), example("name\x1b[31m " * 9, found=found), [])
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "This is no verdict." in text


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """The command on a shipped model, with images and reference."""
    folder = tmp_path_factory.mktemp("explained")
    with np.load(resource("fixtures", "controls.npz")) as held:
        np.savez(folder / "images.npz", images=held["images"][:30], labels=held["labels"][:30])
        np.savez(folder / "reference.npz", images=held["images"][30:90], labels=held["labels"][30:90])
    words = ["explain", str(MODEL), "--output", str(folder / "out"), "--budget", "12s", "--device", "cpu"]
    words += ["--images", str(folder / "images.npz"), "--reference", str(folder / "reference.npz")]
    return main(words), folder / "out"


def test_the_command_does_every_part(explained):
    code, folder = explained
    assert code == 0
    found = Explanation.model_validate_json((folder / "explanation.json").read_text(encoding="utf-8"))
    assert found.shortcut.status in ("done", "failed")
    assert {part.status for part in (found.gallery, found.novelty)} <= {"done", "failed"}
    assert all(part.reason for part in (found.shortcut, found.gallery, found.novelty) if part.status == "failed")
    if found.novelty.status == "done":
        assert len(found.novelty.images) == 30
        scores = [image.score for image in found.novelty.images]
        assert scores == sorted(scores, reverse=True)
        assert all(0 < image.p_value <= 1 for image in found.novelty.images)


def test_no_image_of_the_auditor_is_in_the_page(explained):
    page = (explained[1] / "explanation.html").read_text(encoding="utf-8")
    shown = page.count("data:image/png")
    found = json.loads((explained[1] / "explanation.json").read_text(encoding="utf-8"))
    assert shown == 3 * len(found["shortcut"]["classes"]) + len(found["gallery"]["classes"])
    assert "images.npz#" not in page


def test_a_second_of_budget_ends_with_reasons(tmp_path, capsys):
    words = ["explain", str(MODEL), "--output", str(tmp_path / "out"), "--budget", "1s", "--device", "cpu", "-q"]
    assert main(words) == 0
    found = Explanation.model_validate_json((tmp_path / "out" / "explanation.json").read_text(encoding="utf-8"))
    assert found.gallery.status == "failed"
    assert "budget ended" in found.gallery.reason
    assert found.novelty.status == "skipped"
    assert "not done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "never"], "--budget"),
        (["--images", "nowhere.npz"], "nowhere.npz"),
        (["--device", "abacus"], "--device"),
    ],
)
def test_what_cannot_be_used_is_two(tmp_path, capsys, words, said):
    assert main(["explain", str(MODEL), "--output", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years")
    assert main(["explain", str(MODEL), "--output", str(tmp_path)]) == 2
    assert "nothing foreign is written over" in capsys.readouterr().err
    (tmp_path / "explanation.json").write_text(example().to_json())
    from auditcli import destination

    destination.require_usable(tmp_path)
