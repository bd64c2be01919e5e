"""A sample repository whose release pipeline is a script: what stops it, and what lets it pass."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "tests" / "release"
LEAKY = ROOT / "fixtures" / "mlp-leaky"


TODAY = datetime.now(UTC).date()


def run(repository, *command):
    """Run a command line in the sample, with the `privaudit` of this checkout first on its path."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PRIVAUDIT_")}
    path = f"{repository / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=repository,
        env={**own, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The sample with its model, its images and a report of a real audit."""
    repository = tmp_path_factory.mktemp("release") / "repository"
    shutil.copytree(SAMPLE, repository)
    for source in (LEAKY / "model.safetensors", LEAKY / "members.npz", ROOT / "fixtures" / "controls.npz"):
        shutil.copy(source, repository)
    command = repository / "bin" / "privaudit"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m auditcli "$@"\n')
    command.chmod(0o755)
    done = run(repository, "sh", "audit.sh")
    assert done.returncode == 0, done.stderr
    return repository


@pytest.fixture
def repository(audited, tmp_path):
    return Path(shutil.copytree(audited, tmp_path / "repository"))


def waive(repository, last_day):
    with (repository / "privaudit-policy.toml").open("a", encoding="utf-8") as policy:
        waivers = (repository / "waivers.toml").read_text(encoding="utf-8")
        policy.write(waivers.replace("LAST_DAY", last_day.isoformat()))


def released(repository):
    return (repository / "dist" / "model.safetensors").exists()


def test_a_leaky_model_stops_the_release(repository):
    done = run(repository, "sh", "release.sh")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(" BROKEN  model.safetensors: 2 of ")
    assert "PA001 gives critical" in done.stdout
    assert "PA307 recovered" in done.stdout
    assert not released(repository)


def test_an_unexpired_waiver_lets_it_through(repository):
    waive(repository, TODAY + timedelta(days=30))
    done = run(repository, "sh", "release.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "released: dist/model.safetensors"
    assert "The training images are public (Fashion-MNIST): nobody is harmed" in done.stdout
    assert f"(until {TODAY + timedelta(days=30)})" in done.stdout
    assert released(repository)


@pytest.mark.parametrize("left_out", ["PA001", "PA003", "PA307"])
def test_every_finding_needs_its_waiver(repository, left_out):
    waive(repository, TODAY + timedelta(days=30))
    policy = repository / "privaudit-policy.toml"
    head, *waivers = policy.read_text(encoding="utf-8").split("[[waivers]]")
    policy.write_text("[[waivers]]".join([head, *(text for text in waivers if left_out not in text)]))
    done = run(repository, "sh", "release.sh")
    assert done.returncode == 1, done.stdout + done.stderr
    assert not released(repository)


def test_the_release_stops_again_when_the_waiver_has_expired(repository):
    waive(repository, TODAY - timedelta(days=1))
    done = run(repository, "sh", "release.sh")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"expired on {TODAY - timedelta(days=1)}" in " ".join(done.stdout.split())
    assert "PA316 PA001" in done.stdout
    assert not released(repository)


def test_the_same_files_pass_through_the_last_day_of_the_waiver_and_not_beyond(repository):
    last = TODAY + timedelta(days=30)
    waive(repository, last)
    files = ["audit/report.json", "--model", "model.safetensors", "--policy", "privaudit-policy.toml"]
    for day, code in ((last, 0), (last + timedelta(days=1), 1)):
        done = run(repository, "privaudit", "verify", *files, "--today", day.isoformat())
        assert done.returncode == code, done.stdout + done.stderr


def test_the_release_stops_when_the_weights_change_by_a_byte(repository):
    waive(repository, TODAY + timedelta(days=30))
    model = repository / "model.safetensors"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    done = run(repository, "sh", "release.sh")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "PA301: The report is about a model with sha256" in " ".join(done.stdout.split())
    assert " BROKEN  model.safetensors: 1 of " in done.stdout
    assert not released(repository)


def test_the_release_stops_when_the_report_is_old(repository):
    waive(repository, TODAY + timedelta(days=30))
    path = repository / "audit" / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    for moment in ("started", "finished"):
        report["manifest"][moment] = f"{TODAY - timedelta(days=91)}T12:00:00Z"
    path.write_text(json.dumps(report), encoding="utf-8")
    done = run(repository, "sh", "release.sh")
    assert done.returncode == 1, done.stdout + done.stderr
    # One day more where midnight comes between.
    assert re.search(
        r"PA304: The audit ended 9[12] days ago; the policy allows 90 days\.", " ".join(done.stdout.split())
    )
    assert not released(repository)


def test_the_release_stops_when_the_report_is_missing_or_no_report(repository):
    (repository / "audit" / "report.json").unlink()
    done = run(repository, "sh", "release.sh")
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot read audit/report.json")
    (repository / "audit" / "report.json").write_text("{}")
    assert run(repository, "sh", "release.sh").returncode == 2
    assert not released(repository)
