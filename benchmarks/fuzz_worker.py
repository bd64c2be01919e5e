"""The process in which `fuzz.py` has damaged files read, one after the other.

A line of JSON in, `{"path": ..., "shape": null}`, a line of JSON out: `outcome` is `accepted`, `refused` or `finding`,
`detail` the error or what was found. The process watches itself: it may not open files for writing, start programs, use
the network or unpickle, and its memory is counted. A hang, and a crash, are for the parent to see.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from auditcli import terminal
from auditcli.errors import AuditError
from auditcli.families import Options, build, identify
from auditcli.images import read_sample
from auditcli.inspection import describe
from auditcli.loading import load, model_sha256

MAX_BYTES = 2 * 2**30
"""Of memory, of the whole process."""
MAX_TEXT = 1000
_FORBIDDEN = ("os.", "subprocess.", "socket.", "pickle.", "shutil.", "webbrowser.", "ftplib.", "urllib.", "http.")
_HARMLESS = frozenset({"os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.getxattr", "os.listxattr"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """Counts what a file may not make its reader do; on while a case runs."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.on = False
        sys.addaudithook(self._event)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what happens inside."""
        self.seen.clear()
        self.on = True
        try:
            yield
        finally:
            self.on = False

    def _event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            forbidden = isinstance(flags, int) and bool(flags & _WRITING) and path != os.devnull
        else:
            forbidden = event.startswith(_FORBIDDEN) and event not in _HARMLESS
        if forbidden:
            self.seen.append(f"{event}{str(arguments)[:200]}")
            raise PermissionError(f"{event} is not allowed here")


def main() -> None:
    """Answers until its input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    watch = Watch()
    limited = False
    for line in sys.stdin:
        request = json.loads(line)
        if not request.get("warm_up") and not limited:
            _limit_memory()
            limited = True
        answers.write(json.dumps(_answer(request, watch)) + "\n")
        answers.flush()


def _answer(request: dict[str, Any], watch: Watch) -> dict[str, Any]:
    _forget_peak()
    began, used = time.perf_counter(), time.process_time()
    talk = io.StringIO()
    with contextlib.redirect_stdout(talk), contextlib.redirect_stderr(talk), contextlib.ExitStack() as stack:
        if not request.get("warm_up"):
            stack.enter_context(watch.watching())
        outcome, detail = _outcome(Path(request["path"]), request["shape"])
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    peak = _peak_bytes()
    if watch.seen:
        outcome, detail = "finding", f"forbidden: {'; '.join(watch.seen)} ({detail[:200]})"
    elif peak > MAX_BYTES:
        outcome, detail = "finding", f"memory: {peak} bytes ({detail[:200]})"
    elif "Traceback" in talk.getvalue():
        outcome, detail = "finding", f"a traceback is printed: {talk.getvalue()[-500:]}"
    return {"outcome": outcome, "detail": detail, "seconds": seconds, "processor": processor, "peak": peak}


def _outcome(path: Path, shape: list[int] | None) -> tuple[str, str]:
    try:
        if shape is None:
            detail = _read_model(path)
        else:
            c, h, w = shape
            sample = read_sample(path, (c, h, w), role="members")
            in_range = sample.images.min() >= 0 and sample.images.max() <= 1
            if sample.images.shape[1:] != (c, h, w) or not in_range:
                return "finding", f"images {tuple(sample.images.shape)} were accepted for {shape}"
            detail = f"{len(sample)} images"
    except AuditError as error:
        return _judge(error)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        ours = next((frame for frame in reversed(where) if "auditcli" in frame.filename), where[-1])
        return "finding", f"{type(error).__name__} at {Path(ours.filename).name}:{ours.lineno}: {str(error)[:300]}"
    return "accepted", detail


def _read_model(path: Path) -> str:
    """All that `inspect` and `scan` do before an attack."""
    checkpoint = load(path)
    if checkpoint.sha256 != model_sha256(path):
        raise AssertionError("two hashes of one file")
    options = Options()
    profile = identify(checkpoint, options)
    console = Console(file=io.StringIO(), highlight=False)
    model = describe(checkpoint, profile)
    terminal.show_profile(console, model, verbose=True)
    model.model_dump_json().encode()
    target = build(checkpoint, profile, options)
    with torch.no_grad():
        logits = target(torch.full((2, *profile.input_shape), 0.5))
    if logits.shape != (2, profile.outputs) or not logits.isfinite().all():
        raise AssertionError(f"a model was built that returns {tuple(logits.shape)}, or numbers that are not finite")
    return f"{profile.family}: {profile.architecture[:80]}"


def _judge(error: AuditError) -> tuple[str, str]:
    """Whether a refusal is one that a person can read, and was not an allocation that failed."""
    for name, text in (("message", error.message), ("hint", error.hint)):
        if len(text) > MAX_TEXT or not text.isprintable() or (name == "message" and not text):
            return "finding", f"a {name} of {len(text)} characters, or not printable: {ascii(text)[:300]}"
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause)
        if isinstance(cause, MemoryError) or "allocate memory" in text or "bad_alloc" in text or "bad alloc" in text:
            return "finding", f"it tried to take more memory than there is: {ascii(text)[:300]}"
        cause = cause.__cause__ or cause.__context__
    return "refused", error.message


# ---- memory, where the system tells ---------------------------------------------------------------------------------


def _limit_memory() -> None:
    """Twice the limit above what is mapped now: what asks for more gets an error, not the machine."""
    status = Path("/proc/self/statm")
    if status.exists():
        mapped = int(status.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + 2 * MAX_BYTES, resource.RLIM_INFINITY))


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
