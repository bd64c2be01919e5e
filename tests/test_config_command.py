"""`privaudit config`: what would apply, and where it comes from; and what a fresh process loads for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from config_sample import asked, empty_repository, write

from auditcli.__main__ import main


@pytest.fixture(autouse=True)
def repository(monkeypatch, tmp_path):
    return empty_repository(monkeypatch, tmp_path)


@pytest.fixture
def audit(monkeypatch):
    return asked(monkeypatch)


def shown(capsys, *words):
    """Setting to (value, origin), of the JSON."""
    assert main(["config", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    return found, {row["name"]: (row["value"], row["origin"], row["where"]) for row in found["settings"]}


def test_every_origin(capsys, monkeypatch):
    write("budget = '5m'\n[scan]\nattack = ['kkt']\nseed = 1")
    monkeypatch.setenv("PRIVAUDIT_SEED", "2")
    found, rows = shown(capsys, "scan", "--fail-on", "low")
    assert (found["command"], found["file"]) == ("scan", "privaudit.toml")
    assert rows["budget"] == ("5m", "file", "privaudit.toml: budget")
    assert rows["attack"] == (["kkt"], "file", "privaudit.toml: scan.attack")
    assert rows["seed"] == (2, "environment", "PRIVAUDIT_SEED")
    assert rows["fail-on"] == ("low", "command line", "")
    assert rows["profile"] == ("standard", "default", "")
    assert rows["quiet"] == (False, "default", "")
    assert "config" not in rows
    assert "no-config" not in rows


@pytest.mark.parametrize("words", [[], ["scan"], ["--show"], ["scan", "m.onnx"], ["m.onnx", "--show"]])
def test_scan_is_what_is_shown_unless_told(capsys, words):
    found, rows = shown(capsys, *words)
    assert found["command"] == "scan"
    assert found["file"] is None
    assert {origin for _, origin, _ in rows.values()} == {"default"}


def test_options_without_a_command_are_those_of_scan(capsys):
    _, rows = shown(capsys, "--budget", "3m", "-q", "-o", "out")
    assert rows["budget"][:2] == ("3m", "command line")
    assert rows["quiet"][:2] == (True, "command line")
    assert rows["output"][:2] == ("out", "command line")


def test_what_a_command_needs_is_not_needed_to_show_its_settings(capsys):
    found, rows = shown(capsys, "render")
    assert found["command"] == "render"
    assert rows["format"] == (None, "default", "")


def test_another_file_or_none(capsys):
    write("seed = 1")
    write("seed = 2", "ci/other.toml")
    assert shown(capsys)[1]["seed"] == (1, "file", "privaudit.toml: seed")
    found, rows = shown(capsys, "--config", "ci/other.toml")
    assert Path(found["file"]) == Path("ci/other.toml")
    assert rows["seed"][:2] == (2, "file")
    found, rows = shown(capsys, "scan", "--no-config")
    assert found["file"] is None
    assert rows["seed"] == (0, "default", "")


def test_the_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    write("budget = '5m'\nattack = ['kkt', 'noise']")
    assert main(["config", "scan", "--seed", "4", "--redact"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:4] == ["command: scan", "settings file: privaudit.toml", "", "setting value from"]
    for line in (
        "budget 5m privaudit.toml: budget",
        "attack kkt, noise privaudit.toml: attack",
        "seed 4 command line",
        "redact yes command line",
        "include-images no default",
        "controls - default",
    ):
        assert line in lines
    assert max(map(len, out.splitlines())) <= 80


def test_no_file_is_said(capsys):
    assert main(["config"]) == 0
    assert "settings file: none, in this folder or above it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["scann"], "Did you mean 'scan'"),
        (["scan", "--seed", "x"], "'--seed'"),
        (["scan", "--bogus"], "--bogus"),
    ],
)
def test_what_the_command_refuses_is_refused(capsys, words, message):
    assert main(["config", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_a_wrong_file_is_refused_here_too(capsys):
    write("seed = 'x'")
    assert main(["config"]) == 2
    assert "'--seed' (privaudit.toml: seed)" in capsys.readouterr().err


def test_what_is_shown_is_what_an_audit_uses(audit, capsys, monkeypatch):
    write("budget = '2m'\nseed = 3\nshadows = 4\n[scan]\nprofile = 'deep'")
    monkeypatch.setenv("PRIVAUDIT_DEVICE", "cpu")
    words = ["m.onnx", "--seed", "5"]
    _, rows = shown(capsys, *words)
    assert main(words) == 0
    for name in ("seed", "profile", "device", "shadows", "redact"):
        assert rows[name][0] == audit[name]
    assert (rows["budget"][0], audit["budget"]) == ("2m", 120)


def test_a_fresh_process_loads_nothing_heavy():
    heavy = "{'torch', 'numpy', 'matplotlib', 'jinja2', 'onnx', 'transformers', 'scipy', 'PIL'}"
    code = (
        "import sys; from auditcli.__main__ import main; code = main(['config'])\n"
        f"assert code == 0 and not {heavy} & set(sys.modules), sorted(sys.modules)"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=120)
    assert done.returncode == 0, done.stderr


# ---- the page -------------------------------------------------------------------------------------------------------


PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"


def test_the_page_shows_what_its_file_gives(capsys, monkeypatch):
    text = PAGE.read_text(encoding="utf-8")
    write(text.partition("```toml\n")[2].partition("```")[0])
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PRIVAUDIT_DEVICE", "cpu")
    command, *answer = text.partition("```console\n$ privaudit ")[2].partition("```")[0].splitlines()
    assert main(command.split()) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == answer
