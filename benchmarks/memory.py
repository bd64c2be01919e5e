"""What memory and time a large safetensors file takes: `python benchmarks/memory.py --gigabytes 4 --family vit`.

Writes a state dict of random weights to a scratch folder, then, each in a process of its own, hashes it, loads it,
inspects it, and builds its target with a forward pass on one image. *Peak* is the largest resident memory above that
of the process with everything imported; *own* is the part that is not pages of the file, which the system can drop and
read again. Both stand beside what the model needs: its numbers as float32.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO

import torch

from auditcli.families import Options, build, identify
from auditcli.inspection import inspect
from auditcli.loading import load, model_sha256

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_SIDE = 224
_SHAPE = (3, _SIDE, _SIDE)
_STAGES = ("hash", "load", "inspect", "build")
_INTERVAL_SECONDS = 0.005


class Meter:
    """Samples the resident memory of this process in a thread."""

    def __init__(self) -> None:
        self.whole = self.own = 0
        self._running = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sample what happens inside."""
        self._running = True
        thread = threading.Thread(target=self._sample)
        thread.start()
        try:
            yield
        finally:
            self._running = False
            thread.join()

    def _sample(self) -> None:
        while self._running:
            self._look()
            time.sleep(_INTERVAL_SECONDS)
        self._look()

    def _look(self) -> None:
        status = resident()
        self.whole, self.own = max(self.whole, status["VmRSS"]), max(self.own, status["RssAnon"])


def resident() -> dict[str, int]:
    """Resident bytes of this process: `VmRSS` in all, of which `RssAnon` belongs to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {key: int(value.split()[0]) * 1024 for key, value in (line.split(":") for line in lines) if "kB" in value}


def shapes(family: str, parameters: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network of about that many parameters, as `auditcli.families` reads them."""
    if family == "mlp":
        widths = (3 * _SIDE * _SIDE, max(8, parameters // (3 * _SIDE * _SIDE)), 1000)
        layers = [(f"fc{index}", (out, into)) for index, (into, out) in enumerate(pairwise(widths), 1)]
        return {f"{name}.{part}": shape[:size] for name, shape in layers for part, size in (("weight", 2), ("bias", 1))}
    width, tokens = 1024, (_SIDE // 16) ** 2 + 1
    depth = max(1, parameters // (12 * width * width))
    block = {"norm1": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width), "norm2": (width,)}
    block |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    named: dict[str, tuple[int, ...]] = {
        "norm": (width,),
        "head": (1000, width),
        "patch_embed.proj": (width, 3, 16, 16),
    }
    named |= {f"blocks.{index}.{name}": shape for index in range(depth) for name, shape in block.items()}
    both = {f"{name}.weight": shape for name, shape in named.items()}
    both |= {f"{name}.bias": shape[:1] for name, shape in named.items()}
    return {"cls_token": (1, 1, width), "pos_embed": (1, tokens, width), **both}


def write(path: Path, layout: Mapping[str, tuple[int, ...]], dtype: str) -> int:
    """Write random weights one tensor after the other; returns how many numbers they are."""
    size = _DTYPES[dtype].itemsize
    header, end, count = {}, 0, 0
    for name, shape in layout.items():
        numbers = torch.Size(shape).numel()
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end := end + numbers * size]}
        count += numbers
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for shape in layout.values():
            _write_tensor(stream, torch.Size(shape).numel(), _DTYPES[dtype])
    return count


def _write_tensor(stream: IO[bytes], count: int, dtype: torch.dtype) -> None:
    # One block over and over: numbers are not looked at, and random ones take longer than all the rest.
    block = (torch.rand(min(count, 2**22), generator=torch.Generator().manual_seed(0)) * 0.02 - 0.01).to(dtype)
    for start in range(0, count, len(block)):
        stream.write(block[: count - start].view(torch.uint8).numpy().tobytes())


def measure(stage: str, path: Path) -> dict[str, float]:
    """Seconds, peak and own bytes of one stage in this process."""
    options = Options(input_shape=_SHAPE)
    if stage == "build":
        _warm(path.parent)
    before, meter, began = resident(), Meter(), time.perf_counter()
    with meter.running():
        if stage == "hash":
            model_sha256(path)
        elif stage == "load":
            load(path)
        elif stage == "inspect":
            inspect(path, input_shape=_SHAPE)
        else:
            checkpoint = load(path)
            target = build(checkpoint, identify(checkpoint, options), options)
            with torch.no_grad():
                target(torch.rand(1, *_SHAPE))
    seconds = time.perf_counter() - began
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    whole = max(meter.whole, highest) - before["VmRSS"]
    return {"seconds": seconds, "peak": whole, "own": meter.own - before["RssAnon"]}


def _warm(folder: Path) -> None:
    """Build a small model first, so that the libraries' own memory is not counted as the large one's."""
    small = folder / "small.safetensors"
    write(small, {"fc1.weight": (8, 48), "fc1.bias": (8,)}, "F32")
    checkpoint, options = load(small), Options(input_shape=(3, 4, 4))
    build(checkpoint, identify(checkpoint, options), options)(torch.rand(1, 3, 4, 4))


def main() -> None:
    """Prints one line a stage."""
    arguments = _arguments()
    if arguments.stage:
        print(json.dumps(measure(arguments.stage, arguments.path)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        path = Path(scratch) / "model.safetensors"
        numbers = int(arguments.gigabytes * 2**30 / _DTYPES[arguments.dtype].itemsize)
        needs = 4 * write(path, shapes(arguments.family, numbers), arguments.dtype)
        size = path.stat().st_size
        print(
            f"{arguments.family}, {arguments.dtype}, {size / 2**30:.2f} GiB; needs {needs / 2**30:.2f} GiB as float32"
        )
        print(f"{'stage':8} {'seconds':>8} {'peak':>10} {'of need':>8} {'own':>10} {'of need':>8}")
        worst = 0.0
        for stage in _STAGES:
            command = [sys.executable, __file__, "--stage", stage, "--path", str(path)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            peak, own = found["peak"], found["own"]
            worst = max(worst, peak / needs)
            row = f"{peak / 2**20:7.0f} MB {peak / needs:8.2f} {own / 2**20:7.0f} MB {own / needs:8.2f}"
            print(f"{stage:8} {found['seconds']:6.1f} s {row}", flush=True)
    if worst > arguments.limit:
        sys.exit(f"a stage took {worst:.2f} times what the model needs; at most {arguments.limit} is wanted")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=0.25, help="size of the file")
    parser.add_argument("--family", choices=("mlp", "vit"), default="vit")
    parser.add_argument("--dtype", choices=tuple(_DTYPES), default="F32")
    parser.add_argument("--scratch", type=Path, help="folder with room for the file; default: that of tempfile")
    parser.add_argument("--limit", type=float, default=1.3, help="exit with 1 where a stage takes more than that")
    parser.add_argument("--stage", choices=_STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
