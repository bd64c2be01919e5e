"""The pictures beside a model card: none unless asked for, never the auditor's by accident, and gone when they go."""

import os
import re
from hashlib import sha256
from pathlib import Path

import pytest
from card_examples import CARD
from report_examples import example, hostile, undrawn

from auditcli.errors import UsageError
from auditcli.report.card import refreshed, removed

REPORT = undrawn(example("critical")).with_pictures(example("critical").pictures)
BARE = undrawn(example("critical", pictures=False))
OTHER = undrawn(example("inconclusive")).with_pictures(example("inconclusive").pictures)
ORIGINALS = {item.member.sha256 for item in REPORT.gallery if item.member} | {
    item.control.sha256 for item in REPORT.gallery
}
RECONSTRUCTIONS = {item.reconstruction.sha256 for item in REPORT.gallery}


def write(home, report, **options):
    """Refreshes `README.md` in a folder and returns the draft."""
    readme = home / "README.md"
    text = readme.read_bytes().decode() if readme.exists() else CARD
    draft = refreshed(text, home, report, metadata=False, **options)
    draft.pictures.write()
    readme.write_bytes(draft.text.encode())
    draft.pictures.clear()
    return draft


def hashes(home):
    return {sha256(path.read_bytes()).hexdigest() for path in home.rglob("*.png")}


def images(text):
    return dict(re.findall(r'<img src="([^"]+)" width="96" alt="([^"]*)">', text))


def test_no_picture_unless_asked_for(tmp_path):
    draft = write(tmp_path, REPORT)
    assert images(draft.text) == {}
    assert hashes(tmp_path) == set()
    assert not draft.pictures


def test_the_reconstructions_lie_beside_the_card(tmp_path):
    draft = write(tmp_path, REPORT, gallery="privaudit")
    shown = images(draft.text)
    assert len(shown) == len(REPORT.gallery) == 14
    assert hashes(tmp_path) == RECONSTRUCTIONS
    assert not hashes(tmp_path) & ORIGINALS
    assert all((tmp_path / file).is_file() for file in shown)
    assert all(re.fullmatch(r"privaudit/reconstruction-\d{3}-[0-9a-f]{12}\.png", file) for file in shown)
    assert all(alt.startswith("Reconstruction ") for alt in shown.values())
    assert "The auditor's own images are not shown." in draft.text
    names = {item.member_id for item in REPORT.gallery} | {item.control_id for item in REPORT.gallery}
    assert not [name for name in names if name in draft.text]


def test_originals_take_a_second_word(tmp_path):
    draft = write(tmp_path, REPORT, gallery="privaudit", originals=True)
    assert hashes(tmp_path) == RECONSTRUCTIONS | ORIGINALS
    assert draft.text.count("| not shown |") == sum(item.member is None for item in REPORT.gallery) > 0
    assert "are not shown." not in draft.text
    write(tmp_path, REPORT, gallery="privaudit")
    assert hashes(tmp_path) == RECONSTRUCTIONS


def test_ten_refreshes_change_nothing(tmp_path):
    write(tmp_path, REPORT, gallery="privaudit")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "privaudit").iterdir()}
    for _ in range(10):
        assert write(tmp_path, REPORT, gallery="privaudit").stale == ()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "privaudit").iterdir()} == before


@pytest.mark.parametrize("options", [{}, {"gallery": "elsewhere/deep"}, {"gallery": "privaudit"}])
def test_an_earlier_gallery_goes_and_foreign_files_stay(tmp_path, options):
    write(tmp_path, REPORT, gallery="privaudit")
    pictures = sorted((tmp_path / "privaudit").iterdir())
    altered, foreign = pictures[0], tmp_path / "privaudit" / "reconstruction-001.png"
    altered.write_bytes(b"mine now")
    foreign.write_bytes(b"foreign")
    write(tmp_path, OTHER, **options)
    left = set((tmp_path / "privaudit").iterdir())
    assert {altered, foreign} <= left
    assert not left & set(pictures[1:])
    assert len(images((tmp_path / "README.md").read_text())) == (len(OTHER.gallery) if options else 0)


def test_removing_takes_the_pictures_and_their_folder(tmp_path):
    write(tmp_path, REPORT, gallery="a/privaudit", originals=True)
    draft = removed((tmp_path / "README.md").read_bytes().decode(), tmp_path)
    assert draft.stale == ("section", "gallery")
    draft.pictures.clear()
    assert draft.text == CARD
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["README.md", "a"]


def test_a_report_without_pictures_says_so(tmp_path):
    draft = write(tmp_path, BARE, gallery="privaudit")
    assert draft.notes == ("the report has no picture that may be shown; the card has none",)
    assert images(draft.text) == {}
    assert not (tmp_path / "privaudit").exists()


def test_a_picture_that_is_missing_or_altered_is_stale(tmp_path):
    write(tmp_path, REPORT, gallery="privaudit")
    first, second, *_ = sorted((tmp_path / "privaudit").iterdir())
    first.unlink()
    second.write_bytes(b"altered")
    draft = refreshed((tmp_path / "README.md").read_text(), tmp_path, REPORT, metadata=False, gallery="privaudit")
    assert draft.stale == ("gallery",)
    assert set(draft.pictures.written) == {first, second}
    write(tmp_path, REPORT, gallery="privaudit")
    assert hashes(tmp_path) == RECONSTRUCTIONS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "not a folder below"),
        (".", "not a folder below"),
        ("..", "not a folder below"),
        ("a/../../b", "not a folder below"),
        ("/etc", "not a folder below"),
        ("a\\b", "works? on every machine|does not work"),
        ("c:x", "does not work"),
        ("a\u202eb", "does not work"),
        ("a\nb", "does not work"),
        ("link", "through a link"),
        ("link/deep", "through a link"),
        ("file", "is a file"),
        ("file/deep", "is a file"),
    ],
)
def test_a_folder_that_could_lead_elsewhere_is_refused(tmp_path, name, message):
    home, outside = tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    outside.mkdir()
    (home / "link").symlink_to(outside)
    (home / "file").touch()
    with pytest.raises(UsageError, match=message) as caught:
        write(home, REPORT, gallery=name)
    assert "\n" not in caught.value.message
    assert "--gallery privaudit" in caught.value.hint
    assert list(outside.iterdir()) == []


def test_a_link_in_the_place_of_a_picture_is_replaced_and_not_followed(tmp_path):
    write(tmp_path, REPORT, gallery="privaudit")
    place = sorted((tmp_path / "privaudit").iterdir())[0]
    content, outside = place.read_bytes(), tmp_path / "outside.txt"
    outside.write_text("kept")
    place.unlink()
    place.symlink_to(outside)
    write(tmp_path, REPORT, gallery="privaudit")
    assert outside.read_text() == "kept"
    assert place.read_bytes() == content
    assert not place.is_symlink()


@pytest.mark.parametrize("source", ["../outside", "/etc", "link", "%2e%2e/outside"])
def test_a_section_cannot_name_pictures_elsewhere(tmp_path, source):
    home, outside = tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    write(home, REPORT, gallery="privaudit")
    (home / "privaudit").rename(outside)
    (home / "link").symlink_to(outside)
    readme = home / "README.md"
    readme.write_text(readme.read_text().replace('src="privaudit/', f'src="{source}/'))
    write(home, REPORT)
    assert hashes(outside) == RECONSTRUCTIONS


def test_the_text_of_a_stranger_stays_text(tmp_path):
    report = undrawn(hostile('"> <img src="x/reconstruction-001-000000000000.png"> | <!-- privaudit:end -->'))
    named = {picture.file for picture in report.named_pictures()}
    report = report.with_pictures({file: REPORT.pictures[file] for file in named})
    draft = write(tmp_path, report, gallery="privaudit", originals=True)
    assert draft.text.count("<img") == len(images(draft.text)) == len(hashes(tmp_path))
    assert write(tmp_path, report, gallery="privaudit", originals=True).stale == ()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path):
    Path(tmp_path / "privaudit").mkdir(mode=0o500)
    with pytest.raises(UsageError, match="cannot be written to"):
        write(tmp_path, REPORT, gallery="privaudit")
