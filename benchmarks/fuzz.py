"""Reads thousands of damaged models and images: `python benchmarks/fuzz.py --cases 5000 --seed 0 [--kind onnx]`.

Each case is a small valid file or folder with something changed (`fuzz_seeds`, `fuzz_edits`, `fuzz_formats`,
`fuzz_graphs`), read in another process (`fuzz_worker`) as the tool reads it. A finding is any exception that is not an
`AuditError`, an error text that is long or not printable, a traceback on the terminal, a crash, 10 s of processor
time or 60 s of waiting, more than 2 GB of memory, and any file written, program started, connection made or object
unpickled. Prints kind x (cases, refused, accepted, findings), and exits with 1 where there are findings.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import IO, Any

from fuzz_seeds import KINDS, Seed, seeds

PROCESSOR_SECONDS = 10.0
WAITING_SECONDS = 60.0
"""Of the wall clock: on a busy machine a case waits, and one that blocks for ever uses no processor at all."""
_START_SECONDS = 300.0
_READER = Path(__file__).with_name("fuzz_worker.py")


@dataclass(frozen=True, slots=True)
class Case:
    """A damaged file; its kind, the seed and its number make it again."""

    kind: str
    number: int
    seed: Seed

    @property
    def name(self) -> str:
        """As `--keep` names its folder."""
        return f"{self.kind}-{self.number}-{self.seed.name}"


@dataclass(frozen=True, slots=True)
class Result:
    """What reading a case gave."""

    outcome: str
    """`accepted`, `refused` or `finding`."""
    detail: str
    seconds: float = 0.0
    peak: int = 0


class Hung(Exception):  # noqa: N818 - what happened, not an error of ours
    """A worker that does not answer."""


class Worker:
    """A process that reads cases in a scratch folder, started again after it died."""

    def __init__(self, scratch: Path, kinds: Sequence[str], reader: Path = _READER) -> None:
        self._scratch, self._kinds, self._reader = scratch, kinds, reader
        self._process: subprocess.Popen[str] | None = None
        self._before: frozenset[tuple[str, int]] = frozenset()

    def __enter__(self) -> Worker:
        for name in ("home", "work", "tmp", "case"):
            (self._scratch / name).mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def read(self, case: Case) -> Result:
        """Write the case's files, have them read, and look at what is there afterwards."""
        if self._process is None:
            self._start()
        folder = self._scratch / "case"
        try:
            answer = self._ask(_written(folder, case.seed), PROCESSOR_SECONDS, WAITING_SECONDS)
            result = Result(answer["outcome"], answer["detail"], answer["seconds"], answer["peak"])
            if answer["processor"] > PROCESSOR_SECONDS:
                result = Result("finding", f"{answer['processor']:.1f} s of processor time ({result.detail[:200]})")
        except Hung as error:
            result = Result("finding", f"hang: {error}")
            self._stop()
        except EOFError:
            result = Result("finding", f"crash: the reader died with {self._stop()}")
        left = {name for name, _ in self._listing()} - {name for name, _ in self._before} if self._process else set()
        if left:
            result = Result("finding", f"files appeared: {', '.join(sorted(left))[:300]} ({result.detail[:200]})")
            self._stop()
        return result

    def _start(self) -> None:
        for name in ("home", "work", "tmp"):
            shutil.rmtree(self._scratch / name)
            (self._scratch / name).mkdir()
        places = {"HOME": "home", "TMPDIR": "tmp"}
        settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with (self._scratch / "stderr").open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(self._reader)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=self._scratch / "work",
                env={**os.environ, **settings, **{key: str(self._scratch / name) for key, name in places.items()}},
            )
        # Whole files first: they must be accepted, and what they load does not count as the doing of a damaged one.
        for kind in self._kinds:
            for seed in seeds(kind):
                request = {**_written(self._scratch / "case", seed), "warm_up": True}
                try:
                    answer = self._ask(request, _START_SECONDS, _START_SECONDS)
                except (EOFError, Hung) as error:
                    raise RuntimeError(f"the reader does not start: {error} {self._stop()}") from None
                if answer["outcome"] != "accepted":
                    raise RuntimeError(f"the valid {kind} {seed.name} was not accepted: {answer['detail']}")
        self._before = self._listing()

    def _ask(self, request: dict[str, Any], processor: float, waiting: float) -> dict[str, Any]:
        process = self._running()
        stream: IO[str] = process.stdin  # type: ignore[assignment]
        try:
            stream.write(json.dumps(request) + "\n")
            stream.flush()
        except BrokenPipeError as error:
            raise EOFError from error
        began, used = time.monotonic(), _processor_seconds(process.pid)
        answers: IO[str] = process.stdout  # type: ignore[assignment]
        while not select.select([answers], [], [], 0.25)[0]:
            waited, worked = time.monotonic() - began, _processor_seconds(process.pid) - used
            if worked > processor or waited > waiting:
                raise Hung(f"no answer after {waited:.0f} s, {worked:.0f} s of processor time")
        line = answers.readline()
        if not line:
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the worker was not started")
        return self._process

    def _stop(self) -> str:
        """End the process, and say how it ended."""
        if self._process is None:
            return ""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.kill() if self._process.poll() is None else None
        code = self._process.wait()
        self._process = None
        last = (self._scratch / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
        return f"exit code {code} {' '.join(last)[:200]}"

    def _listing(self) -> frozenset[tuple[str, int]]:
        """Everything below the places a careless reader would write to, and beside the case."""
        known = {"case", "stderr"}
        top = [path for path in self._scratch.iterdir() if path.name not in known]
        files = [file for path in top for file in (path, *path.rglob("*"))]
        return frozenset((file.relative_to(self._scratch).as_posix(), file.lstat().st_mtime_ns) for file in files)


def _processor_seconds(pid: int) -> float:
    """User and system time of a process; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _written(folder: Path, seed: Seed) -> dict[str, Any]:
    """Write the files of a case; the request that has them read."""
    shutil.rmtree(folder)
    folder.mkdir()
    for name, content in seed.files.items():
        (folder / name).write_bytes(content)
    return {"path": str(folder / seed.path), "shape": seed.shape}


def cases(kinds: Sequence[str], total: int, seed: int) -> Iterator[Case]:
    """`total` cases, shared evenly among the kinds."""
    for index, kind in enumerate(kinds):
        known = seeds(kind)
        for number in range(index, total, len(kinds)):
            yield case(kind, number, seed, known)


def case(kind: str, number: int, seed: int, known: Sequence[Seed]) -> Case:
    """The case of that number; the same whichever others are made."""
    rng = Random(f"{seed}/{kind}/{number}")
    return Case(kind, number, rng.choice(known).damaged(rng))


def fuzz(chosen: Iterable[Case], kinds: Sequence[str], reader: Path = _READER) -> Iterator[tuple[Case, Result]]:
    """Read cases in a scratch folder of their own."""
    with tempfile.TemporaryDirectory() as scratch, Worker(Path(scratch), kinds, reader) as worker:
        for one in chosen:
            yield one, worker.read(one)


def main() -> None:
    """Prints findings as they come, then the table."""
    arguments = _arguments()
    kinds = [kind for kind in arguments.kind or KINDS if seeds(kind)]
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    slowest: dict[str, float] = dict.fromkeys(kinds, 0.0)
    peak: dict[str, int] = dict.fromkeys(kinds, 0)
    chosen: Iterable[Case] = cases(kinds, arguments.cases, arguments.seed)
    if arguments.only is not None:
        chosen = [case(kinds[0], arguments.only, arguments.seed, seeds(kinds[0]))]
    for one, result in fuzz(chosen, kinds):
        counts[one.kind][result.outcome] += 1
        slowest[one.kind] = max(slowest[one.kind], result.seconds)
        peak[one.kind] = max(peak[one.kind], result.peak)
        if result.outcome == "finding" or arguments.verbose or arguments.only is not None:
            cost = f"{result.seconds:.1f} s, {result.peak / 2**20:.0f} MB"
            print(f"{one.name}: {result.outcome}: {result.detail} ({cost})", flush=True)
        if result.outcome == "finding" and arguments.keep:
            folder = arguments.keep / one.name
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in one.seed.files.items():
                (folder / name).write_bytes(content)
    print(f"{'kind':12} {'cases':>7} {'refused':>8} {'accepted':>9} {'findings':>9} {'slowest':>8} {'peak':>8}")
    for kind in kinds:
        found = counts[kind]
        row = f"{found.total():7} {found['refused']:8} {found['accepted']:9} {found['finding']:9}"
        print(f"{kind:12} {row} {slowest[kind]:6.1f} s {peak[kind] / 2**20:5.0f} MB")
    sys.exit(any(found["finding"] for found in counts.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=tuple(KINDS), help="repeatable; default: all")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one case of the (first) kind, with what it gave")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the files of findings are kept")
    parser.add_argument("--verbose", action="store_true", help="a line for every case")
    return parser.parse_args()


if __name__ == "__main__":
    main()
