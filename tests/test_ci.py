"""The action, the hook and the examples of `docs/ci.md`: no hole for strangers, and run where they can be."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from junitparser import JUnitXml
from report_examples import example
from test_github import annotations
from test_sarif import run as parsed_sarif

from auditcli.report.formats import FORMATS, RULED

ROOT = Path(__file__).resolve().parents[1]
CI = ROOT / "docs" / "ci"
PAGE = (ROOT / "docs" / "ci.md").read_text("utf-8")
EXAMPLES = sorted(CI.iterdir())
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS = ACTION["runs"]["steps"]
SHELL = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
"""As GitHub starts `shell: bash`."""

STAND_IN = """
import sys
from pathlib import Path
from auditcli.report import read
from auditcli.report.formats import RULED

words = sys.argv[1:]
assert words[0] == "verify" and "--model" in words, words
if not Path(words[1]).exists():
    print("error: cannot read " + words[1], file=sys.stderr)
    raise SystemExit(2)
report = read(words[1])
form = words[words.index("--format") + 1] if "--format" in words else ""
print(RULED[form](report) if form else report.verdict.headline, end="")
raise SystemExit({"high": 1, "critical": 1, "inconclusive": 3}.get(report.verdict.level, 0))
"""
"""`privaudit verify` as far as the scripts need it, where the command is not there or does not write the formats."""


def relative(path):
    return path.relative_to(ROOT).as_posix()


def command():
    """The real command line, or its stand-in."""
    written = import_module("auditcli.gate").FORMATS if find_spec("auditcli.gate") else ()
    return ["-m", "auditcli"] if set(written) >= set(RULED) else ["-c", STAND_IN]


@pytest.fixture
def runner(tmp_path):
    """A machine of GitHub: `privaudit` and its Python where the action installs them, and a report to verify."""
    bin = tmp_path / "temp" / "privaudit" / "bin"
    bin.mkdir(parents=True)
    words = " ".join(f"'{word}'" for word in (sys.executable, *command()) if "'" not in word)
    if command()[0] == "-c":
        (bin / "stand_in.py").write_text(STAND_IN)
        words = f"'{sys.executable}' '{bin / 'stand_in.py'}'"
    for name, line in (("privaudit", words), ("python", f"'{sys.executable}'")):
        (bin / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (bin / name).chmod(0o755)
    (tmp_path / "work").mkdir()

    def run(script, level="critical", **environment):
        work = tmp_path / "work"
        if level:
            (work / "model.safetensors").write_bytes(b"weights")  # what the examples have the sha256 of
            example(level, pictures=False).save(work / "audit", ("json",))
        known = {
            "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RUNNER_TEMP": str(tmp_path / "temp"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "page.md"),
            "GITHUB_ACTION_PATH": str(ROOT),
        }
        for name in ("output", "page.md"):
            (tmp_path / name).touch()
        return subprocess.run(
            [*SHELL, script],
            cwd=work,
            env=known | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    run.root = tmp_path
    return run


def verify_step(**inputs):
    """The script of that step, and the environment that the inputs make."""
    step = next(step for step in STEPS if step.get("id") == "verify")
    values = {name: one.get("default", "") for name, one in ACTION["inputs"].items()} | inputs
    filled = {key: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda m: values[m[1]], v) for key, v in step["env"].items()}
    return step["run"], filled


# ---- the files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=relative)
def test_the_page_shows_the_file(path):
    language = {".yml": "yaml", ".yaml": "yaml", ".py": "python", ".sh": "bash"}[path.suffix]
    assert f"\n```{language}\n{path.read_text('utf-8')}```\n" in PAGE


def test_every_block_of_the_page_is_a_file():
    blocks = re.findall(r"^```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert sorted(blocks) == sorted(path.read_text("utf-8") for path in EXAMPLES)


def test_the_page_lists_the_formats_with_their_files():
    rows = re.findall(r"^\| `(\w+)` \|.*\| `([\w.]+)` \|$", PAGE, re.MULTILINE)
    assert dict(rows) == {name: FORMATS[name].file for name in RULED}


@pytest.mark.parametrize(
    "path",
    [ROOT / "action.yml", ROOT / ".pre-commit-hooks.yaml", *(p for p in EXAMPLES if "y" in p.suffix[1:2])],
    ids=relative,
)
def test_yaml_parses(path):
    assert yaml.safe_load(path.read_text("utf-8"))


def test_the_examples_name_the_version_that_is_here():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    for path in EXAMPLES:
        named = re.findall(r"(?:privaudit@v|privaudit==|rev: v)([\d.]+)", path.read_text("utf-8"))
        assert set(named) <= {version}, relative(path)


# ---- the action -----------------------------------------------------------------------------------------------------


def test_every_input_is_declared_and_used():
    text = (ROOT / "action.yml").read_text("utf-8")
    used = set(re.findall(r"\$\{\{ inputs\.([\w-]+) \}\}", text))
    assert used == set(ACTION["inputs"])
    assert all(
        one["description"] and ("default" in one) != one.get("required", False) for one in ACTION["inputs"].values()
    )
    steps = {step.get("id") for step in STEPS}
    assert set(re.findall(r"steps\.([\w-]+)\.outputs", text)) <= steps


def test_no_input_is_pasted_into_a_script():
    assert not [step["name"] for step in STEPS if "${{" in step["run"]]


def test_nothing_of_others_is_run():
    assert not [step for step in STEPS if "uses" in step]
    assert {step["shell"] for step in STEPS} == {"bash"}


@pytest.mark.parametrize("script", [*(step["run"] for step in STEPS), (CI / "verify.sh").read_text("utf-8")])
def test_the_shell_parses(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_installed_is_what_the_formats_import():
    """And is pinned: what `tests/test_report_walls.py` blocks is not among it."""
    installed = next(line for line in STEPS[0]["run"].splitlines() if "--constraint" in line).split()[-4:]
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert set(installed) <= set(pinned)
    names = {"jinja2": "jinja2", "pydantic": "pydantic", "rich": "rich", "typer": "typer"}
    code = "import sys; import auditcli.cli, auditcli.report; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert {names[name] for name in installed} <= set(done.stdout.split())
    assert not {"torch", "numpy", "scipy", "matplotlib"} & set(done.stdout.split())


def test_a_leak_is_shown_everywhere_and_stops_the_pipeline(runner):
    script, environment = verify_step(report="audit", model="model.safetensors")
    done = runner(script, **environment)
    assert done.returncode == 0, done.stderr
    assert (runner.root / "output").read_text() == "exit-code=1\n"
    made = runner.root / "work" / "privaudit-verify"
    assert {path.name for path in made.iterdir()} == {FORMATS[name].file for name in RULED}
    assert parsed_sarif((made / "report.sarif").read_text("utf-8"))["properties"]["verdict"] == "critical"
    assert len(list(JUnitXml.fromfile(str(made / "junit.xml")))) == 4
    said = (made / "annotations.txt").read_text("utf-8")
    assert done.stdout.endswith(said)
    assert annotations(said)[0][0] == "error"
    assert (runner.root / "page.md").read_text("utf-8") == (made / "summary.md").read_text("utf-8")
    assert runner(STEPS[-1]["run"], CODE="1").returncode == 1


def test_the_talk_of_the_command_is_no_command_to_the_runner(runner):
    script, environment = verify_step(report="audit", model="model.safetensors")
    lines = runner(script, **environment).stdout.splitlines()
    token = lines[0].removeprefix("::stop-commands::")
    assert re.fullmatch("[0-9a-f]{32}", token)
    closed = lines.index(f"::{token}::")
    assert closed > 1
    assert all(line.startswith(("::error ", "::warning ", "::notice ")) for line in lines[closed + 1 :])


@pytest.mark.parametrize(("level", "code"), [("none-detected", 0), ("inconclusive", 3)])
def test_the_exit_code_is_that_of_the_ruling(runner, level, code):
    script, environment = verify_step(report="audit", model="model.safetensors")
    assert runner(script, level, **environment).returncode == 0
    assert (runner.root / "output").read_text() == f"exit-code={code}\n"
    assert runner(STEPS[-1]["run"], level, CODE=str(code)).returncode == code


def test_without_a_report_there_is_a_message_and_no_view(runner):
    script, environment = verify_step(report="audit", model="model.safetensors")
    done = runner(script, "", **environment)
    assert done.returncode == 0
    assert "audit" in done.stderr
    assert (runner.root / "output").read_text() == "exit-code=2\n"
    assert not (runner.root / "work" / "privaudit-verify").exists()


def test_a_step_that_never_ran_is_no_pass(runner):
    assert runner(STEPS[-1]["run"], "", CODE="").returncode == 70


def test_strange_names_are_names(runner):
    script, environment = verify_step(report="audit", model="model.safetensors", directory="a b;$(touch owned)")
    assert runner(script, **environment).returncode == 0
    assert (runner.root / "work" / "a b;$(touch owned)" / "report.sarif").exists()
    assert not list(runner.root.rglob("owned"))


# ---- the hook and the other examples --------------------------------------------------------------------------------


def test_the_hook_is_the_one_that_the_example_takes():
    hook = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))[0]
    assert hook["pass_filenames"] is False
    assert hook["entry"] == "privaudit verify"
    taken = yaml.safe_load((CI / "pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"][0]
    assert taken["id"] == hook["id"]
    pattern = re.compile(taken["files"])
    for word in taken["args"]:
        assert word.startswith("--") or pattern.fullmatch(word)
    assert not pattern.fullmatch("src/main.py")


@pytest.mark.parametrize(("level", "code"), [("none-detected", 0), ("critical", 1), ("inconclusive", 3)])
def test_the_shell_example_runs(runner, level, code):
    shutil.copy(CI / "verify.sh", runner.root / "work")
    done = runner("./verify.sh audit model.safetensors", level)
    assert done.returncode == code, done.stderr
    assert len(list(JUnitXml.fromfile(str(runner.root / "work" / "junit.xml")))) == 4
    assert (runner.root / "work" / "checklist.md").read_text("utf-8").startswith("# Release checklist")


@pytest.mark.parametrize(("level", "code"), [("none-detected", 0), ("critical", 1)])
def test_the_script_of_gitlab_runs(runner, level, code):
    job = yaml.safe_load((CI / "gitlab.yml").read_text("utf-8"))["privacy"]
    ruling = "audit/report.json --model model.safetensors"
    assert job["variables"]["RULING"].startswith(ruling)
    done = runner("\n".join(job["script"]), level, RULING=ruling)
    assert done.returncode == code, done.stderr
    assert JUnitXml.fromfile(str(runner.root / "work" / job["artifacts"]["reports"]["junit"]))


def test_the_recipe_of_mlflow_logs_what_a_report_has(runner):
    """With a stand-in for MLflow that keeps what it is told."""
    (runner.root / "work" / "mlflow.py").write_text(
        "import atexit, contextlib, json\n"
        "told = {}\n"
        "def start_run(run_name): told['run'] = run_name; return contextlib.nullcontext()\n"
        "def set_tags(tags): told['tags'] = tags\n"
        "def log_params(params): told['params'] = params\n"
        "def log_metric(name, value): told.setdefault('metrics', {})[name] = value\n"
        "def log_artifacts(folder, place): told['artifacts'] = [folder, place]\n"
        "atexit.register(lambda: print(json.dumps(told)))\n"
    )
    path = f"{runner.root / 'work'}{os.pathsep}{ROOT}"
    done = runner(f"'{sys.executable}' '{CI / 'log_to_mlflow.py'}' audit", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    told = yaml.safe_load(done.stdout)
    assert told["tags"]["privaudit.verdict"] == "critical"
    assert told["params"] == {"seconds": 600.0, "device": "cpu", "profile": "standard", "seed": 0}
    assert told["metrics"]["members_recovered"] == 14
    assert told["metrics"]["auc.loss"] == pytest.approx(0.874, abs=0.01)
    assert told["artifacts"] == ["audit", "privaudit"]
