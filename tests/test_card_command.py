"""`privaudit card`: what it writes, what it says, and its exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest
from card_examples import CARD
from huggingface_hub import ModelCard
from report_examples import example

from auditcli.__main__ import main

WINDOWS = b"\xef\xbb\xbf" + CARD.replace("\n", "\r\n").encode()


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A model's folder with its card, and two reports."""
    monkeypatch.chdir(tmp_path)
    for name in ("PRIVAUDIT_INCLUDE_IMAGES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for level in ("high", "critical"):
        example(level).save(level, ("json",))
    Path("README.md").write_bytes(WINDOWS)


@pytest.fixture
def without_hub(monkeypatch):
    for name in ("huggingface_hub", "yaml"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("_metadata", "_yaml"):
        monkeypatch.delitem(sys.modules, f"auditcli.report.card.{name}", raising=False)


def card(*words, report="high"):
    given = () if report is None else ("--report", f"{report}/report.json")
    return main(["card", "README.md", *given, *words])


def readme():
    return Path("README.md").read_bytes()


def test_a_card_of_the_hub_survives_ten_refreshes_and_a_removal(capsys):
    for _ in range(10):
        assert card("--gallery", "privaudit") == 0
    once = readme()
    assert once.startswith(b"\xef\xbb\xbf---\r\n")
    assert once.count(b"\n") == once.count(b"\r\n")
    loaded = ModelCard.load("README.md")
    assert next(one.metric_value for one in loaded.data.eval_results if one.source_name == "privaudit") == "high"
    assert card("--gallery", "privaudit", "--check") == 0
    assert card("--gallery", "privaudit", report="critical") == 0
    assert readme() != once
    assert card("--remove", report=None) == 0
    assert readme() == WINDOWS
    assert not Path("privaudit").exists()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("before", "words", "report", "parts"),
    [
        ((), (), "high", "section and metadata"),
        ((), ("--no-metadata",), "high", "section"),
        (("--no-metadata",), (), "high", "metadata"),
        ((), (), "critical", "section and metadata"),
        ((), ("--gallery", "p"), "high", "section and gallery"),
        (("--gallery", "p"), ("--gallery", "p", "--include-images"), "high", "section and gallery"),
        (("--metadata",), ("--no-metadata",), "high", "metadata"),
    ],
)
def test_a_check_names_the_stale_parts_and_writes_nothing(capsys, before, words, report, parts):
    if (before, words) not in {((), ()), ((), ("--no-metadata",))} or report == "critical":
        assert card(*before) == 0
    files = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert card(*words, "--check", report=report) == 1
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == files
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first == f"error: README.md is stale: {report}/report.json asks for another {parts}"
    assert second.startswith("hint:  privaudit card README.md --report")
    assert "--check" not in second
    assert main(second.split()[2:]) == 0
    assert card(*words, "--check", report=report) == 0


def test_a_check_for_removal(capsys):
    assert card("--remove", "--check", report=None) == 0
    assert card() == 0
    assert card("--remove", "--check", report=None) == 1
    assert "README.md is stale: its removal asks for another section and metadata" in capsys.readouterr().err


def test_a_card_without_front_matter_gets_one_only_if_asked():
    Path("README.md").write_bytes(b"# A model\n")
    assert card() == 0
    assert readme().startswith(b"# A model\n\n<!-- privaudit:begin -->\n")
    assert card("--metadata") == 0
    assert readme().startswith(b"---\nmodel-index:\n")
    assert card("--check") == 0
    assert card("--no-metadata", "--check") == 1
    assert card("--no-metadata") == 0
    assert readme().startswith(b"# A model\n")


def test_the_environment_of_a_scan_shows_no_image(monkeypatch):
    monkeypatch.setenv("PRIVAUDIT_INCLUDE_IMAGES", "1")
    assert card("--gallery", "privaudit") == 0
    assert {path.name.split("-")[0] for path in Path("privaudit").iterdir()} == {"reconstruction"}


def test_the_folder_of_the_gallery_is_that_of_the_card():
    Path("deep").mkdir()
    Path("README.md").rename("deep/README.md")
    assert main(["card", "deep/README.md", "--report", "high/report.json", "--gallery", "privaudit"]) == 0
    assert len(list(Path("deep/privaudit").iterdir())) == 14


# ---- without huggingface_hub ----------------------------------------------------------------------------------------


def test_without_huggingface_hub_the_section_is_written_and_a_line_says_so(without_hub, capsys):
    assert card() == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "note: the metadata is left out, for want of huggingface_hub: pip install 'privaudit[hf]'\n"
    assert b"model-index" in readme()
    assert b"name: privaudit" not in readme()
    assert card("--check") == 0
    assert card("--check", report="critical") == 1
    assert card("--remove", report=None) == 0
    assert readme() == WINDOWS
    capsys.readouterr()
    assert card("--no-metadata") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "report"),
    [((), "high"), (("--check",), "high"), (("--no-metadata",), "high"), (("--remove",), None)],
)
def test_without_huggingface_hub_metadata_that_is_there_is_no_pass(request, capsys, words, report):
    assert card() == 0
    once = readme()
    request.getfixturevalue("without_hub")
    assert card(*words, report=report) == 2
    assert "pip install 'privaudit[hf]'" in capsys.readouterr().err
    assert readme() == once


def test_without_huggingface_hub_metadata_cannot_be_asked_for(without_hub, capsys):
    assert card("--metadata") == 2
    assert "metadata can only be written with huggingface_hub" in capsys.readouterr().err
    assert readme() == WINDOWS


def test_runs_without_torch_and_huggingface_hub():
    code = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'huggingface_hub', 'yaml', 'ruamel'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "from auditcli.__main__ import main\n"
        "sys.exit(main(['card', 'README.md', '--report', 'high/report.json']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert readme().endswith(b"<!-- privaudit:end -->\r\n")


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words", "report", "message"),
    [
        (WINDOWS, (), None, "Missing option '--report'"),
        (WINDOWS, ("--remove",), "high", "--remove takes out"),
        (WINDOWS, ("--include-images",), "high", "--gallery DIR"),
        (WINDOWS, ("--gallery", "../x"), "high", "not a folder below that of the card"),
        (b"---\nmodel-index: []\n---\n", (), "high", "no list of results"),
        (b"---\na: [\n---\n", (), "high", "no YAML that can be read"),
        (b"text\n```\n", (), "high", "ends inside a block of code"),
        (b"<!-- privaudit:begin -->\n", (), "high", "only a privaudit:begin marker"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_everything_alone(capsys, content, words, report, message):
    Path("README.md").write_bytes(content)
    for check in ((), ("--check",)):
        assert card(*words, *check, report=report) == 2
        out, err = capsys.readouterr()
        assert out == ""
        first, second = err.splitlines()
        assert first.startswith("error: ")
        assert message in first
        assert second.startswith("hint:  ")
        assert readme() == content
        assert sorted(path.name for path in Path().iterdir()) == ["README.md", "critical", "high"]
