"""What a person sees: widths, words beside colours, lines in a pipe, bars on a terminal, no control characters."""

import io
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cli_sample import sample_report
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from auditcli import terminal
from auditcli.report import schema
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
    assert "0.910" in text
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
