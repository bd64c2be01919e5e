"""The report works on any laptop: without torch, and without any other library that takes long to import."""

import subprocess
import sys
from pathlib import Path

from report_examples import example

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
"""


def run(code: str, *blocked: str, arguments: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", BLOCKED.format(blocked=set(blocked)) + code, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[1], check=False
    )


def test_renders_every_format_without_torch(tmp_path):
    example("critical").save(tmp_path, ("json",))
    code = """
from auditcli.report import FORMATS, read, render
report = read(sys.argv[1])
print(*(len(render(report, name)) > 1000 for name in FORMATS))
report.save(sys.argv[2], tuple(FORMATS))
"""
    heavy = ("torch", "matplotlib", "numpy", "onnx", "scipy", "skimage", "safetensors", "transformers", "PIL.Image")
    done = run(code, *heavy, arguments=(str(tmp_path / "report.json"), str(tmp_path / "again")))
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"True"}
    assert (tmp_path / "again" / "report.json").read_bytes() == (tmp_path / "report.json").read_bytes()


def test_the_block_blocks():
    assert "torch is blocked" in run("import torch", "torch").stderr
