"""How far a SAT solver inverts binarised networks of digits: `python benchmarks/sat.py --data DIR --cache DIR`.

Victims and rows are kept in `--cache`, so that a run that was ended goes on; `--write` puts the tables into
`docs/benchmarks-sat.md` and draws the figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from page import markdown, processor
from sat_encodings import ENCODINGS, first_solution
from sat_victims import VICTIMS, Recipe, digits, victim
from scipy.stats import mannwhitneyu
from torch import Tensor

from auditcli.cnf import Encoding, Search, State, encode
from auditcli.scoring.matching import similarity
from auditcli.types import BinarisedStack, Target

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks-sat.md"
FIGURE = ROOT / "docs" / "figures" / "sat-mnist.png"
_EACH, _APART = 10, 0.1
_COMPARED = 1_000
"""Members at most, and controls, that solutions are compared with."""


@dataclass(frozen=True, slots=True)
class Row:
    """One label of one victim."""

    label: int
    state: str
    first: float
    """Processor seconds to the first solution or the proof, the clauses of the label included."""
    first_wall: float
    """The same by the wall clock."""
    seconds: float
    """Processor seconds of all."""
    solutions: list[list[bool]]
    verified: int
    """Solutions that the network gives the label."""


def main() -> None:
    """Solves for all labels of all victims that are asked for."""
    arguments = _arguments()
    names = arguments.victim or list(VICTIMS)
    for name in names:
        target = victim(VICTIMS[name], arguments.data, arguments.cache)
        _solved(name, target, arguments)
    tables = {"machine": [_machine()], "victims": _victims(names, arguments), "leak": _leak(names, arguments)}
    if arguments.encodings:
        tables["encodings"] = _encodings(arguments)
    for lines in tables.values():
        print("\n".join(lines), end="\n\n")
    if arguments.write:
        _written(tables)
        _drawn(_rows("100-50-10", arguments.cache), VICTIMS["100-50-10"])


def solved(target: Target, encoding: Encoding, label: int, *, seconds: float, rng: torch.Generator) -> dict[str, Any]:
    """Ten solutions of a label, each `_APART` of the pixels from all others, or the proof that there is none.

    Args:
        target: Runs the solutions.
        encoding: Of the target.
        label: What to solve for.
        seconds: Of the wall clock, for the first solution and for each further one.
        rng: Of the phases.

    Returns:
        The fields of a `Row`.
    """
    began, wall = time.process_time(), time.monotonic()
    formula = encoding.labelled(label)
    found: list[list[bool]] = []
    first = first_wall = float("nan")
    with Search(formula, max(1, round(_APART * formula.pixels))) as search:
        while search.goes_on and len(found) < _EACH:
            guess = (torch.rand(formula.pixels, generator=rng) < 0.5).tolist()
            pixels = search.next(guess, time.monotonic() + seconds)
            if not found and search.state is not State.OPEN:
                first, first_wall = time.process_time() - began, time.monotonic() - wall
            if pixels is None:
                break
            found.append(list(pixels))
        state = search.state.value
    images = torch.tensor(found).float().reshape(-1, *target.profile.input_shape)
    verified = int((target(images).argmax(dim=1) == label).sum()) if found else 0
    return asdict(Row(label, state, first, first_wall, time.process_time() - began, found, verified))


def _solved(name: str, target: Target, arguments: argparse.Namespace) -> None:
    """Measure what is not in the cache yet, label by label."""
    stack = _stack(target)
    began = time.process_time()
    encoding = encode(stack)
    about = {
        "encoding seconds": time.process_time() - began,
        "variables": encoding.variables,
        "clauses": len(encoding.clauses),
        "accuracy": _accuracy(target, VICTIMS[name], arguments.data),
    }
    _kept(arguments.cache / f"{name}.json", lambda: about)
    for label in range(encoding.labels):
        rng = torch.Generator().manual_seed(1000 * arguments.seed + label)
        ask = partial(solved, target, encoding, label, seconds=arguments.seconds, rng=rng)
        row = _kept(arguments.cache / f"{name}-label-{label}.json", ask)
        print(name, label, row["state"], f"{row['first']:.2f}", len(row["solutions"]), flush=True)


def _machine() -> str:
    about = f"{processor()}, {os.cpu_count()} cores of which one thread was used, torch {torch.__version__}"
    return f"Measured {datetime.now(UTC):%Y-%m-%d} on {about}, Python {platform.python_version()}."


def _victims(names: Sequence[str], arguments: argparse.Namespace) -> list[str]:
    header = (
        *("victim", "accuracy train (test)", "variables", "clauses", "encoded in s", "labels solved", "proven empty"),
        *("open", "s to the first, all labels", "longest", "solutions (verified)", "s each", "apart, mean (least)"),
    )
    return markdown(header, (_victim(name, arguments.cache) for name in names))


def _victim(name: str, cache: Path) -> tuple[object, ...]:
    about, rows = json.loads((cache / f"{name}.json").read_text()), _rows(name, cache)
    states = [row.state for row in rows]
    found = sum(len(row.solutions) for row in rows)
    apart = torch.cat([_apart(row) for row in rows])
    firsts = [row.first for row in rows if row.state != State.OPEN]
    return (
        name,
        "{:.1%} ({:.1%})".format(*about["accuracy"]),
        f"{about['variables']:,}",
        f"{about['clauses']:,}",
        f"{about['encoding seconds']:.1f}",
        sum(state in {State.SOLVED, State.NONE_LEFT} for state in states),
        states.count(State.UNSATISFIABLE),
        states.count(State.OPEN),
        f"{sum(firsts):.1f}",
        f"{max(firsts, default=0):.1f}",
        f"{found} ({sum(row.verified for row in rows)})",
        f"{sum(row.seconds for row in rows) / max(1, found):.2f}",
        f"{apart.mean():.0%} ({apart.min():.0%})" if len(apart) else "-",
    )


def _apart(row: Row) -> Tensor:
    """Share of the pixels in which each pair of solutions differs."""
    signs = torch.tensor(row.solutions).float() * 2 - 1
    if len(signs) < 2:
        return torch.empty(0)
    shares = (1 - signs @ signs.T / signs.shape[1]) / 2
    upper = torch.triu_indices(len(signs), len(signs), offset=1)
    return shares[upper[0], upper[1]]


def _leak(names: Sequence[str], arguments: argparse.Namespace) -> list[str]:
    header = (
        *("victim", "members", "controls", "pixels from a member to the nearest solution", "from a control"),
        *("SSIM of a member to the best solution", "of a control", "p of members above controls"),
        "pixels from a control to the nearest member",
    )
    return markdown(header, (row for name in names for row in _nearness(name, arguments)))


def _nearness(name: str, arguments: argparse.Namespace) -> Iterator[tuple[object, ...]]:
    """How near solutions come to training images and to others of the same kind."""
    recipe = VICTIMS[name]
    solutions = [pixels for row in _rows(name, arguments.cache) for pixels in row.solutions]
    if not solutions:
        return
    members = digits(arguments.data, recipe.side, "train")[0]
    left = members[recipe.images :]
    controls = left if len(left) else digits(arguments.data, recipe.side, "test")[0]
    near, far = ((_spread(images) >= recipe.threshold).float() for images in (members[: recipe.images], controls))
    candidates = torch.tensor(solutions).float().reshape(-1, 1, recipe.side, recipe.side)
    pixels = [_nearest(images, candidates).mean().item() for images in (near, far)]
    ssim = [similarity(candidates, images).best for images in (near, far)]
    yield (
        *(name, len(near), len(far)),
        *(f"{value:.1f}" for value in pixels),
        *(f"{sum(values) / len(values):.3f}" for values in ssim),
        f"{mannwhitneyu(ssim[0], ssim[1], alternative='greater').pvalue:.2f}",
        f"{_nearest(far, near).mean():.1f}",
    )


def _spread(images: Tensor) -> Tensor:
    """A thousand images from the whole of a data set: its first ones are often of a kind of their own, as in MNIST."""
    return images[:: max(1, len(images) // _COMPARED)][:_COMPARED]


def _nearest(images: Tensor, others: Tensor) -> Tensor:
    """Pixels in which each image differs from the nearest of the others."""
    left, right = (pixels.flatten(1) * 2 - 1 for pixels in (images, others))
    return ((left.shape[1] - left @ right.T) / 2).amin(dim=1)


def _encodings(arguments: argparse.Namespace) -> list[str]:
    """One victim's first solutions under several encodings and solvers."""
    stack = _stack(victim(VICTIMS["100-50-10"], arguments.data, arguments.cache))
    rows = []
    for encoding, solver in ENCODINGS:
        path = arguments.cache / f"encoding-{encoding}-{solver}.json"
        kept = _kept(path, partial(first_solution, stack, encoding, solver, seconds=20.0, seed=arguments.seed))
        times = [time for time in kept["seconds"] if time is not None]
        rows.append(
            (
                *(encoding, solver, f"{kept['variables']:,}", f"{kept['clauses']:,}", len(times)),
                *(f"{sum(times):.1f}", f"{max(times, default=0):.1f}"),
            )
        )
    return markdown(("encoding", "solver", "variables", "clauses", "labels solved", "s to the first", "longest"), rows)


def _kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured before, else what is measured now, kept for the next time."""
    if not path.exists():
        path.write_text(json.dumps(make(), indent=1) + "\n")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _rows(name: str, cache: Path) -> list[Row]:
    paths = (cache / f"{name}-label-{label}.json" for label in range(VICTIMS[name].outputs))
    return [Row(**json.loads(path.read_text())) for path in paths]


def _stack(target: Target) -> BinarisedStack:
    if target.binarised is None:
        raise TypeError("a victim is a binarised network")
    return target.binarised


def _accuracy(target: Target, recipe: Recipe, data: Path) -> list[float]:
    found = []
    for part in ("train", "test"):
        images, labels = digits(data, recipe.side, part)
        right = target(images[: recipe.images]).argmax(dim=1) == labels[: recipe.images]
        found.append(float(right.float().mean()))
    return found


def _written(tables: dict[str, list[str]]) -> None:
    text = PAGE.read_text()
    for name, lines in tables.items():
        inside = "\n".join(["", *lines, "", ""])
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)", rf"\g<1>{inside}\g<2>", text, flags=re.S)
    PAGE.write_text(text)


def _drawn(rows: list[Row], recipe: Recipe) -> None:
    """Solutions of each label in a row."""
    figure = Figure(figsize=(6, 6.2), layout="constrained")
    axes = figure.subplots(len(rows), _EACH, squeeze=False)
    for row, line in zip(rows, axes, strict=True):
        for place in line:
            place.set(xticks=[], yticks=[])
        for pixels, place in zip(row.solutions, line, strict=False):
            place.imshow(torch.tensor(pixels).view(recipe.side, recipe.side), cmap="gray", vmin=0, vmax=1)
        line[0].set_ylabel(str(row.label), rotation=0, va="center", labelpad=10)
    figure.savefig(FIGURE, dpi=100, metadata={"Software": None})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of mnist.npz")
    parser.add_argument("--cache", type=Path, default=Path("build/sat"))
    parser.add_argument("--victim", choices=tuple(VICTIMS), action="append", help="default: all")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each solution")
    parser.add_argument("--encodings", action="store_true", help="compare encodings and solvers too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
