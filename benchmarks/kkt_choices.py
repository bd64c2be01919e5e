"""What each choice in `kkt` is worth, on the victims of `kkt.py`: `python benchmarks/kkt_choices.py --data DIR`.

Rows are kept in `--cache`, so that a run goes on where it stopped; `--write` puts the tables into the page.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from kkt_variants import Variant, altered, finished, fitted, split
from kkt_victims import RECIPES, Victim, victim
from page import inserted, machine, markdown

from auditcli.attacks import all_attacks, run
from auditcli.scoring.agreement import agreement
from auditcli.scoring.ssim import pairwise_ssim
from auditcli.types import Budget
from auditcli.weights import Sides, explained, flat_inputs, span

_SSIM, _AGREEMENT = 0.5, 0.9
_RESTARTS = 2

VARIANTS = (
    Variant("as shipped", {}),
    Variant("runner-up margin", {"temperature": 0.0}),
    Variant("temperature 0.3", {"temperature": 0.3}),
    Variant("exponent 0.4", {"exponent": 0.4}),
    Variant("exponent 0.7", {"exponent": 0.7}),
    Variant("exponent 0.8", {"exponent": 0.8}),
    Variant("sharpness 10", {"sharpness": 10.0}),
    Variant("sharpness 40", {"sharpness": 40.0}),
    Variant("sharpness 100", {"sharpness": 100.0}),
    Variant("0.7 of the directions", {}, directions=0.7),
    Variant("1.3 of the directions", {}, directions=1.3),
    Variant("1 candidate a direction", {"guesses": 1.0}),
    Variant("4 candidates a direction", {"guesses": 4.0}),
    Variant("multipliers fitted every 25 steps", {}, fitted(25, 0.0)),
    Variant("the same, none below 0.6 of the mean", {}, fitted(25, 0.6)),
    Variant("split three times", {}, split((0.4, 0.6, 0.75))),
    Variant("float64 for the last fifth", {}, finished(0.2)),
    Variant("chosen by trials", {"choose": True}),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One run of one variant."""

    victim: str
    variant: str
    steps: int
    seed: int
    seconds: float
    """Of processor time."""
    recovered: tuple[int, ...]
    """Members with SSIM >= 0.5 to a candidate of each restart."""
    together: int
    """Members with SSIM >= 0.5 to a candidate of any restart."""
    near: float
    """Mean over members of the SSIM of the nearest candidate, averaged over restarts."""
    controls: float
    """Share of 400 controls with SSIM >= 0.5 to a candidate of any restart."""
    objective: tuple[float, ...]
    explained: tuple[float, ...]
    """Share of the layer, with the best multipliers; the same measure whatever the settings are."""
    agreement: float
    """Mean over candidates."""
    agreed: int
    """Candidates of the first restart with an agreement >= 0.9."""
    precision: float
    """Share of these with SSIM >= 0.5 to a member; -1 where there are none."""
    base_rate: float
    """The same share of all candidates."""


def measure(name: str, subject: Victim, variant: Variant, steps: int, seed: int) -> Row:
    """Run one variant, then score it."""
    (kkt,) = (attack for attack in all_attacks() if attack.name == "kkt")
    budget = Budget(steps, float("inf"), 10_000, _RESTARTS)
    started = time.process_time()
    found = run(altered(kkt, variant), subject.target, budget, seed=seed)
    seconds = time.process_time() - started
    near = torch.stack([pairwise_ssim(images, subject.members) for images in found.candidates])
    scores = agreement(found.candidates)
    agreed, good = scores >= _AGREEMENT, near.amax(dim=2) >= _SSIM
    controls = pairwise_ssim(found.candidates.flatten(0, 1), subject.controls).amax(dim=0)
    return Row(
        victim=name,
        variant=variant.name,
        steps=steps,
        seed=seed,
        seconds=seconds,
        recovered=tuple((near.amax(dim=1) >= _SSIM).sum(dim=1).tolist()),
        together=int((near.amax(dim=(0, 1)) >= _SSIM).sum()),
        near=float(near.amax(dim=1).mean()),
        controls=float((controls >= _SSIM).float().mean()),
        objective=found.objective,
        explained=tuple(_explained(subject, images) for images in found.candidates),
        agreement=float(scores.mean()),
        agreed=int(agreed[0].sum()),
        precision=float(good[agreed].float().mean()) if agreed.any() else -1.0,
        base_rate=float(good.float().mean()),
    )


def _explained(subject: Victim, images: torch.Tensor) -> float:
    target = subject.target
    if target.dense is None:
        raise TypeError("a victim is a dense network")
    inputs = flat_inputs(target.dense, target.profile.normalisation, images)
    weights = span(target.dense, at_least=2 * target.profile.classes)
    return explained(target.dense, weights, inputs, Sides.balanced(len(images), target.profile.classes))


def rows(arguments: argparse.Namespace) -> list[Row]:
    """All rows that were asked for, those kept from before among them."""
    kept: dict[str, dict[str, Any]] = {}
    path = arguments.cache / "choices.json"
    if path.exists():
        kept = json.loads(path.read_text())
    found = []
    for name in arguments.victim or RECIPES:
        subject = victim(RECIPES[name], arguments.data, arguments.cache / "victims")
        for variant in VARIANTS:
            if arguments.variant and variant.name not in arguments.variant:
                continue
            if "temperature" in variant.settings and subject.target.profile.outputs == 1:
                continue
            key = f"{name}, {variant.name}, {arguments.steps}, {arguments.seed}"
            if arguments.kept and key not in kept:
                continue
            if key not in kept:
                row = measure(name, subject, variant, arguments.steps, arguments.seed)
                print(_cells(row), file=sys.stderr, flush=True)
                kept[key] = asdict(row)
                path.write_text(json.dumps(kept, indent=1) + "\n")
            found.append(Row(**kept[key]))
    return found


def table(found: list[Row]) -> list[str]:
    """Markdown: a line a run."""
    header = (
        *("victim", "variant", "recovered", "together", "SSIM", "controls"),
        *("explained", "agreement", "agreed", "right of these", "right of all", "seconds"),
    )
    return markdown(header, (_cells(row) for row in found))


def _cells(row: Row) -> tuple[object, ...]:
    return (
        row.victim,
        row.variant,
        " and ".join(map(str, row.recovered)),
        row.together,
        f"{row.near:.3f}",
        f"{row.controls:.0%}",
        " and ".join(f"{share:.3f}" for share in row.explained),
        f"{row.agreement:.3f}",
        row.agreed,
        "-" if row.precision < 0 else f"{row.precision:.0%}",
        f"{row.base_rate:.0%}",
        f"{row.seconds:.0f}",
    )


def main() -> None:
    """Prints the table, and writes it where asked."""
    arguments = _arguments()
    lines = [machine(torch.device("cpu")), "", *table(rows(arguments))]
    print("\n".join(lines))
    if arguments.write:
        inserted(arguments.write, "choices", lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of mnist.npz, cifar10.npz, fashion_mnist.npz")
    parser.add_argument("--victim", choices=tuple(RECIPES), action="append", help="default: all")
    parser.add_argument("--variant", action="append")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("build/kkt"))
    parser.add_argument("--kept", action="store_true", help="only rows that were measured before")
    parser.add_argument("--write", type=Path, help="page whose table is replaced, e.g. docs/benchmarks-kkt.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
