"""`privaudit compare`: what goes where, and every exit code."""

import json

import pytest
from comparison_examples import after, before, changed

from auditcli.__main__ import main
from auditcli.report import schema as s


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr("auditcli.comparison._paired.RESAMPLES", 199)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def reports(tmp_path):
    def write(old, new):
        for name, report in (("old.json", old), ("new.json", new)):
            (tmp_path / name).write_text(report.to_json())
        return ["compare", "old.json", "new.json"]

    return write


def test_prints_text(reports, capsys):
    assert main(reports(before(), after(recovered=1))) == 0
    out = capsys.readouterr().out
    assert out.startswith(" LESS WAS FOUND  The new model leaks less: members recovered from 14 to 1 of 60")
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["--format", "json"], "{"),
        (["-f", "md"], "# "),
        (["-f", "html"], "<!doctype html>"),
        (["-f", "text"], " LESS"),
    ],
)
def test_prints_or_writes_a_format(reports, capsys, tmp_path, words, start):
    command = [*reports(before(), after(recovered=1)), *words]
    assert main(command) == 0
    assert capsys.readouterr().out.lstrip("\n").startswith(start)
    assert main([*command, "-o", "out.file"]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "out.file").read_text().startswith(start)


@pytest.mark.parametrize(
    ("name", "start"), [("c.html", "<!doctype"), ("c.md", "# "), ("c.json", "{"), ("c.txt", " LE")]
)
def test_the_suffix_names_the_format(reports, tmp_path, name, start):
    assert main([*reports(before(), after(recovered=1)), "--output", name]) == 0
    assert (tmp_path / name).read_text().startswith(start)


def later(report):
    return changed(report, manifest__started=after().manifest.finished, model__sha256="e" * 64)


def leveled(report, level):
    return changed(report, verdict=s.Verdict(level=level, headline="x", reasons=(), next_steps=(), mitigations=()))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (before, lambda: after(recovered=1), 0),
        (before, after, 0),
        (lambda: after(recovered=1), lambda: later(before()), 1),
        (lambda: leveled(before(), "low"), lambda: leveled(after(), "moderate"), 1),
        (before, lambda: after(model__input_shape=(3, 32, 32)), 3),
        (before, lambda: leveled(after(), "inconclusive"), 3),
        (before, lambda: after(interrupted=True), 3),
        (lambda: before(budget__profile="deep"), after, 3),
        (before, lambda: after(budget__profile="deep"), 0),
    ],
    ids=["less", "same", "more", "level", "forbidden", "inconclusive", "interrupted", "tried-less", "tried-more"],
)
def test_exit_codes(reports, capsys, old, new, code):
    command = reports(old(), new())
    assert main([*command, "-f", "json"]) == 0
    comparison = json.loads(capsys.readouterr().out)
    assert main([*command, "-f", "json", "--fail-on-worse"]) == code
    assert json.loads(capsys.readouterr().out) == comparison  # written before the code is chosen
    assert comparison["worse"] == (code == 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "old.json", "none.json"], "cannot read none.json"),
        (["compare", "old.json", "text.json"], "text.json is not JSON"),
        (["compare", "old.json"], "Missing argument 'NEW.json'"),
        (["compare", "old.json", "old.json", "-f", "pdf"], "'pdf' is not one of 'text', 'html', 'md', 'json'"),
        (["compare", "old.json", "new.json", "-o", "none/c.html"], "none/c.html cannot be written"),
    ],
)
def test_errors_are_one_line_and_a_hint(reports, capsys, tmp_path, words, message):
    reports(before(), after())
    (tmp_path / "text.json").write_text("no report")
    assert main(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert lines[1].startswith("hint:  ")
