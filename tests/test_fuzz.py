"""Damaged files of every kind, read in a process that is watched: refused in one line or accepted, and nothing else.

`python benchmarks/fuzz.py --cases 5000` reads more of them.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import fuzz  # noqa: E402
import fuzz_seeds  # noqa: E402

CASES = 270
KINDS = [kind for kind in fuzz_seeds.KINDS if fuzz_seeds.seeds(kind)]


def test_damaged_files_are_refused_in_one_line_or_accepted():
    counts = Counter()
    for case, result in fuzz.fuzz(fuzz.cases(KINDS, CASES, seed=0), KINDS):
        command = f"python benchmarks/fuzz.py --kind {case.kind} --only {case.number} --keep FOLDER"
        assert result.outcome != "finding", f"{case.name}: {result.detail} (again: {command})"
        counts[case.kind, result.outcome] += 1
    assert counts.total() == CASES
    for kind in KINDS:
        assert counts[kind, "refused"] > 0, f"no damage to {kind} was noticed"
        assert counts[kind, "accepted"] > 0, f"no damaged {kind} came through to what is behind the checks"


@pytest.mark.parametrize("kind", KINDS)
def test_a_case_is_made_again_by_its_number(kind):
    known = fuzz_seeds.seeds(kind)
    first, again, other = (fuzz.case(kind, number, 0, known).seed.files for number in (7, 7, 8))
    assert first == again != other


@pytest.mark.parametrize("kind", KINDS)
def test_most_cases_are_damaged(kind):
    known = fuzz_seeds.seeds(kind)
    whole = [seed.files for seed in known]
    made = [known[number % len(known)].damaged(Random(number)) for number in range(60)]
    assert sum(seed.files in whole for seed in made) < 20


READER = """
import json, os, sys, time
for line in sys.stdin:
    request = json.loads(line)
    answer = {"outcome": "accepted", "detail": "", "seconds": 0, "processor": 0, "peak": 0}
    if not request.get("warm_up"):
        misbehave()
    print(json.dumps(answer), flush=True)
"""


@pytest.mark.parametrize(
    ("misbehaviour", "said"),
    [
        ("while True: pass", "hang"),
        ("time.sleep(100)", "hang"),
        ("os.abort()", "crash: the reader died with exit code -6"),
        ("open('left', 'w').close()", "files appeared: work/left"),
        ("open(os.path.expanduser('~/left'), 'w').close()", "files appeared: home/left"),
        ("pass", ""),
    ],
)
def test_the_parent_sees_what_a_reader_should_not_do(tmp_path, monkeypatch, misbehaviour, said):
    monkeypatch.setattr(fuzz, "PROCESSOR_SECONDS", 0.5)
    monkeypatch.setattr(fuzz, "WAITING_SECONDS", 3.0)
    reader = tmp_path / "reader.py"
    reader.write_text(f"def misbehave():\n    {misbehaviour}\n{READER}")
    results = [result for _, result in fuzz.fuzz(fuzz.cases(["npz"], 2, seed=0), ["npz"], reader)]
    assert [result.outcome for result in results] == ["finding" if said else "accepted"] * 2
    assert all(said in result.detail for result in results)


WATCHED = """
import json, os, pickle, socket, subprocess, sys, tempfile
sys.path.insert(0, {benchmarks!r})
import torch, fuzz_worker
from auditcli.errors import LoadError
watch = fuzz_worker.Watch()
fuzz_worker.MAX_BYTES = 2**30
"""
DEED = """
def read(path):
    {deed}
    return "done"
fuzz_worker._read_model = read
print(json.dumps(fuzz_worker._answer({{"path": "model.onnx", "shape": None}}, watch)))
"""
DEEDS = {
    "return 'fine'": ("accepted", "fine"),
    "open(os.devnull, 'w').close()": ("accepted", "done"),
    "raise LoadError('one line', hint='another')": ("refused", "one line"),
    "error = LoadError('x'); error.message = 'two\\nlines'; raise error": ("finding", "not printable"),
    "error = LoadError('x'); error.message = 'x' * 2000; raise error": ("finding", "2000 characters"),
    "error = LoadError('x'); error.hint = '\\x1b[31m'; raise error": ("finding", "a hint of"),
    "raise KeyError('what')": ("finding", "KeyError"),
    "open('left', 'w').close()": ("finding", "open('left'"),
    "try: os.mkdir('left')\n    except OSError: pass": ("finding", "os.mkdir"),
    "tempfile.mkdtemp()": ("finding", "forbidden"),
    "subprocess.run(['true'])": ("finding", "subprocess.Popen"),
    "socket.create_connection(('localhost', 9))": ("finding", "socket."),
    "pickle.loads(b'cos\\nsystem\\n.')": ("finding", "pickle.find_class"),
    "print('Traceback (most recent call last):')": ("finding", "traceback"),
    "torch.ones(300 * 2**20).sum()": ("finding", "memory: 1"),
    "try: torch.empty(2**50)\n    except RuntimeError as e: raise LoadError('no') from e": ("finding", "more memory"),
}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is counted where /proc is")
def test_the_reader_sees_what_a_file_should_not_make_it_do(tmp_path):
    script = WATCHED.format(benchmarks=str(BENCHMARKS)) + "".join(DEED.format(deed=deed) for deed in DEEDS)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for (deed, (outcome, said)), answer in zip(DEEDS.items(), answers, strict=True):
        assert answer["outcome"] == outcome, (deed, answer)
        assert said in answer["detail"], (deed, answer)
    assert list(tmp_path.iterdir()) == []
