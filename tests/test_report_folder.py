"""Reports on disk: written whole, read with suspicion."""

import json
import os
from pathlib import Path

import pytest
from report_examples import example, undrawn

from auditcli.errors import LoadError, UsageError
from auditcli.report import read, render


@pytest.fixture(scope="module")
def critical():
    return undrawn(example("critical"))


@pytest.fixture
def saved(critical, tmp_path) -> Path:
    critical.save(tmp_path, ("json",))
    return tmp_path


def names(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_saves_the_report_and_its_pictures(critical, tmp_path):
    written = critical.save(tmp_path / "new" / "folder", ("md", "json", "html", "card"))
    assert [path.name for path in written] == ["report.md", "report.json", "report.html", "card.md"]
    assert names(tmp_path / "new" / "folder") == {*(path.name for path in written), *critical.pictures}
    assert written[1].read_text(encoding="utf-8") == critical.to_json()


def test_reads_back_what_was_saved(critical, saved):
    assert read(saved / "report.json") == critical
    assert read(saved).pictures == critical.pictures


def test_rendered_again_it_is_the_same_page(critical, saved):
    assert render(read(saved), "html") == render(critical, "html")


@pytest.mark.parametrize("name", ["../out.png", "/etc/passwd", "gallery/../../out.png", "gallery/a\\b.png", "out.png"])
def test_pictures_outside_the_folder_are_left_out(critical, saved, name):
    (saved.parent / "out.png").write_bytes(next(iter(critical.pictures.values())))
    value = json.loads(critical.to_json())
    value["gallery"][0]["reconstruction"]["file"] = name
    (saved / "report.json").write_text(json.dumps(value), encoding="utf-8")
    report = read(saved)
    assert name not in report.pictures
    assert "missing beside the report, or was altered" in render(report, "html")


def test_altered_picture_is_left_out(critical, saved):
    file = next(iter(critical.pictures))
    (saved / file).write_bytes((saved / file).read_bytes() + b"\0")
    report = read(saved)
    assert set(report.pictures) == set(critical.pictures) - {file}
    assert f"left out: {file} is missing beside the report, or was altered" in render(report, "md")


def test_linked_picture_is_left_out(critical, saved, tmp_path_factory):
    file = next(iter(critical.pictures))
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    (saved / file).rename(elsewhere)
    (saved / file).symlink_to(elsewhere)
    assert file not in read(saved).pictures


def test_does_not_write_through_a_linked_gallery(critical, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "gallery").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a link"):
        critical.save(tmp_path / "report", ("json",))
    assert not names(tmp_path / "elsewhere")


def test_replaces_a_linked_report_instead_of_following_it(critical, tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").symlink_to(precious)
    critical.save(tmp_path / "out", ("json",))
    assert precious.read_text() == "mine"
    assert not (tmp_path / "out" / "report.json").is_symlink()


def test_pictures_of_the_report_before_do_not_outlive_it(critical, saved):
    (saved / "gallery" / "mine.png").write_bytes(b"not the report's")
    undrawn(example("critical", pictures=False)).save(saved, ("json",))
    assert names(saved) == {"report.json", "gallery/mine.png"}


def test_a_failed_write_leaves_the_old_report(critical, saved, monkeypatch):
    before = (saved / "report.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        undrawn(example("low")).save(saved, ("json",))
    assert (saved / "report.json").read_bytes() == before
    assert not [name for name in names(saved) if name.startswith(".")]


def test_output_that_is_a_file(critical, tmp_path):
    (tmp_path / "report").write_text("")
    with pytest.raises(UsageError, match="cannot be written") as caught:
        critical.save(tmp_path / "report")
    assert "--output" in caught.value.hint


def test_unknown_format(critical, tmp_path):
    with pytest.raises(UsageError, match="'pdf'") as caught:
        critical.save(tmp_path, ("json", "pdf"))
    assert "html" in caught.value.hint
    assert not names(tmp_path)


def _changed(**changes: object) -> str:
    return json.dumps(json.loads(undrawn(example("low")).to_json()) | changes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "no schema_version"),
        ("{}", "no schema_version"),
        ('{"schema_version": "1.0"}', "Field required at verdict"),
        (_changed(schema_version="2.0"), "schema_version '2.0', this privaudit reads '1.0'"),
        (_changed(schema_version={"\x1b[31m": 1}), "schema_version"),
        (_changed(surprise=1), "Extra inputs are not permitted at surprise"),
        (_changed(interrupted="perhaps"), "valid boolean.* at interrupted"),
    ],
)
def test_refuses_what_is_no_report(tmp_path, content, message):
    (tmp_path / "report.json").write_text(content, encoding="utf-8")
    with pytest.raises(LoadError, match=message) as caught:
        read(tmp_path / "report.json")
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert caught.value.hint


def test_refuses_nan(tmp_path):
    value = undrawn(example("low")).to_json().replace('"alpha": 0.05', '"alpha": NaN')
    (tmp_path / "report.json").write_text(value)
    with pytest.raises(LoadError, match="finite"):
        read(tmp_path)


def test_missing_report(tmp_path):
    with pytest.raises(LoadError, match=r"cannot read .*absent\.json") as caught:
        read(tmp_path / "absent.json")
    assert "privaudit scan" in caught.value.hint


def test_views_of_another_report_do_not_outlive_it(critical, tmp_path):
    critical.save(tmp_path, ("json", "html"))
    undrawn(example("critical", pictures=False)).save(tmp_path, ("json",))
    assert names(tmp_path) == {"report.json"}


def test_views_of_the_same_report_stay(critical, tmp_path):
    critical.save(tmp_path, ("json", "md"))
    critical.save(tmp_path, ("html",))
    assert {"report.json", "report.md", "report.html"} <= names(tmp_path)


def test_pictures_go_where_the_earlier_report_cannot_be_read(critical, saved):
    (saved / "report.json").write_text("{", encoding="utf-8")
    undrawn(example("critical", pictures=False)).save(saved, ("json",))
    assert names(saved) == {"report.json"}
