"""The command line: what reaches the audit, what comes out where, and every exit code."""

import json
import os
import shlex
import signal
import subprocess
import sys
import types as python_types
from pathlib import Path

import pytest
from cli_sample import sample_report

from auditcli.__main__ import main
from auditcli.errors import AttackError, LoadError, SampleError, UnknownModel, UsageError
from auditcli.scoring.plan import plan
from auditcli.types import Progress


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("PRIVAUDIT_") or name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


class FakeAudit:
    """Stands in for `auditcli.auditing.audit`: notes what it was given, and returns a report or raises."""

    def __init__(self):
        self.path = None
        self.options = {}
        self.report = sample_report()
        self.error = None

    def __call__(self, path, **options):
        self.path, self.options = path, options
        options["watch"](Progress("kkt", 10, 100, 1.0, 599.0, 0.25))
        if self.error is not None:
            raise self.error
        return self.report


@pytest.fixture
def audit(monkeypatch):
    fake = FakeAudit()
    module = python_types.ModuleType("auditcli.auditing")
    module.audit = fake
    monkeypatch.setitem(sys.modules, "auditcli.auditing", module)
    return fake


@pytest.fixture
def report_json(tmp_path):
    path = tmp_path / "in" / "report.json"
    path.parent.mkdir()
    path.write_text(sample_report("high").to_json())
    return path


def check_refused(capsys, words, *parts, hint=None):
    """Exit code 2, exactly two lines on stderr, nothing on stdout, nothing written."""
    before = sorted(map(str, Path().rglob("*")))
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("hint:  ")
    assert "Traceback" not in err
    for part in parts:
        assert part in first
    if hint is not None:
        assert hint in second
    assert sorted(map(str, Path().rglob("*"))) == before


# ---- scan -----------------------------------------------------------------------------------------------------------


def test_scan_is_the_default_command(audit):
    assert main(["model.safetensors", "--seed", "7"]) == 0
    assert audit.path == "model.safetensors"
    assert audit.options["seed"] == 7


def test_options_may_come_before_the_model(audit):
    assert main(["--seed", "7", "model.safetensors"]) == 0
    assert audit.options["seed"] == 7


def test_a_folder_without_a_dot_is_a_model(audit):
    Path("vit").mkdir()
    assert main(["vit"]) == 0
    assert audit.path == "vit"


def test_defaults(audit):
    assert main(["scan", "m.onnx"]) == 0
    watch, announce = audit.options.pop("watch"), audit.options.pop("announce")
    assert callable(watch)
    assert callable(announce)
    assert audit.options == {
        "reference": None,
        "controls": None,
        "budget": 600.0,
        "profile": "standard",
        "attacks": (),
        "settings": {},
        "device": "auto",
        "seed": 0,
        "mean": None,
        "std": None,
        "input_shape": None,
        "assume": {},
        "arch": "",
        "arch_arguments": {},
        "base": None,
        "backbone": None,
        "names": False,
        "reconstructions": "blurred",
        "include_images": False,
        "redact": False,
        "shadows": 0,
        "shadow_cache": None,
        "command": "privaudit scan m.onnx",
    }


def test_what_can_be_established_is_said_before_the_audit(audit, capsys):
    prospect = plan(50, 5, tests=2)
    for quiet in ([], ["--quiet"]):
        assert main(["scan", "m.onnx", *quiet]) == 0
        capsys.readouterr()
        audit.options["announce"](prospect)
        err = capsys.readouterr().err
        assert ("plan: 50 members, 5 controls; levels that can be given: " in err) is not bool(quiet)
        assert ("Add " in err) is not bool(quiet)


def test_every_option_reaches_the_audit(audit):
    words = (
        "scan /home/me/m.onnx --members in/members --holdout c.npz --budget 1h30m --profile deep --attack kkt --attack "
        "noise --device cuda:1 --seed 3 --mean 0.1,0.2,0.3 --std 1 --input-shape 3,8,9 --assume activation=gelu "
        "--assume heads=4 --arch mine/models.py:Net --arch-arg width=64 --arch-arg act=relu --include-images "
        "--set kkt.share=0.01 --set kkt.anneal=1 "
        "--reconstructions sharp --names "
        "--shadows 4 --shadow-cache kept --base hf://owner/base --backbone hf://owner/backbone"
    )
    assert main(words.split()) == 0
    audit.options.pop("watch")
    audit.options.pop("announce")
    assert audit.options == {
        "reference": Path("in/members"),
        "controls": Path("c.npz"),
        "budget": 5400.0,
        "profile": "deep",
        "attacks": ("kkt", "noise"),
        "settings": {"kkt": {"share": "0.01", "anneal": "1"}},
        "device": "cuda:1",
        "seed": 3,
        "mean": (0.1, 0.2, 0.3),
        "std": (1.0,),
        "input_shape": (3, 8, 9),
        "assume": {"activation": "gelu", "heads": "4"},
        "arch": "mine/models.py:Net",
        "arch_arguments": {"width": 64, "act": "relu"},
        "base": "hf://owner/base",
        "backbone": "hf://owner/backbone",
        "names": True,
        "reconstructions": "sharp",
        "include_images": True,
        "redact": False,
        "shadows": 4,
        "shadow_cache": Path("kept"),
        "command": f"privaudit {words}".replace("/home/me/", "").replace("in/", "").replace("mine/", ""),
    }
    assert type(audit.options["profile"]) is str


def test_options_come_from_the_environment_and_flags_win(audit, monkeypatch):
    monkeypatch.setenv("PRIVAUDIT_BUDGET", "90s")
    monkeypatch.setenv("PRIVAUDIT_SEED", "5")
    monkeypatch.setenv("PRIVAUDIT_FAIL_ON", "never")
    monkeypatch.setenv("PRIVAUDIT_INPUT_SHAPE", "1,2,3")
    audit.report = sample_report("critical")
    assert main(["scan", "m.onnx", "--seed", "6"]) == 0
    assert audit.options["budget"] == 90.0
    assert audit.options["seed"] == 6
    assert audit.options["input_shape"] == (1, 2, 3)


def test_no_environment_runs_code(audit, monkeypatch):
    monkeypatch.setenv("PRIVAUDIT_ARCH", "mymodels:Net")
    assert main(["scan", "m.onnx"]) == 0
    assert audit.options["arch"] == ""


def test_a_bad_value_in_the_environment(capsys, audit, monkeypatch):
    monkeypatch.setenv("PRIVAUDIT_FAIL_ON", "sometimes")
    check_refused(capsys, ["scan", "m.onnx"], "--fail-on", "sometimes", hint="privaudit scan --help")


@pytest.mark.parametrize(
    ("formats", "written"),
    [
        ([], {"report.json", "report.html", "report.md"}),
        (["json"], {"report.json"}),
        (["card", "html", "card"], {"report.json", "report.html", "card.md"}),
    ],
)
def test_report_is_written(audit, formats, written):
    options = [word for name in formats for word in ("--format", name)]
    assert main(["scan", "m.onnx", "--output", "deep/out", *options]) == 0
    assert {path.name for path in Path("deep/out").iterdir()} == written
    assert json.loads(Path("deep/out/report.json").read_text())["verdict"]["level"] == "none-detected"


def test_data_goes_to_stdout_and_talk_to_stderr(audit, capsys):
    assert main(["scan", "m.onnx"]) == 0
    out, err = capsys.readouterr()
    assert "NONE-DETECTED" in out
    assert "within 10 minutes" in out
    assert str(Path("privaudit-report/report.html")) in out
    assert "kkt: step 10 of 100" in err
    assert "kkt: step" not in out
    assert "\x1b" not in out + err
    assert all(len(line) <= 80 for line in out.splitlines())


def test_quiet(audit, capsys):
    assert main(["scan", "m.onnx", "-q", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"none-detected {Path('privaudit-report/report.json')}"]
    assert err == ""


@pytest.mark.parametrize(
    ("level", "fail_on", "code"),
    [
        ("none-detected", None, 0),
        ("moderate", None, 0),
        ("high", None, 1),
        ("critical", None, 1),
        ("inconclusive", None, 3),
        ("low", "low", 1),
        ("high", "critical", 0),
        ("critical", "never", 0),
        ("inconclusive", "never", 3),
    ],
)
def test_exit_code_follows_the_verdict_and_the_report_is_there(audit, level, fail_on, code):
    audit.report = sample_report(level)
    assert main(["scan", "m.onnx", *(["--fail-on", fail_on] if fail_on else [])]) == code
    assert json.loads(Path("privaudit-report/report.json").read_text())["verdict"]["level"] == level


def test_interrupted_audit_keeps_its_report(audit):
    audit.report = sample_report("critical", interrupted=True)
    assert main(["scan", "m.onnx"]) == 130
    assert json.loads(Path("privaudit-report/report.json").read_text())["interrupted"] is True


def test_interrupted_before_there_is_a_report(audit, capsys):
    audit.error = KeyboardInterrupt()
    assert main(["scan", "m.onnx"]) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert not Path("privaudit-report").exists()


@pytest.mark.parametrize("kind", [UsageError, LoadError, UnknownModel, SampleError, AttackError])
def test_errors_on_purpose(audit, capsys, kind):
    audit.error = kind("m.onnx: what was wrong,\nin two lines \x1b[31m", hint="privaudit inspect m.onnx")
    assert main(["scan", "m.onnx"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-2:] == [
        "error: m.onnx: what was wrong, in two lines \ufffd[31m",
        "hint:  privaudit inspect m.onnx",
    ]
    assert not Path("privaudit-report").exists()


def test_long_messages_stay_on_one_line(audit, capsys):
    audit.error = LoadError("word " * 100 + "end", hint="privaudit " + "x" * 200)
    assert main(["scan", "m.onnx", "-q"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_our_own_bug(audit, capsys):
    secret = "a value that no trace may show"  # noqa: F841
    audit.error = ZeroDivisionError("oops")
    assert main(["scan", "m.onnx"]) == 70
    err = capsys.readouterr().err
    assert "ZeroDivisionError: oops" in err
    assert "bug in privaudit" in err
    assert "no trace may show" not in err


@pytest.mark.parametrize(
    ("words", "part", "hint"),
    [
        ([], "no model", "privaudit MODEL"),
        (["scan"], "MODEL", "privaudit scan --help"),
        (["scann", "m.onnx"], "Did you mean 'scan'", "--help"),
        (["nothing"], "nothing", "--help"),
        (["m.onnx", "extra"], "extra", "privaudit scan --help"),
        (["m.onnx", "--bogus"], "--bogus", "privaudit scan --help"),
        (["m.onnx", "--profile", "fast"], "fast", "privaudit scan --help"),
        (["m.onnx", "--fail-on", "none-detected"], "none-detected", "privaudit scan --help"),
        (["m.onnx", "--format", "pdf"], "pdf", "privaudit scan --help"),
        (["m.onnx", "--seed", "-1"], "--seed", "privaudit scan --help"),
        (["m.onnx", "--seed", "x"], "--seed", "privaudit scan --help"),
        (["m.onnx", "--seed"], "--seed", "--help"),
        (["m.onnx", "--budget", "0"], "--budget", "--budget 10m"),
        (["m.onnx", "--budget", "soon"], "'soon'", "--budget 10m"),
        (["m.onnx", "--mean", "x"], "--mean", "--mean 0.5"),
        (["m.onnx", "--std", "0"], "--std", "--std 0.5"),
        (["m.onnx", "--input-shape", "28,28"], "28,28", "--input-shape 3,32,32"),
        (["m.onnx", "--assume", "gelu"], "gelu", "--assume activation=gelu"),
        (["m.onnx", "--include-images", "--redact"], "--redact", "one of them"),
        (["m.onnx", "--names", "--redact"], "--names and --redact", "one of them"),
        (["m.onnx", "--reconstructions", "sharp", "--redact"], "--redact", "one of them"),
        (["m.onnx", "--reconstructions", "dim"], "dim", "privaudit scan --help"),
        (["render"], "REPORT.json", "privaudit render --help"),
        (["render", "r.json"], "--format", "privaudit render --help"),
        (["render", "r.json", "--format", "html"], "r.json", "privaudit scan"),
        (["render", "r.json", "--format", "pdf"], "pdf", "privaudit render --help"),
        (["card", "README.md"], "--report", "privaudit card --help"),
        (["card", "README.md", "--report", "r.json"], "README.md", "README.md"),
        (["inspect", "nowhere.safetensors"], "nowhere.safetensors", ""),
    ],
)
def test_usage_errors(audit, capsys, words, part, hint):
    check_refused(capsys, words, part, hint=hint)
    assert audit.path is None


# ---- where the report goes ------------------------------------------------------------------------------------------


def test_foreign_folder_is_left_alone(audit, capsys):
    Path("docs").mkdir()
    Path("docs/report.html").write_text("mine")
    check_refused(capsys, ["m.onnx", "--output", "docs"], "docs", hint="--force")
    assert audit.path is None
    assert main(["m.onnx", "--output", "docs", "--force"]) == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"manifest": 1}', "[" * 100000, '{"manifest": null}'])
def test_a_foreign_report_json_is_left_alone(audit, capsys, content):
    Path("docs").mkdir()
    Path("docs/report.json").write_text(content)
    check_refused(capsys, ["m.onnx", "--output", "docs"], "docs", hint="--force")


def test_an_earlier_report_is_replaced(audit):
    for level in ("low", "moderate"):
        audit.report = sample_report(level)
        assert main(["m.onnx"]) == 0
        assert json.loads(Path("privaudit-report/report.json").read_text())["verdict"]["level"] == level


def test_an_empty_folder_is_fine(audit):
    Path("out").mkdir()
    assert main(["m.onnx", "--output", "out"]) == 0


def test_output_that_is_a_file(audit, capsys):
    Path("out").write_text("mine")
    check_refused(capsys, ["m.onnx", "--output", "out"], "out", hint="--output")
    check_refused(capsys, ["m.onnx", "--output", "out/below"], "out", hint="--output")


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_output_that_may_not_be_written(audit, capsys):
    Path("closed").mkdir(mode=0o500)
    check_refused(capsys, ["m.onnx", "--output", "closed/out"], "closed", hint="--output")


# ---- the other commands ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["html", "md", "card", "json"])
def test_render(report_json, capsys, name):
    from auditcli.report import read, render

    assert main(["render", str(report_json), "--format", name]) == 0
    out, err = capsys.readouterr()
    assert out == render(read(report_json), name)
    assert err == ""
    assert main(["render", str(report_json), "--format", name, "-o", "out.txt"]) == 0
    assert Path("out.txt").read_text(encoding="utf-8") == out
    assert sorted(path.name for path in Path().iterdir()) == ["in", "out.txt"]


def test_render_where_nothing_can_be_written(report_json, capsys):
    check_refused(capsys, ["render", str(report_json), "--format", "md", "-o", "no/out.md"], "out.md")
    check_refused(capsys, ["render", str(report_json), "--format", "md", "-o", "in"], "in")


def test_render_of_something_else(capsys):
    Path("r.json").write_text('{"schema_version": "1.0"}')
    check_refused(capsys, ["render", "r.json", "--format", "md"], "r.json")


def test_card(report_json, capsys):
    readme = Path("README.md")
    readme.write_bytes(b"# A model\r\n")
    words = ["card", "README.md", "--report", str(report_json)]
    assert main([*words, "--check"]) == 1
    assert "stale" in capsys.readouterr().err
    assert readme.read_bytes() == b"# A model\r\n"
    assert main(words) == 0
    written = readme.read_bytes()
    assert written.startswith(b"# A model\r\n")
    assert len(written) > 50
    assert main([*words, "--check"]) == 0
    assert main(words) == 0
    assert readme.read_bytes() == written


def test_card_that_is_no_text(report_json, capsys):
    Path("README.md").write_bytes(b"\xff\xfe")
    check_refused(capsys, ["card", "README.md", "--report", str(report_json)], "UTF-8")


def test_schema(capsys):
    from jsonschema import Draft202012Validator

    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(sample_report().to_json()))


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_lists_the_commands(capsys, word):
    assert main([word]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for command in ("scan", "inspect", "render", "card", "attacks", "schema", "demo"):
        assert f" {command} " in out


@pytest.mark.parametrize("command", ["scan", "inspect", "render", "card", "attacks", "schema", "demo"])
def test_every_command_has_help(capsys, command):
    assert main([command, "--help"]) == 0
    assert "Usage: privaudit" in capsys.readouterr().out


def test_version(capsys):
    import auditcli

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"privaudit {auditcli.__version__}\n"


def test_attacks_lists_every_plugin(capsys, monkeypatch):
    from auditcli.attacks import all_attacks
    from auditcli.membership import all_signals

    monkeypatch.setenv("COLUMNS", "200")
    assert main(["attacks"]) == 0
    out = capsys.readouterr().out
    for plugin in (*all_attacks(), *all_signals()):
        assert plugin.name in out
        assert plugin.paper.split()[0] in out


def test_demo_audits_the_shipped_model(audit, capsys):
    assert main(["demo", "--output", "out", "--fail-on", "never"]) == 0
    assert audit.path.name == "model.safetensors"
    assert audit.path.is_file()
    assert audit.options["reference"].is_file()
    assert audit.options["controls"].is_file()
    assert audit.options["include_images"] is True
    assert str(Path("out/report.html")) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("privaudit in", "inspect"), ("privaudit m.onnx --fail", "--fail-on"), ("privaudit ", "scan")],
)
def test_completion(capsys, monkeypatch, typed, offered):
    monkeypatch.setenv("_PRIVAUDIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
    main([])
    assert offered in capsys.readouterr().out.split()


# ---- a real process -------------------------------------------------------------------------------------------------


def process(*words, **options):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-m", "auditcli", *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        **options,
    )


def test_process_exit_code_and_streams(report_json):
    done = process("render", "nowhere.json", "--format", "md")
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line[:7] for line in done.stderr.splitlines()] == ["error: ", "hint:  "]


def test_a_reader_that_leaves_early_is_no_broken_policy(report_json):
    command = (
        f"set -o pipefail; {shlex.quote(sys.executable)} -m auditcli render in/report.json --format html | head -c1"
    )
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        timeout=120,
    )
    assert done.stdout == "<"
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_ctrl_c_in_a_process():
    script = (
        "import os, signal, sys, types\n"
        # A suite that a shell started in the background ignores Ctrl-C, and its children inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "module = types.ModuleType('auditcli.auditing')\n"
        "module.audit = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.modules['auditcli.auditing'] = module\n"
        "from auditcli.__main__ import main\n"
        "sys.exit(main(['m.onnx']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        timeout=120,
    )
    assert done.returncode == 130 != -signal.SIGINT
    assert "Traceback" not in done.stderr
