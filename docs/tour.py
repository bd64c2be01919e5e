"""Runs the commands of `docs/tour.md` and puts what they print below them, at 80 columns: `python docs/tour.py`.

A line that starts with `$` in a block of console is a command; the lines below it are what it prints to stdout. They
run in the repository, one after the other, in a few minutes. Public names: `Step`, `steps`, `printed`, `refreshed`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_TOUR = Path(__file__).with_name("tour.md")
_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.M | re.S)
_STEP = re.compile(r"^\$ (?P<command>(?:.*\\\n)*.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.M)


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the tour, and what the page says it prints."""

    command: str
    output: str


def steps(text: str) -> Iterator[Step]:
    """The commands of a page in their order."""
    for block in _BLOCK.findall(text):
        yield from (Step(step["command"], step["output"]) for step in _STEP.finditer(block))


def printed(command: str, before: int = 0) -> tuple[str, int]:
    """What a command prints to stdout, without the blanks at the ends of lines, and its exit code.

    Args:
        command: For bash.
        before: Exit code of the command before it, which is `$?` to this one.
    """
    script = f'privaudit() {{ "{sys.executable}" -m auditcli "$@"; }}\n(exit {before})\n{command}'
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=_ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines()), done.returncode


def refreshed(text: str) -> str:
    """The page with all its commands run again."""
    code = 0

    def run(step: re.Match[str]) -> str:
        nonlocal code
        output, code = printed(step["command"], code)
        return f"$ {step['command']}\n{output}"

    return _BLOCK.sub(lambda block: _STEP.sub(run, block[0]), text)


if __name__ == "__main__":
    _TOUR.write_text(refreshed(_TOUR.read_text(encoding="utf-8")), encoding="utf-8")
