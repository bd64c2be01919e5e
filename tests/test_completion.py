"""Completion, as each shell asks for it: by environment variables, with a line in them and an answer on stdout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from auditcli import policy
from auditcli.__main__ import main
from auditcli.attacks import all_attacks

ROOT = Path(__file__).resolve().parents[1]
ATTACKS = [attack.name for attack in all_attacks()]


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in list(os.environ):
        if "PRIVAUDIT" in name or name.startswith(("COMP_", "_TYPER")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ask(monkeypatch, capsys):
    """The answer to a line, its last word unfinished, in the protocol of a shell; and the exit code."""

    def ask(line, shell="bash", **more):
        variables = {"_PRIVAUDIT_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line, **more}
        if shell == "bash":
            variables |= {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        code = main([])
        out, err = capsys.readouterr()
        assert err == ""
        return out.split("\n")[:-1] if out.strip() else [], code

    return ask


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("privaudit ins", ["inspect"]),
        ("privaudit ./mod", []),
        ("privaudit mod", []),
        ("privaudit --vers", ["--version"]),
        ("privaudit --bud", ["--budget"]),
        ("privaudit m.onnx --fail", ["--fail-on"]),
        ("privaudit --seed 1 --fail", ["--fail-on"]),
        ("privaudit scan m.onnx --arch", ["--arch", "--arch-arg"]),
        ("privaudit scan m.onnx --conf", ["--config"]),
        ("privaudit scan --profile ", ["quick", "standard", "deep"]),
        ("privaudit --profile d", ["deep"]),
        ("privaudit scan --fail-on=h", ["high"]),
        ("privaudit scan --attack ", ATTACKS),
        ("privaudit m.onnx --attack k", ["kkt", "kkt_patches"]),
        ("privaudit scan --device c", ["cpu", "cuda"]),
        ("privaudit scan ", []),
        ("privaudit scan --reference ", []),
        ("privaudit scan --output o", []),
        ("privaudit config pl", ["plan"]),
        ("privaudit config scan --bud", ["--budget"]),
        ("privaudit config --profile q", ["quick"]),
    ],
)
def test_what_is_offered(ask, line, answer):
    """Where nothing is, a shell offers files."""
    assert ask(line) == (answer, 0)


def test_all_commands_are_offered(ask):
    from auditcli.cli import COMMANDS

    for line in ("privaudit ", "privaudit config "):
        assert ask(line)[0] == [*(command.__name__ for command in COMMANDS), "config"]


def test_formats_are_offered(ask):
    from auditcli.options import View

    for line in ("privaudit scan --format ", "privaudit render r.json -f "):
        assert ask(line)[0] == [view.value for view in View]


@pytest.mark.parametrize("line", ["privaudit scan --bud", "privaudit ins", "privaudit --profile q"])
def test_a_broken_settings_file_breaks_no_completion(ask, line):
    Path("privaudit.toml").write_text("this is = no toml")
    answer, code = ask(line)
    assert answer
    assert code == 0


def test_zsh(ask):
    answer, code = ask("privaudit scan --attack ", "zsh")
    assert "\n".join(answer) == "_arguments '*: :((" + "\n".join(f'"{name}"' for name in ATTACKS) + "))'"
    assert code == 0
    assert ask("privaudit scan m", "zsh") == (["_files"], 0)
    assert '"--budget":"For the whole audit\\\\: 90s, 10m, 2h."' in "\n".join(ask("privaudit scan --b", "zsh")[0])


def test_fish_asks_by_the_exit_code(ask):
    for line, offered in (("privaudit scan --attack ", True), ("privaudit scan mod", False), ("privaudit ins", True)):
        answer, code = ask(line, "fish", _TYPER_COMPLETE_FISH_ACTION="is-args")
        assert answer == []
        assert code == (0 if offered else 1)
    answer, code = ask("privaudit scan --attack ", "fish", _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert (answer, code) == (ATTACKS, 0)


def test_powershell(ask):
    answer, _ = ask("privaudit ins", "powershell", _TYPER_COMPLETE_WORD_TO_COMPLETE="ins")
    assert answer[0].startswith("inspect:::Say what a model is")


@pytest.mark.parametrize(
    ("shell", "part"), [("bash", "complete -o default -F"), ("zsh", "#compdef"), ("fish", "complete")]
)
def test_the_script_of_a_shell(monkeypatch, capsys, shell, part):
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    assert main(["--show-completion"]) == policy.PASSED
    script = capsys.readouterr().out
    assert part in script
    assert f"_PRIVAUDIT_COMPLETE=complete_{shell}" in script


def test_installation_writes_below_home_alone(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: "fish")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert main(["--install-completion"]) == policy.PASSED
    written = tmp_path / ".config" / "fish" / "completions" / "privaudit.fish"
    assert "complete_fish" in written.read_text()
    assert "fish completion installed in" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself(tmp_path):
    """The script that is installed, run by the shell that it is for."""
    command = tmp_path / "privaudit"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m auditcli "$@"\n')
    command.chmod(0o755)
    code = (
        "import typer.completion as c; c._get_shell_name = lambda: 'bash'\n"
        "from auditcli.__main__ import main; main(['--show-completion'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60, check=True
    ).stdout
    ask = (
        f"{script}\nCOMP_WORDS=(privaudit scan m.onnx --profile '')\nCOMP_CWORD=4\n"
        f'_privaudit_completion "{command}"\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["quick", "standard", "deep"], done.stderr


def test_a_shell_does_not_wait_for_torch():
    code = (
        "import os, sys; from auditcli.__main__ import main\n"
        "os.environ['COMP_WORDS'] = 'privaudit scan --attack '\n"
        "os.environ.update(_PRIVAUDIT_COMPLETE='complete_bash', COMP_CWORD='3')\n"
        "main([]); heavy = {'torch', 'numpy', 'scipy', 'onnx', 'matplotlib', 'jinja2', 'PIL'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ATTACKS
