"""`privaudit verify` and `privaudit scan --policy` as they are typed: exit codes, what is printed, what is refused."""

import json
import os
import subprocess
import sys
import types as python_types
from hashlib import sha256
from pathlib import Path

import pytest
from report_examples import example, hostile

from auditcli.__main__ import main
from auditcli.loading import model_sha256

ROOT = Path(__file__).resolve().parents[1]
DAY = ["--today", "2026-03-10"]
WAIVED = "".join(
    f'[[waivers]]\nid = "{id}"\nreason = "the images are public"\nexpires = 2026-03-31\n' for id in ("PA001", "PA006")
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("PRIVAUDIT_") or name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def of_model(report, sha):
    """The same report as one of a model with that hash."""
    files = tuple(f.model_copy(update={"sha256": sha}) if f.role == "model" else f for f in report.manifest.files)
    return report.model_copy(
        update={
            "model": report.model.model_copy(update={"sha256": sha}),
            "manifest": report.manifest.model_copy(update={"files": files}),
        }
    )


@pytest.fixture
def words(tmp_path):
    """The command line for a report of that level and its model."""

    def written(level="none-detected", policy="", report=None):
        model = tmp_path / "model.safetensors"
        model.write_bytes(b"weights of a model")
        audited = report or example(level, pictures=False)
        Path("report.json").write_text(of_model(audited, sha256(model.read_bytes()).hexdigest()).to_json())
        Path("policy.toml").write_text(policy)
        return ["verify", "report.json", "--model", "model.safetensors", "--policy", "policy.toml", *DAY]

    return written


# ---- exit codes and what is printed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "policy", "code", "last"),
    [
        ("none-detected", "", 0, "PASSED model.safetensors: all 5 demands met, as of 2026-03-10."),
        ("critical", "", 1, "BROKEN model.safetensors: 1 of 5 demands not met, as of 2026-03-10."),
        ("critical", WAIVED, 0, "all 7 demands met, 1 of them by a waiver"),
        ("inconclusive", "", 3, "INCONCLUSIVE model.safetensors: this is not a pass"),
        ("inconclusive", 'minimum_budget = "2h"', 1, "BROKEN"),
    ],
)
def test_the_outcome_is_the_exit_code_and_the_last_line(words, capsys, level, policy, code, last):
    assert main(words(level, policy)) == code
    out, err = capsys.readouterr()
    assert err == ""
    assert last in " ".join(out.split("\n\n")[-1].split())
    assert max(map(len, out.splitlines())) <= 80


def test_every_demand_has_a_line_with_what_is_wanted_and_what_was_found(words, capsys):
    policy = 'maximum_age = "90d"\nrequired_controls = 999\n[thresholds]\nrecovered = 0\n'
    waiver = (
        WAIVED
        + '[[waivers]]\nid = "PA307"\nsubject = "recovered"\nreason = "they are\\npublic"\nexpires = 2026-04-01\n'
    )
    assert main(words("critical", policy + waiver)) == 1
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "✓ maximum_age at most 90 days 8 days" in lines
    assert "✕ required_controls at least 999 400" in lines
    assert "waived recovered at most 0 14" in lines
    assert "waived fail_on below high critical" in lines
    assert "✓ waiver PA307 recovered until 2026-04-01 covers 1 finding" in lines
    assert "- PA314: The audit had 400 controls; the policy requires 999. Audit again with" in lines
    assert "- PA307 recovered: they are public (until 2026-04-01)" in lines
    assert "- PA001: the images are public (until 2026-03-31)" in lines


def test_quiet_is_one_line(words, capsys):
    assert main([*words("critical"), "--quiet"]) == 1
    assert capsys.readouterr().out == "broken model.safetensors PA305\n"
    assert main([*words("inconclusive"), "-q"]) == 3
    assert capsys.readouterr().out == "inconclusive model.safetensors PA106 PA113\n"
    assert main([*words("critical", WAIVED), "-q"]) == 0
    assert capsys.readouterr().out == "passed model.safetensors\n"


def test_json_has_every_demand_and_every_finding(words, capsys):
    assert main([*words("critical", WAIVED + "[thresholds]\nrecovered = 0\n"), "--format", "json"]) == 1
    ruling = json.loads(capsys.readouterr().out)
    assert (ruling["outcome"], ruling["level"], ruling["today"]) == ("broken", "critical", "2026-03-10")
    found = {finding["id"]: finding for finding in ruling["findings"]}
    assert found["PA001"]["waived"] == "the images are public (until 2026-03-31)"
    assert found["PA307"]["waived"] == ""
    assert found["PA307"]["kind"] == "breach"
    assert {d["name"]: d["status"] for d in ruling["demands"]}["recovered"] == "broken"
    assert {d["breach"] for d in ruling["demands"]} == {None, "PA307"}


def test_the_option_stands_above_the_policy(words):
    assert main(words("moderate", 'fail_on = "low"')) == 1
    assert main([*words("moderate", 'fail_on = "low"'), "--fail-on", "critical"]) == 0


def test_the_environment_names_the_policy(words, monkeypatch):
    line = words("moderate", 'fail_on = "low"')
    monkeypatch.setenv("PRIVAUDIT_POLICY", "policy.toml")
    assert main([word for word in line if word not in {"--policy", "policy.toml"}]) == 1


def test_a_day_that_is_not_named_is_today(words):
    line = words("none-detected", 'maximum_age = "100000d"')
    assert main([word for word in line if word not in DAY]) == 0
    assert main([word for word in words("none-detected", 'maximum_age = "1d"') if word not in DAY]) == 1


def test_what_a_stranger_wrote_cannot_draw_on_the_terminal(words, capsys):
    text = "\x1b[31m[bold]red[/bold]\u202e\r\nx"
    assert main(words(report=hostile(text), policy='forbid = ["PA205"]\nrequired_attacks = ["kkt"]')) == 1
    out = capsys.readouterr().out
    assert not {"\x1b", "\u202e", "\r"} & set(out)
    assert "[bold]red[/bold]" in out


def test_a_terminal_without_the_marks_gets_words(words, tmp_path):
    command = [sys.executable, "-m", "auditcli", *words("critical")]
    plain = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=plain, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "not met  fail_on" in done.stdout
    assert done.stdout.isascii()


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"report.json": "none.json"}, "cannot read none.json", "privaudit scan"),
        ({"model.safetensors": "none.safetensors"}, "none.safetensors: no such file", "ls"),
        ({"model.safetensors": "hf://owner/name"}, "is a model of the hub", "hf download"),
        ({"policy.toml": "none.toml"}, "the policy none.toml cannot be read", "docs/policy.md"),
        ({"2026-03-10": "soon"}, "does not match the format", "privaudit verify --help"),
    ],
)
def test_what_cannot_be_used_is_said_in_two_lines(words, capsys, changes, message, hint):
    assert main([changes.get(word, word) for word in words()]) == 2
    out, err = capsys.readouterr()
    first, second = err.splitlines()
    assert out == ""
    assert first.startswith("error: ")
    assert message in first
    assert hint in second


def test_a_report_that_is_none_is_refused(words, capsys):
    line = words()
    Path("report.json").write_text('{"schema_version": "9.0"}')
    assert main(line) == 2
    assert "schema_version" in capsys.readouterr().err


def test_a_policy_that_is_wrong_is_refused(words, capsys):
    assert main(words(policy="fail-on = 3")) == 2
    assert "did you mean fail_on?" in capsys.readouterr().err


# ---- without torch --------------------------------------------------------------------------------------------------

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
from auditcli.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["mlp-leaky/model.safetensors", "vit-leaky/model", "vit-leaky/model.onnx"])
def test_verifies_every_kind_of_model_without_torch(tmp_path, name):
    model = ROOT / "fixtures" / name
    report = of_model(example("low", pictures=False), model_sha256(model))
    (tmp_path / "report.json").write_text(report.to_json())
    blocked = {"torch", "scipy", "skimage", "sklearn", "safetensors", "transformers", "matplotlib", "PIL"}
    blocked |= set() if model.suffix == ".onnx" else {"onnx", "numpy"}
    code = BLOCKED.format(blocked=blocked)
    line = ["verify", str(tmp_path / "report.json"), "--model", str(model), *DAY]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *line],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_onnx_file_without_onnx_is_refused_and_no_bug(tmp_path):
    (tmp_path / "report.json").write_text(example("low", pictures=False).to_json())
    line = ["verify", str(tmp_path / "report.json"), "--model", str(ROOT / "fixtures" / "vit-leaky" / "model.onnx")]
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(blocked={"onnx"}), *line],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "hint:  pip install onnx"


# ---- scan -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def audit(monkeypatch):
    """Stands in for the audit: whatever `reported` holds is what it found."""
    module = python_types.ModuleType("auditcli.auditing")
    module.asked = []
    module.report = example("critical", pictures=False)

    def audit(path, **options):
        module.asked.append(path)
        return module.report

    module.audit = audit
    monkeypatch.setitem(sys.modules, "auditcli.auditing", module)
    return module


def test_the_same_ruling_decides_after_an_audit(audit, capsys):
    Path("policy.toml").write_text(WAIVED.replace("2026-03-31", "9999-12-31"))
    assert main(["scan", "m.onnx", "--policy", "policy.toml", "-f", "json"]) == 0
    out = capsys.readouterr().out
    assert out.rstrip().splitlines()[-2].startswith(" PASSED  thumbnails-mlp.safetensors")
    assert main(["scan", "m.onnx", "--policy", "policy.toml", "--fail-on", "moderate", "-f", "json"]) == 1
    assert "PA004 gives moderate" in " ".join(capsys.readouterr().out.split())


def test_an_audit_without_a_policy_says_nothing_of_one(audit, capsys):
    assert main(["scan", "m.onnx", "-f", "json"]) == 1
    assert "demand" not in capsys.readouterr().out
    assert main(["scan", "m.onnx", "-f", "json", "--fail-on", "never"]) == 0


def test_a_policy_stops_what_the_level_would_let_pass(audit, capsys):
    audit.report = example("none-detected", pictures=False)
    Path("policy.toml").write_text("required_controls = 1000")
    assert main(["scan", "m.onnx", "-f", "json"]) == 0
    assert main(["scan", "m.onnx", "-f", "json", "--policy", "policy.toml"]) == 1
    capsys.readouterr()
    assert main(["scan", "m.onnx", "-f", "json", "--policy", "policy.toml", "-q"]) == 1
    assert capsys.readouterr().out == "none-detected privaudit-report/report.json\n"


def test_a_policy_that_is_wrong_is_refused_before_the_audit(audit, capsys):
    Path("policy.toml").write_text("fail-on = 3")
    assert main(["scan", "m.onnx", "--policy", "policy.toml"]) == 2
    assert not audit.asked


def test_an_interrupted_audit_says_so_whatever_the_policy(audit):
    audit.report = audit.report.model_copy(update={"interrupted": True})
    Path("policy.toml").write_text(WAIVED)
    assert main(["scan", "m.onnx", "-f", "json", "--policy", "policy.toml"]) == 130
