"""What reconstructions owe to where they began: `python benchmarks/bilevel.py --cache DIR [--write]`.

The same attacks on networks of growing depth, from noise, from real images that no network saw, and from the training
images with noise. A run that is in the cache is not run again. `--write` puts the tables and pictures into the docs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bilevel_figures import draw, sheet
from bilevel_victims import NAMES, Subject, subject
from page import markdown, processor
from torch import Tensor

from auditcli.attacks import Attack, all_attacks
from auditcli.effort import EFFORTS
from auditcli.initialisation import Start, compared, held_out, near, own, runs
from auditcli.weights import Sides, explained, flat_inputs, span

ATTACKS = ("bilevel", "kkt")
NOISE = (0.05, 0.1, 0.2, 0.4)
"""Standard deviations, in pixel units, of what is added to the training images."""
DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- measured -->\n", "<!-- end -->\n"
FULL = EFFORTS["standard"].steps


@dataclass(frozen=True, slots=True)
class Case:
    """One attack on one network."""

    network: str
    attack: str
    check: dict[str, Any]
    """An `InitialisationCheck` as JSON has it."""
    begun: dict[str, Tensor]
    """By start, (n, 1, h, w)."""
    arrived: dict[str, Tensor]


def main() -> None:
    """Prints the tables, and writes them where that is asked for."""
    arguments = _arguments()
    subjects = {name: subject(name, arguments.cache / "victims") for name in NAMES}
    cases = [
        case(name, one, attack, arguments.cache, steps=arguments.steps, seed=arguments.seed)
        for name, one in subjects.items()
        for attack in ATTACKS
    ]
    text = "\n".join([*_about(arguments), "", *_conditions(subjects), "", *_tables(cases)]) + "\n"
    print(text)
    if arguments.write:
        page = DOCS / "benchmarks-bilevel.md"
        before, rest = page.read_text(encoding="utf-8").split(BEGIN)
        page.write_text(before + BEGIN + text + END + rest.split(END)[1], encoding="utf-8")
        draw([(one.network, one.attack, one.check) for one in cases], DOCS / "figures" / "bilevel.svg")
        for one in cases:
            if one.network != "one hidden layer":
                name = f"bilevel-{one.network}-{one.attack}.png".replace(" ", "-")
                sheet(one.begun, one.arrived, subjects[one.network].members.images, DOCS / "figures" / name)


def case(name: str, one: Subject, attack: str, cache: Path, *, steps: int, seed: int) -> Case:
    """Run an attack from every start, or read what it came to before.

    Args:
        name: Of the network.
        one: The network and its images.
        attack: Name of the attack.
        cache: Where results are kept.
        steps: Of each run.
        seed: Of each run, and of the noise.
    """
    stem = cache / f"{name.replace(' ', '-')}-{attack}-{steps}-{seed}"
    report, images = stem.with_suffix(".json"), stem.with_suffix(".npz")
    starts = [own(), held_out(one.held_out, one.target), *(near(one.members, one.target, noise) for noise in NOISE)]
    if not (report.is_file() and images.is_file()):
        _say(f"{name}, {attack}")
        check, pictures = _measured(_attack(attack), one, starts, steps=steps, seed=seed)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(images, **pictures)
        report.write_text(json.dumps(check, indent=1) + "\n")
    with np.load(images, allow_pickle=False) as stored:
        begun, arrived = (
            {start.name: torch.from_numpy(stored[f"{part}-{start.name}"]).float() / 255 for start in starts}
            for part in ("begun", "arrived")
        )
    return Case(name, attack, json.loads(report.read_text()), begun, arrived)


def _measured(
    attack: Attack, one: Subject, starts: Sequence[Start], *, steps: int, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    budget = EFFORTS["standard"].budget(seconds=1e6)
    budget = type(budget)(steps, budget.seconds, budget.candidates, restarts=1)
    found = runs(attack, one.target, starts, budget, seed=seed)
    pictures = {}
    for start, run in zip(starts, found, strict=True):
        if isinstance(run, str):
            raise TypeError(f"{attack.name} from {start.name}: {run}")
        pictures[f"begun-{start.name}"] = (255 * run.begun).round().byte().numpy()
        pictures[f"arrived-{start.name}"] = (255 * run.arrived).round().byte().numpy()
    return asdict(compared(attack, starts, found, seed=seed, members=one.members, controls=one.controls)), pictures


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
        dense = one.target.dense
        if dense is None:
            raise TypeError("a network of this benchmark is dense")
        rank = span(dense).rank
        rows.append((name, _equations(one), rank, *(f"{_unexplained(one, images):.3f}" for images in sets)))
    header = ("network", "equations", "directions", "members", "held-out", "members, pixels shuffled", "noise")
    yield from markdown(header, rows)


def _equations(one: Subject) -> str:
    """Of the first layer in its span, against the pixels of sixty images."""
    dense = one.target.dense
    rows = 0 if dense is None else len(dense.weights[0])
    rank = 0 if dense is None else span(dense, at_least=2 * one.target.profile.classes).basis.shape[1]
    return f"{rows * rank:,} for {one.members.images.numel():,} pixels"


def _unexplained(one: Subject, images: Tensor) -> float:
    dense, profile = one.target.dense, one.target.profile
    if dense is None:
        raise TypeError("a network of this benchmark is dense")
    inputs = flat_inputs(dense, profile.normalisation, images)
    weights = span(dense, at_least=2 * profile.classes)
    return 1 - explained(dense, weights, inputs, Sides.balanced(len(images), profile.classes))


def _balanced(sample: Any) -> Tensor:
    """Six images of each class, the classes in turn."""
    groups = [torch.nonzero(sample.labels == label).flatten()[:6] for label in range(10)]
    chosen: Tensor = sample.images[torch.stack(groups, dim=1).flatten()]
    return chosen


def _tables(cases: Sequence[Case]) -> Iterator[str]:
    header = (
        *("start", "objective", "stayed", "likeness to its start", "as from noise", "nearer to a member"),
        *("members at 0.5", "controls at 0.5", "p"),
    )
    for one in cases:
        yield f"**{one.network}, `{one.attack}`** ({one.check['candidates']} candidates)\n"
        yield from markdown(header, map(_row, one.check["arrivals"]))
        yield ""
        yield from (f"- {sentence}" for sentence in one.check["sentences"])
        yield ""


def _row(arrival: dict[str, Any]) -> tuple[object, ...]:
    before, after = arrival["before"], arrival["after"]
    shared = arrival["shared"][0]
    return (
        arrival["start"],
        f"{arrival['first_objective']:.3f} -> {arrival['objective']:.3f}",
        f"{arrival['stayed']:.0%}",
        f"{arrival['likeness']:.2f}",
        "" if shared is None else f"{shared:.0%}",
        f"{before['nearer']:.0%} -> {after['nearer']:.0%} (chance {after['expected']:.0%})",
        f"{before['members_over_half']} -> {after['members_over_half']}",
        f"{before['controls_over_half']} -> {after['controls_over_half']}",
        f"{after['test']['p_value']:.1g}",
    )


def _about(arguments: argparse.Namespace) -> list[str]:
    full = "" if arguments.steps == FULL else f"; **not in full: {arguments.steps} steps**"
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, {os.cpu_count()} cores, one thread, torch {torch.__version__}, "
        f"Python {platform.python_version()}; {arguments.steps} steps a run, seed {arguments.seed}{full}."
    ]


def _attack(name: str) -> Attack:
    return next(attack for attack in all_attacks() if attack.name == name)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path("build/bilevel"))
    parser.add_argument("--steps", type=int, default=FULL, help="of each run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks-bilevel.md and docs/figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
