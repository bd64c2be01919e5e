"""What a person sees: widths, words beside colours, lines in a pipe, bars on a terminal, no control characters."""

import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cli_sample import sample_report
from hypothesis import given
from hypothesis import strategies as st
from report_examples import LEVELS, example
from rich.console import Console

from auditcli import terminal
from auditcli.report import schema
from auditcli.scoring.plan import plan
from auditcli.types import Progress

FILES = (Path("out/report.html"), Path("out/report.json"))


def console(width=80, **options) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False, **options)


def progress(step, seconds, attack="kkt", steps=100, left=65.0):
    return Progress(attack, step, steps, seconds, left, 0.125)


@pytest.mark.parametrize("level", ["none-detected", "low", "moderate", "high", "critical", "inconclusive"])
@pytest.mark.parametrize("verbose", [False, True])
def test_report_fits_eighty_columns_and_says_the_level_in_words(level, verbose):
    out = console()
    terminal.show_report(out, sample_report(level), FILES, verbose=verbose)
    text = out.file.getvalue()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert level.upper() in text
    assert "within 10 minutes" in " ".join(text.split())
    assert "0.91" in text
    assert "1 of 2" in text
    assert "skipped" in text
    assert "report  out/report.html" in text.replace("\\", "/")
    assert ("retrain" in text) == verbose
    assert "\x1b" not in text


def test_every_level_has_a_style():
    assert set(terminal.STYLES) == set(schema.LevelName.__args__)


def test_colours_on_a_terminal_and_none_where_they_are_not_wanted(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    out = console(force_terminal=True)
    terminal.show_report(out, sample_report("critical"), FILES)
    assert "\x1b[1;37;41m CRITICAL" in out.file.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    out = console(force_terminal=True)
    terminal.show_report(out, sample_report("critical"), FILES)
    assert "\x1b[1;37;41m" not in out.file.getvalue()
    assert "CRITICAL" in out.file.getvalue()


def test_quiet_report_is_one_line():
    out = console()
    terminal.show_report(out, sample_report("high"), (Path("x" * 200), *FILES), quiet=True)
    assert out.file.getvalue() == "high " + "x" * 200 + "\n"


@pytest.mark.parametrize("level", LEVELS)
def test_every_reason_is_behind_its_id(level):
    out = console(width=100)
    report = example(level, pictures=False)
    terminal.show_report(out, report, FILES)
    ids = re.findall(r"^ - (PA\d{3}) \S", out.file.getvalue(), re.M)
    assert ids == [reason.id for reason in report.verdict.reasons if reason.id]


def test_reasons_without_an_id_stay_in_line_with_the_others():
    report = example("critical", pictures=False)
    reasons = (*report.verdict.reasons, schema.Reason(text="No answer to that.", level="none-detected"))
    out = console()
    terminal.show_report(
        out, report.model_copy(update={"verdict": report.verdict.model_copy(update={"reasons": reasons})}), FILES
    )
    assert "\n -       No answer to that." in out.file.getvalue()


# ---- widths ---------------------------------------------------------------------------------------------------------


def everything(width):
    """All that is shown of a report, a model, a plan, plug-ins and settings, in a window of that width."""
    out = console(width=width)
    report = example("critical", pictures=False)
    terminal.show_report(out, report, FILES, verbose=True)
    terminal.show_profile(out, sample_report().model, verbose=True)
    terminal.show_plan(out, plan(20, 400, tests=2))
    terminal.show_prospect(out, plan(20, 400, tests=2))
    terminal.show_plugins(out, "membership", (Plugin("modified_entropy", requires=frozenset({"first-layer-linear"})),))
    terminal.show_config(
        out, "scan", "privaudit.toml", [("input-shape", "3,32,32", "privaudit.toml: scan.input-shape")]
    )
    return out.file.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_nothing_is_cut_and_nothing_runs_over(width):
    text = everything(width)
    assert "\u2026" not in text
    assert text.isascii()
    lines = [line for line in text.splitlines() if not re.match(r"report  |command: |settings file: ", line)]
    assert max(map(len, lines)) <= max(width, len("membership modified_entropy"))
    assert re.sub(r"\s", "", everything(1000)).count("0" * 64) == re.sub(r"\s", "", text).count("0" * 64) == 1


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_name_and_no_number_is_broken(width):
    words = everything(width).split()
    for word in (
        "diffusion_prior",
        "gradient_norm",
        "modified_entropy",
        "reconstruction",
        "0.90",
        "0.87",
        "input-shape",
    ):
        assert word in words, word


def test_a_table_that_does_not_fit_becomes_a_block_for_each_row():
    wide, narrow = console(width=40), console(width=20)
    for out in (wide, narrow):
        rows = [("gradient_norm", "0.98", "any model there is"), ("span", "1.00", "-")]
        terminal.show_table(out, ("signal", "AUC", "needs"), rows, prose=("needs",))
    assert [line.rstrip() for line in wide.file.getvalue().splitlines()] == [
        "signal         AUC   needs",
        "gradient_norm  0.98  any model there is",
        "span           1.00  -",
    ]
    assert [line.rstrip() for line in narrow.file.getvalue().splitlines()] == [
        "signal gradient_norm",
        "  AUC    0.98",
        "  needs  any model",
        "         there is",
        "signal span",
        "  AUC    1.00",
        "  needs  -",
    ]


def test_cells_are_text():
    out = console()
    terminal.show_table(out, ("a", "b"), [("[red]x[/red]", "\x1b[2J")])
    assert "[red]x[/red]" in out.file.getvalue()
    assert "\x1b" not in out.file.getvalue()


def test_error_lines():
    out = console()
    terminal.show_error(out, "[bold]not markup[/bold] " * 8, "do\nthis")
    first, second = out.file.getvalue().splitlines()
    assert first == "error: " + ("[bold]not markup[/bold] " * 8).strip()
    assert second == "hint:  do this"


def test_error_without_hint():
    out = console()
    terminal.show_error(out, "wrong")
    assert out.file.getvalue() == "error: wrong\n"


@given(st.text())
def test_plain_is_one_printable_line(text):
    shown = terminal.plain(text)
    assert shown == "" or shown.isprintable()
    assert len(shown.splitlines()) <= 1


def test_a_model_cannot_draw_on_the_terminal():
    out = console(width=200)
    terminal.show_profile(out, sample_report(architecture="\x1b[2J[red]x[/red]\r\n\u202ey").model)
    text = out.file.getvalue()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]x[/red]" in text


# ---- progress -------------------------------------------------------------------------------------------------------


def test_pipe_gets_a_line_at_the_start_now_and_then_and_at_the_end():
    out = console()
    with terminal.Display(out) as watch:
        for step in range(1, 101):
            watch(progress(step, seconds=float(step) / 2))
        watch(progress(1, 0.1, attack="noise"))
    lines = out.file.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "kkt: step 1 of 100",
        "kkt: step 31 of 100",
        "kkt: step 61 of 100",
        "kkt: step 91 of 100",
        "kkt: step 100 of 100",
        "noise: step 1 of 100",
    ]
    assert lines[0].endswith("best objective 0.125, 1:05 left")


def test_pipe_without_a_number_of_steps():
    out = console()
    with terminal.Display(out) as watch:
        watch(progress(5, 1.0, steps=0, left=3661.0))
    assert out.file.getvalue() == "kkt: step 5, best objective 0.125, 1:01:01 left\n"


def test_quiet_says_nothing():
    for out in (console(), console(force_terminal=True)):
        with terminal.Display(out, quiet=True) as watch:
            watch(progress(1, 1.0))
        assert out.file.getvalue() == ""


def test_terminal_gets_one_bar_for_each_attack():
    out = console(force_terminal=True, color_system=None)
    with terminal.Display(out) as watch:
        watch(progress(1, 1.0, attack="[bold]kkt"))
        watch(progress(50, 2.0, attack="[bold]kkt"))
        watch(progress(1, 0.0, attack="noise", steps=0, left=-1.0))
    last = out.file.getvalue().split("\x1b[2K")[-1]
    assert last.count("[bold]kkt") == 1
    assert last.count("noise") == 1
    assert "1:05 left" in last
    assert "0:00 left" in last


def test_bars_stop_where_the_audit_raises():
    out = console(force_terminal=True)

    def audit():
        with terminal.Display(out) as watch:
            watch(progress(1, 1.0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        audit()
    assert out.file.getvalue().rstrip().endswith("\x1b[?25h")


# ---- models and plug-ins --------------------------------------------------------------------------------------------


def test_profile_and_its_layers():
    out = console(width=200)
    terminal.show_profile(out, sample_report().model)
    text = out.file.getvalue()
    for part in ("16-8-2, relu", "1x4x4", "cat, dog", "mean 0.5, std 0.25", "--assume activation=gelu", "154"):
        assert part in text
    assert "fc1.weight" not in text
    out = console(width=200)
    terminal.show_profile(out, sample_report().model, verbose=True)
    assert "fc1.weight" in out.file.getvalue()


@dataclass(frozen=True)
class Plugin:
    name: str = "kkt"
    summary: str = "Match the weights."
    paper: str = "arXiv:2206.07758"
    requires: frozenset[str] = field(default_factory=frozenset)


def test_plugins():
    out = console(width=200)
    terminal.show_plugins(out, "attack", (Plugin(), Plugin("deep", requires=frozenset({"b", "a"}))))
    text = out.file.getvalue()
    assert "any model" in text
    assert "a, b" in text
    assert text.count("arXiv:2206.07758") == 2


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_consoles_write_to_the_present_streams(capsys, name):
    getattr(terminal, name)().print("hello")
    assert getattr(capsys.readouterr(), name[3:]) == "hello\n"


# ---- streams --------------------------------------------------------------------------------------------------------


ROOT = Path(__file__).resolve().parents[1]


def run(words, *, shell="{command}", **environment):
    """A process of its own, in a line of the shell that may redirect it; its exit code is that of the command."""
    given = {
        name: value for name, value in os.environ.items() if not re.match("PRIVAUDIT|FORCE_|NO_COLOR|TTY_|CLI", name)
    }
    command = f"{shlex.quote(sys.executable)} -m auditcli {words}"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell.format(command=command)}"],
        capture_output=True,
        env={**given, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment},
        timeout=60,
    )


@pytest.fixture
def critical(tmp_path):
    """A script that audits nothing and prints a critical report with a name that ASCII lacks."""
    path = tmp_path / "audit.py"
    path.write_text(
        "import sys, types\n"
        "sys.path.insert(0, sys.argv.pop(1))\n"
        "from cli_sample import sample_report\n"
        "from auditcli.types import Progress\n"
        "def audit(path, *, watch, **_):\n"
        "    for step in range(1, 1001):\n"
        "        watch(Progress('kkt', step, 1000, step / 100, 65.0, 0.125))\n"
        "    return sample_report('critical', labels=('caf\\u00e9',))\n"
        "module = types.ModuleType('auditcli.auditing')\n"
        "module.audit = audit\n"
        "sys.modules['auditcli.auditing'] = module\n"
        "from auditcli.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    return (
        f"{shlex.quote(sys.executable)} {path} {ROOT / 'tests'} scan m.onnx --format json --output {tmp_path / 'out'}"
    )


bash = pytest.mark.skipif(os.name == "nt", reason="the shell is bash")


@bash
@pytest.mark.parametrize(
    ("environment", "escapes", "colours"),
    [
        ({}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
        ({"FORCE_COLOR": "1", "TERM": "xterm-256color"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm-256color"}, True, False),
        ({"TTY_COMPATIBLE": "1", "TERM": "xterm-256color"}, True, True),
    ],
)
def test_a_pipe_is_coloured_where_asked_and_its_cursor_never_moves(critical, environment, escapes, colours):
    done = run("", shell=critical, **environment)
    assert done.returncode == 1
    assert (b"\x1b[" in done.stdout) is escapes
    assert bool(re.search(rb"\x1b\[[0-9;]*4[0-7]m", done.stdout)) is colours
    assert not re.search(rb"\x1b\[[0-9;?]*[A-KSTfhl]|\r", done.stdout + done.stderr)
    assert done.stderr.count(b"kkt: step") == 2


@bash
@pytest.mark.parametrize("redirection", ["| cat", "| head -1", "| head -c1", ">&-", "2>&-", ">&- 2>&-", "</dev/null"])
def test_the_exit_code_is_kept_whoever_reads(critical, redirection):
    done = run("", shell=f"{critical} {redirection}")
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@bash
@pytest.mark.parametrize("words", ["--help", "scan --help", "config", "schema"])
def test_half_of_an_answer_is_no_failure(words):
    done = run(words, shell="{command} | head -1")
    assert done.returncode == 0
    assert done.stderr == b""


@bash
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize("words", ["config", "schema"])
def test_a_full_disk_is_an_error_and_no_bug(words):
    done = run(words, shell="{command} > /dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: the output cannot be written: ")
    assert len(done.stderr.splitlines()) == 2


@bash
@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C"}]
)
def test_an_encoding_that_lacks_a_letter(critical, tmp_path, environment):
    done = run("", shell=f"{critical} -v", **environment)
    assert done.returncode == 1, done.stderr
    report = tmp_path / "out" / "report.json"
    for words in (
        f"render {report} --format json",
        "config caf\u00e9.onnx",
        "scan --help",
        "render ./caf\u00e9.json --format md",
    ):
        done = run(words, **environment)
        assert b"Traceback" not in done.stderr
        assert done.returncode == (2 if ".json --format md" in words else 0)
    assert run(f"render {report} --format json", **environment).stdout == report.read_bytes()


@bash
def test_quiet_is_one_line_in_a_pipe(critical):
    done = run("", shell=f"{critical} --quiet")
    assert (done.returncode, done.stderr) == (1, b"")
    assert re.fullmatch(rb"critical \S+report\.json\n", done.stdout)
