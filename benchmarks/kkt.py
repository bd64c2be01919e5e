"""Our `kkt` beside the published recipe, on one victim in one run: `python benchmarks/kkt.py --data DIR`.

Writes `kkt-VICTIM.json`, `.md` (a table) and `.svg` (recoveries over time) into `--output`, where trained victims are
kept too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
from kkt_published import PUBLISHED, Settings, published
from kkt_recoveries import Curve, record, score
from kkt_victims import RECIPES, Victim, victim
from matplotlib import rc_context
from matplotlib.figure import Figure
from page import processor
from torch import Tensor

from auditcli.attacks import all_attacks
from auditcli.effort import EFFORTS
from auditcli.types import Budget, Target
from auditcli.weights import span

_MARKS = (1, 2, 5, 10)
_ADAM_RATE = 0.01


@dataclass(frozen=True, slots=True)
class Method:
    """An attack as it is timed."""

    name: str
    start: Callable[[Target, int, torch.Generator], Iterator[Tensor]]
    """`start(target, n, rng)` yields (n, c, h, w) pixels once a step."""
    seconds: float
    """Of processor time."""


def main() -> None:
    """Prints one table a victim."""
    arguments = _arguments()
    for name in arguments.victim or RECIPES:
        print(compare(name, arguments.data, arguments.output, seconds=arguments.seconds, seed=arguments.seed))


def compare(name: str, data: Path, output: Path, *, seconds: float, seed: int) -> str:
    """Run all methods on one victim and write what came out.

    Args:
        name: Of the victim.
        data: Folder of the data sets.
        output: Where results and trained victims go.
        seconds: Of processor time for ours and the published recipe; two thirds of it under Adam.
        seed: Of the attacks' starts.

    Returns:
        The table, as Markdown.
    """
    _say(f"{name}: training, or reading what was trained before")
    subject = victim(RECIPES[name], data, output / "victims")
    curves = tuple(measure(method, subject, seed) for method in methods(name, seconds))
    about = _about(name, subject, seed)
    text = table(about, curves)
    (output / f"kkt-{name}.json").write_text(
        json.dumps({"about": about, "methods": [asdict(curve) for curve in curves]}, indent=1) + "\n"
    )
    (output / f"kkt-{name}.md").write_text(text)
    draw(curves, output / f"kkt-{name}.svg", f"{name}: {about['victim']}")
    return text


def methods(name: str, seconds: float) -> tuple[Method, ...]:
    """Ours at all efforts, both published settings nearest to the victim, and the same loss under Adam."""
    ours = tuple(Method(f"kkt, {effort}", partial(_ours, effort), seconds) for effort in EFFORTS)
    theirs = [Method(f"published ({one.name})", partial(_published, one), seconds) for one in PUBLISHED[name]]
    adam = replace(PUBLISHED[name][0], rate=_ADAM_RATE, multiplier_rate=_ADAM_RATE, optimiser="adam")
    theirs.append(Method(f"published loss, Adam {_ADAM_RATE}", partial(_published, adam), seconds * 2 / 3))
    return (*ours, *theirs)


def measure(method: Method, subject: Victim, seed: int) -> Curve:
    """Run one method with twice as many candidates as there are members, then score it."""
    _say(method.name)
    rng = torch.Generator().manual_seed(seed)
    n = 2 * len(subject.members)
    return score(method.name, record(method.start(subject.target, n, rng), method.seconds), subject)


def table(about: dict[str, str], curves: tuple[Curve, ...]) -> str:
    """Markdown: what was measured on what, a line a method, and how many times as fast our longest run is."""
    marks = " | ".join(f"{mark}" for mark in _MARKS)
    lines = [
        *(f"- {key}: {value}" for key, value in about.items()),
        "",
        f"| method | candidates | steps | seconds | s to {marks} | SSIM >= 0.5 (one-to-one) | stretched | cosine > 0.9 "
        "| best | controls >= 0.5 (best) |",
        f"|---|{'---:|' * (8 + len(_MARKS))}",
        *(_row(curve) for curve in curves),
        "",
    ]
    ours = [curve for curve in curves if curve.name.startswith("kkt")][-1]
    lines += [_speed(ours, curve) for curve in curves if not curve.name.startswith("kkt")]
    return "\n".join(lines) + "\n"


def draw(curves: tuple[Curve, ...], path: Path, title: str) -> None:
    """Plot members recovered over processor time, as SVG, the same bytes for the same numbers."""
    with rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for curve in curves:
            style = "-" if curve.name.startswith("kkt") else "--"
            times = [point.seconds for point in curve.points]
            axes.step(times, [point.ssim for point in curve.points], style, where="post", label=curve.name)
        axes.set(xscale="log", xlabel="processor seconds", ylabel="members with SSIM >= 0.5", title=title)
        axes.set_ylim(bottom=-0.3)
        axes.set_xlim(left=0.1)
        axes.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})


def _ours(effort: str, target: Target, n: int, rng: torch.Generator) -> Iterator[Tensor]:
    attack = next(one for one in all_attacks() if one.name == "kkt")
    budget = Budget(steps=EFFORTS[effort].steps, seconds=float("inf"), candidates=n, restarts=1)
    for step in attack.start(target, budget, rng):
        yield step.candidates[0]


def _published(settings: Settings, target: Target, n: int, rng: torch.Generator) -> Iterator[Tensor]:
    return published(target, n, rng, settings)


def _about(name: str, subject: Victim, seed: int) -> dict[str, str]:
    dense = subject.target.dense
    if dense is None:
        raise TypeError("a victim is a dense network")
    recipe = RECIPES[name]
    threads = torch.get_num_threads()
    return {
        "victim": f"{Path(recipe.file).stem}, n={len(subject.members)}, {subject.target.profile.architecture}",
        "training": f"{recipe.steps} full-batch steps, lr {recipe.lr}, momentum {recipe.momentum}, weight decay "
        f"{recipe.weight_decay}, first layer's initial std {recipe.first_std}; loss {subject.loss:.1e}, cosine of "
        f"layer 1 and its descent direction {subject.alignment:.3f}, rank of the span {span(dense).rank}",
        "machine": f"{processor()}, {os.cpu_count()} cores, {threads} thread{'s' * (threads > 1)}, torch "
        f"{torch.__version__}, Python {platform.python_version()}",
        "measured": f"{datetime.now(UTC):%Y-%m-%d}, seed {seed}",
    }


def _row(curve: Curve) -> str:
    last = curve.points[-1]
    times = (curve.seconds_to(mark) for mark in _MARKS)
    cells = [
        curve.name,
        curve.candidates,
        f"{last.step:,}{' (diverged)' * curve.diverged}",
        f"{last.seconds:.0f}",
        *("-" if time is None else f"{time:.1f}" for time in times),
        f"{last.ssim} ({curve.matched})",
        last.stretched,
        last.cosine,
        f"{last.best:.2f}",
        f"{curve.controls} ({curve.best_control:.2f})",
    ]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _speed(ours: Curve, theirs: Curve) -> str:
    shared = min(ours.most, theirs.most)
    limit = theirs.points[-1].seconds
    fast, slow = ours.seconds_to(max(shared, 1)), theirs.seconds_to(max(shared, 1))
    if fast is None:
        return f"- {theirs.name}: {theirs.most} in {limit:.0f} s; {ours.name} recovered none."
    if slow is None:
        return f"- {theirs.name}: none in {limit:.0f} s, the first by {ours.name} in {fast:.1f} s."
    times = f"{shared} recovered in {slow:.1f} s, by {ours.name} in {fast:.1f} s"
    return f"- {theirs.name}: {times}, {slow / fast:.1f} times as fast."


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of mnist.npz, cifar10.npz, fashion_mnist.npz")
    parser.add_argument("--victim", choices=tuple(RECIPES), action="append", help="default: all")
    parser.add_argument("--seconds", type=float, default=150.0, help="processor time of each method at most")
    parser.add_argument("--output", type=Path, default=Path("build/kkt"))
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
