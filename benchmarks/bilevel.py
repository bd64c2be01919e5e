"""What reconstructions owe to where they began: `python benchmarks/bilevel.py --cache DIR [--write]`.

The same attacks on networks of growing depth, from noise, from real images that no network saw, and from the training
images with noise. A run that is in the cache is not run again. `--write` puts the tables and pictures into the docs.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from bilevel_figures import draw, sheet
from bilevel_victims import NAMES, Subject, subject
from page import markdown, processor
from torch import Tensor

from auditcli.attacks import Attack, all_attacks
from auditcli.attacks.bilevel import spanned
from auditcli.initialisation import Arrival, InitialisationCheck, Run, Start, compared, held_out, near, own, runs
from auditcli.types import Budget, Reconstruction, Sample, StopReason, WeightSpan
from auditcli.weights import Sides, explained, flat_inputs

ATTACKS = ("bilevel", "kkt")
SHOWN = ("affine", "mlp-leaky")
"""Networks whose pictures are saved."""
NOISE = (0.1, 0.4)
"""Standard deviations, in pixel units, of what is added to the training images."""
DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- measured -->\n", "<!-- end -->\n"
STEPS = {"affine": 400, "one hidden layer": 800, "mlp-leaky": 800}
"""Of each run; on an affine network the objective is at its end long before."""
CANDIDATES = 96


@dataclass(frozen=True, slots=True)
class Case:
    """One attack on one network."""

    network: str
    check: InitialisationCheck
    runs: Mapping[str, Run]
    """By the name of the start."""


def main() -> None:
    """Prints the tables, and writes them where that is asked for."""
    arguments = _arguments()
    subjects = {name: subject(name, arguments.cache / "victims") for name in NAMES}
    attacks = [attack for attack in all_attacks() if attack.name in (arguments.attack or ATTACKS)]
    cases, missing = [], []
    for attack in attacks:
        for name in arguments.network or NAMES:
            one = subjects[name]
            if arguments.cached and not all(
                _path(name, attack, start, arguments.cache, STEPS[name], arguments.seed).is_file()
                for start in _starts(one)
            ):
                missing.append(f"`{attack.name}` on {name}")
                continue
            cases.append(case(name, one, attack, arguments.cache, steps=STEPS[name], seed=arguments.seed))
    left = [f"**Not run: {', '.join(missing)}.**", ""] if missing else []
    text = "\n".join([*_about(arguments), "", *left, *_conditions(subjects), "", *_tables(cases)]) + "\n"
    print(text)
    if arguments.write:
        page = DOCS / "benchmarks-bilevel.md"
        before, rest = page.read_text(encoding="utf-8").split(BEGIN)
        page.write_text(before + BEGIN + text + END + rest.split(END)[1], encoding="utf-8")
        draw([(one.network, one.check) for one in cases], DOCS / "figures" / "bilevel.svg")
        for shown in cases:
            if shown.network in SHOWN:
                path = DOCS / "figures" / f"bilevel-{shown.network}-{shown.check.attack}.png"
                sheet(shown.runs, subjects[shown.network].members.images, path)


def case(name: str, one: Subject, attack: Attack, cache: Path, *, steps: int, seed: int) -> Case:
    """Run an attack from every start, or read what it came to before.

    Args:
        name: Of the network.
        one: The network and its images.
        attack: What to run.
        cache: Where runs are kept, a file each.
        steps: Of each run.
        seed: Of each run, and of the noise.
    """
    starts = _starts(one)
    found: list[Run | str] = []
    for start in starts:
        path = _path(name, attack, start, cache, steps, seed)
        if not path.is_file():
            _say(f"{name}, {attack.name}, {start.name}")
            candidates = CANDIDATES if not found else len(_done(found[0]).begun)
            budget = Budget(steps, seconds=float("inf"), candidates=candidates, restarts=1)
            _store(path, _done(runs(attack, one.target, [start], budget, seed=seed)[0]))
        found.append(_stored(path, attack.name))
    check = compared(attack, starts, found, seed=seed, members=one.members, controls=one.controls)
    pictures = {start.name: _done(run) for start, run in zip(starts, found, strict=True)}
    return Case(name, check, pictures)


def _starts(one: Subject) -> list[Start]:
    return [own(), held_out(one.held_out, one.target), *(near(one.members, one.target, noise) for noise in NOISE)]


def _path(name: str, attack: Attack, start: Start, cache: Path, steps: int, seed: int) -> Path:
    return cache / f"{name}-{attack.name}-{start.name}-{steps}-{seed}.npz".replace(" ", "-")


def _done(run: Run | str) -> Run:
    if isinstance(run, str):
        raise TypeError(f"a run of this benchmark came to nothing: {run}")
    return run


def _store(path: Path, run: Run) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = np.array([run.found.objective[0], run.objective, run.found.steps, run.found.seconds])
    np.savez_compressed(path, begun=run.begun.numpy(), arrived=run.arrived.numpy(), numbers=numbers)


def _stored(path: Path, attack: str) -> Run:
    with np.load(path, allow_pickle=False) as stored:
        objective, first, steps, seconds = stored["numbers"].tolist()
        begun, arrived = (torch.from_numpy(stored[part]) for part in ("begun", "arrived"))
    found = Reconstruction(attack, arrived[None], (objective,), (), int(steps), seconds, StopReason.STEPS)
    return Run(begun, found, first)


def _conditions(subjects: dict[str, Subject]) -> Iterator[str]:
    """How well sets of sixty images solve the condition of the first layer, before any attack."""
    rows = []
    for name, one in subjects.items():
        rng = torch.Generator().manual_seed(0)
        members, strangers = (_balanced(sample) for sample in (one.members, one.held_out))
        order = torch.randperm(members[0].numel(), generator=rng)
        sets = (
            members,
            strangers,
            members.flatten(1)[:, order].view_as(members),
            torch.rand(members.shape, generator=rng),
        )
        weights = spanned(one.target)
        rows.append((name, _equations(one, weights), *(f"{_unexplained(one, weights, images):.3f}" for images in sets)))
    header = ("network", "equations", "members", "held-out", "members, pixels shuffled", "noise")
    yield from markdown(header, rows)


def _equations(one: Subject, weights: WeightSpan) -> str:
    """Of the first layer, against the pixels of sixty images."""
    return f"{weights.image.numel():,} for {one.members.images.numel():,} pixels"


def _unexplained(one: Subject, weights: WeightSpan, images: Tensor) -> float:
    dense, profile = one.target.dense, one.target.profile
    if dense is None:
        raise TypeError("a network of this benchmark is dense")
    inputs = flat_inputs(dense, profile.normalisation, images)
    return 1 - explained(dense, weights, inputs, Sides.balanced(len(images), profile.classes))


def _balanced(sample: Sample) -> Tensor:
    """Six images of each class, the classes in turn."""
    if sample.labels is None:
        raise TypeError("the images of the fixtures have labels")
    groups = [torch.nonzero(sample.labels == label).flatten()[:6] for label in range(10)]
    chosen: Tensor = sample.images[torch.stack(groups, dim=1).flatten()]
    return chosen


def _tables(cases: Sequence[Case]) -> Iterator[str]:
    header = (
        *("start", "objective", "stayed", "likeness to its start", "as from noise", "nearer to a member"),
        *("members at 0.5", "controls at 0.5", "p"),
    )
    for one in cases:
        yield f"**{one.network}, `{one.check.attack}`** ({one.check.candidates} candidates)\n"
        yield from markdown(header, map(_row, one.check.arrivals))
        yield ""
        yield from (f"- {sentence}" for sentence in one.check.sentences)
        yield ""


def _row(arrival: Arrival) -> tuple[object, ...]:
    before, after, shared = arrival.before, arrival.after, arrival.shared[0]
    if before is None or after is None:
        raise TypeError("a run of this benchmark is scored")
    return (
        arrival.start,
        f"{arrival.first_objective:.3f} -> {arrival.objective:.3f}",
        f"{arrival.stayed:.0%}",
        f"{arrival.likeness:.2f}",
        "" if shared is None else f"{shared:.0%}",
        f"{before.nearer:.0%} -> {after.nearer:.0%} (chance {after.expected:.0%})",
        f"{before.members_over_half} -> {after.members_over_half}",
        f"{before.controls_over_half} -> {after.controls_over_half}",
        f"{after.test.p_value:.1g}",
    )


def _about(arguments: argparse.Namespace) -> list[str]:
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, {os.cpu_count()} cores, one thread, torch {torch.__version__}, "
        f"Python {platform.python_version()}; seed {arguments.seed}."
    ]


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path("build/bilevel"))
    parser.add_argument("--network", choices=NAMES, action="append", help="default: all")
    parser.add_argument("--attack", choices=ATTACKS, action="append", help="default: all")
    parser.add_argument("--cached", action="store_true", help="run nothing, and name what was not run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks-bilevel.md and docs/figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
