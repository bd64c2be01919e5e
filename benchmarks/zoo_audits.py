"""Audits of victims, each a process and a file, run once for each state of the code.

Public names: `Audit`, `audits_of`, `run`, `result_of`, `code`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from zoo_cache import Victim
from zoo_recipes import Truth

import auditcli

_WORKER = Path(__file__).with_name("zoo_worker.py")
_SECONDS = 3_600
"""No audit takes so long; one that does is stopped and counts as failed."""


@dataclass(frozen=True, slots=True)
class Audit:
    """A victim with the images that are called its members."""

    victim: Victim
    sample: str
    """`members` or `strangers`."""
    seed: int
    shadows: int

    @property
    def truth(self) -> Truth:
        """What the verdict should say: nothing, where the members are strangers to the victim."""
        return Truth.NULL if self.sample == "strangers" else self.victim.recipe.truth

    @property
    def name(self) -> str:
        """The same for every state of the code."""
        recipe = self.victim.recipe
        return f"{recipe.name}-{recipe.key}-{self.sample}-seed{self.seed}-shadows{self.shadows}"


def audits_of(victim: Victim, *, seed: int, shadows: int) -> Iterator[Audit]:
    """All audits of a victim: an honest one is audited a second time, with images it never saw as members."""
    yield Audit(victim, "members", seed, shadows)
    if victim.recipe.truth is Truth.HONEST:
        yield Audit(victim, "strangers", seed, shadows)


def code() -> str:
    """Hash of all that an audit runs: the package's source, and the shipped models it checks itself on."""
    package = Path(auditcli.__file__).parent
    files = sorted(package.rglob("*.py"))
    index = [path for path in (package.parent / "fixtures" / "fixtures.json",) if path.is_file()]
    digest = sha256()
    for path in (*files, *index):
        digest.update(path.relative_to(package.parent).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def result_of(audit: Audit, folder: Path, state: str, *, any_code: bool = False) -> Path | None:
    """The file of an audit that was run before, or None.

    Args:
        audit: Which.
        folder: Of all results.
        state: Of the code.
        any_code: Take the newest result of other states where this one has none.
    """
    exact = folder / state / f"{audit.name}.json"
    if exact.is_file():
        return exact
    others = folder.glob(f"*/{audit.name}.json") if any_code else iter(())
    return max(others, key=lambda path: path.stat().st_mtime, default=None)


def run(audits: Iterable[Audit], folder: Path, state: str, jobs: int) -> Iterator[tuple[Audit, str]]:
    """Run audits, so many at a time; yields each with what went wrong, or nothing, as they end.

    Args:
        audits: Which.
        folder: Of all results.
        state: Of the code, as `code` has it.
        jobs: Processes at a time, each with one thread.
    """
    (folder / state).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(_run, audit, folder / state / f"{audit.name}.json"): audit for audit in audits}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _run(audit: Audit, output: Path) -> str:
    """The last line of what a failed audit says; empty where it did not fail."""
    package = Path(auditcli.__file__).parents[1]
    paths = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH", "")]))
    command = [
        *(sys.executable, str(_WORKER), str(audit.victim.model), str(audit.victim.images(audit.sample))),
        *(str(audit.victim.images("controls")), str(output), str(audit.seed), str(audit.shadows)),
    ]
    try:
        ended = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"stopped after {_SECONDS} s"
    return (ended.stderr.strip().splitlines() or ["no word"])[-1] if ended.returncode else ""
