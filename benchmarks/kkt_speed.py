"""Seconds of one iteration: ours, the published loss and a bare matrix product: `python benchmarks/kkt_speed.py`.

All three take turns in one process on one network, with as many candidates, in float32. Nothing is trained: the time of
an iteration depends on sizes alone, once numbers too small for full precision, which a steep sigmoid makes and which a
CPU is slow at, are taken for 0. `--write` puts the table into the page.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from kkt_published import PUBLISHED, published
from kkt_victims import dense_target
from page import inserted, machine, markdown
from torch.utils.flop_counter import FlopCounterMode

from auditcli.attacks import all_attacks
from auditcli.types import Budget, DenseStack, Normalisation, Target
from auditcli.weights import span

_WARM = 3


@dataclass(frozen=True, slots=True)
class Case:
    """Sizes that are timed."""

    name: str
    widths: tuple[int, ...]
    shape: tuple[int, int, int]
    rank: int
    candidates: int
    published: str
    """Task whose published settings are used; their values do not change the time."""


CASES = (
    Case("MNIST victim", (784, 500, 500, 1), (1, 28, 28), 50, 100, "mnist"),
    Case("CIFAR-10 victim", (3072, 500, 500, 1), (3, 32, 32), 50, 100, "cifar"),
    Case("Fashion-MNIST victim", (784, 500, 500, 10), (1, 28, 28), 100, 200, "fashion"),
    Case("authors' MNIST, n=50", (784, 1000, 1000, 1), (1, 28, 28), 50, 100, "mnist"),
    Case("authors' CIFAR-10, n=50", (3072, 1000, 1000, 1), (3, 32, 32), 50, 100, "cifar"),
    Case("authors' MNIST, n=500", (784, 1000, 1000, 1), (1, 28, 28), 500, 1000, "mnist"),
    Case("authors' CIFAR-10, n=500", (3072, 1000, 1000, 1), (3, 32, 32), 500, 1000, "cifar"),
)


@dataclass(frozen=True, slots=True)
class Timing:
    """The fastest of the rounds: whatever else runs on a machine only makes them slower."""

    case: str
    candidates: int
    ours: float
    """Seconds of an iteration."""
    theirs: float
    product: float
    """Seconds of one square matrix product with as many multiplications as all of ours."""
    flops: float
    """Of all matrix products of one iteration of ours."""
    their_flops: float


def timed(case: Case, device: torch.device, rounds: int, block: int) -> Timing:
    """Time one case.

    Args:
        case: The sizes.
        device: Where it runs; on a GPU the clock waits for it.
        rounds: Turns that each of the three takes; the fastest counts.
        block: Iterations a turn.
    """
    target = _target(case, device)
    (kkt,) = (attack for attack in all_attacks() if attack.name == "kkt")
    budget = Budget(steps=10**6, seconds=float("inf"), candidates=case.candidates, restarts=1)
    ours = kkt.start(target, budget, torch.Generator().manual_seed(0))
    theirs = published(target, case.candidates, torch.Generator().manual_seed(0), PUBLISHED[case.published][0])
    flops, their_flops = _flops(ours), _flops(theirs)
    side = round((flops / 2) ** (1 / 3))
    left, right = (torch.randn(side, side, device=device) for _ in range(2))
    calls: tuple[Callable[[], object], ...] = (lambda: next(ours), lambda: next(theirs), lambda: left @ right)
    for call in calls:
        _seconds(call, _WARM, device)
    times = [[_seconds(call, block, device) for call in calls] for _ in range(rounds)]
    fast, slow, bare = (min(column) for column in zip(*times, strict=True))
    return Timing(case.name, case.candidates, fast, slow, bare, flops=flops, their_flops=their_flops)


def table(timings: list[Timing]) -> list[str]:
    """Markdown: a line a case."""
    header = ("sizes", "candidates", "ours", "published", "times as fast", "products", "ours of the limit")
    return markdown(header, (_row(timing) for timing in timings))


def _row(timing: Timing) -> tuple[object, ...]:
    return (
        timing.case,
        timing.candidates,
        f"{timing.ours * 1e3:.1f} ms",
        f"{timing.theirs * 1e3:.1f} ms",
        f"{timing.theirs / timing.ours:.1f}",
        f"{timing.flops / 1e9:.2f} against {timing.their_flops / 1e9:.2f} GFLOP",
        f"{timing.product / timing.ours:.0%}",
    )


def _flops(steps: Iterator[object]) -> float:
    """Of the matrix products of one iteration, counted while it runs; the first two build what stays."""
    for _ in range(2):
        next(steps)
    with FlopCounterMode(display=False) as counter:
        next(steps)
    return float(counter.get_total_flops())


def _seconds(call: Callable[[], object], block: int, device: torch.device) -> float:
    """Seconds a call: of this process on a CPU, of the wall on a GPU, which works beside it."""
    if device.type == "cpu":
        started = time.process_time()
        for _ in range(block):
            call()
        return (time.process_time() - started) / block
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    for _ in range(block):
        call()
    torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / block


def _target(case: Case, device: torch.device) -> Target:
    """A random network of these sizes whose span has the case's rank."""
    rng = torch.Generator().manual_seed(0)
    weights = tuple((torch.randn(b, a, generator=rng) / a**0.5).to(device) for a, b in pairwise(case.widths))
    biases = (torch.randn(case.widths[1], generator=rng).to(device), *(None for _ in weights[1:]))
    dense = DenseStack(weights, biases, "relu")
    target = dense_target(dense, case.shape, Normalisation((0.4,), (0.25,)))
    return replace(target, span=span(dense, at_least=case.rank))


def main() -> None:
    """Prints the table, and writes it where asked."""
    arguments = _arguments()
    device = torch.device(arguments.device)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    timings = []
    for case in CASES:
        if case.candidates > arguments.candidates:
            continue
        timings.append(timed(case, device, arguments.rounds, max(1, 400 // case.candidates)))
        print(_row(timings[-1]), file=sys.stderr, flush=True)
    lines = [machine(device), "", *table(timings)]
    print("\n".join(lines))
    if arguments.write:
        inserted(arguments.write, "speed", lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=200, help="sizes with at most so many; 1000 for n=500 too")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", type=Path, help="page whose table is replaced, e.g. docs/benchmarks-kkt.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
