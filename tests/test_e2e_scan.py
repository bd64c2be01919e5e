"""Real audits through the command line: every exit code, and the report that lies there before it."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from auditcli.__main__ import main
from auditcli.effort import Effort
from auditcli.report import read

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "fixtures"
CNN = str(FIXTURES / "cnn-leaky" / "model.safetensors")
MLP = str(FIXTURES / "mlp-leaky" / "model.safetensors")
IMAGES = ("--members", str(FIXTURES / "cnn-leaky" / "members.npz"), "--controls", str(FIXTURES / "controls.npz"))
CALM = ("--profile", "quick", "--device", "cpu", "-o", "out")
TINY = Effort(steps=30, candidates=20, restarts=2, shuffles=3, shuffle_steps=5)


@pytest.fixture(autouse=True)
def workplace(monkeypatch, tmp_path):
    import auditcli.auditing  # noqa: F401

    for name in list(os.environ):
        if name.startswith("PRIVAUDIT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["auditcli.auditing"], "EFFORTS", {"quick": TINY})


@pytest.mark.parametrize(
    ("words", "code", "level"),
    [
        ((CNN, *IMAGES, "--fail-on", "critical"), 0, "high"),
        ((CNN, *IMAGES, "--fail-on", "never"), 0, "high"),
        ((CNN, *IMAGES, "--fail-on", "moderate"), 1, "high"),
        ((CNN,), 3, "inconclusive"),
        ((CNN, "--fail-on", "never"), 3, "inconclusive"),
    ],
)
def test_the_exit_code_follows_the_policy(capsys, words, code, level):
    assert main([*words, *CALM]) == code
    assert read(Path("out")).verdict.level == level
    out = capsys.readouterr().out
    assert level in out.lower()
    for name in ("report.json", "report.html", "report.md"):
        assert str(Path("out", name)) in out
        assert Path("out", name).stat().st_size > 500


def test_the_report_is_written_before_the_exit_code_is_chosen(monkeypatch):
    seen = []

    def look(ruling, *, interrupted):
        seen.extend(path.name for path in Path("out").iterdir())
        return 0

    monkeypatch.setattr("auditcli.cli.scan.exit_code", look)
    assert main([CNN, *CALM]) == 0
    assert {"report.json", "report.html", "report.md"} <= set(seen)


@pytest.mark.parametrize(
    "words",
    [
        ("nowhere.safetensors",),
        (CNN, "--attack", "guess"),
        (CNN, "--members", "nowhere"),
        (CNN, "--device", "toaster"),
        (CNN, "--members", str(FIXTURES / "controls.npz"), "--controls", str(FIXTURES / "controls.npz")),
    ],
)
def test_what_cannot_be_used_is_2_with_an_error_and_a_hint(capsys, words):
    assert main([*words, "--profile", "quick", "-o", "out"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line[:7] for line in err.splitlines()] == ["error: ", "hint:  "]
    assert not Path("out").exists()


def test_a_bug_of_ours_is_70_with_a_trace(capsys, monkeypatch):
    def broken(findings):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(sys.modules["auditcli.auditing"], "judge", broken)
    assert main([CNN, *CALM]) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "bug in privaudit" in err


def test_ctrl_c_is_130_and_the_report_is_there(monkeypatch):
    from auditcli import terminal

    def leave(self, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(terminal.Display, "__call__", leave)
    assert main([MLP, *CALM, "--fail-on", "never"]) == 130
    report = read(Path("out"))
    assert report.interrupted
    assert report.verdict.level == "inconclusive"


def test_demo(capsys):
    assert main(["demo", *CALM, "--fail-on", "never"]) == 0
    report = read(Path("out"))
    assert report.verdict.level in ("high", "critical")
    assert any(item.member is not None for item in report.gallery)
    assert str(Path("out", "report.html")) in capsys.readouterr().out
    assert main(["demo", *CALM]) == 1


def start(*words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "auditcli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        # A suite that a shell started in the background ignores Ctrl-C, and its children would inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL) if os.name == "posix" else None,
    )


def test_a_process_ends_with_the_code():
    process = start(CNN, *CALM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 3, err
    assert b"inconclusive" in out.lower()
    assert b"Traceback" not in err
    assert read(Path("out")).verdict.level == "inconclusive"


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_a_process_that_is_interrupted_leaves_a_report():
    # The deep profile would take minutes; the first line of progress says that the attack is under way.
    process = start(MLP, "--profile", "deep", "--device", "cpu", "-o", "out", "--attack", "kkt")
    try:
        for line in process.stderr:
            if b"kkt" in line:
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert read(Path("out")).interrupted
