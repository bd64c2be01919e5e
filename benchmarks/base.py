"""What a public base model gives away of a fine-tune: `python benchmarks/base.py --data DIR --cache DIR [--write]`.

Each fine-tune is audited twice, with `base` and without. Rows are kept in the cache, so that a run that was stopped
goes on; `--write` puts the table into `docs/benchmarks-base.md` and the pictures into `docs/figures/`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from base_victims import RECIPES, Recipe, Victim, victim
from page import markdown, processor
from PIL import Image
from torch import Tensor

from auditcli.attacks import all_attacks
from auditcli.auditing import load
from auditcli.effort import EFFORTS
from auditcli.membership import all_signals
from auditcli.outcomes import AttackOutcome, SignalOutcome, attempt, measure
from auditcli.scoring.significance import recovery
from auditcli.types import Sample, Target
from auditcli.weights import Sides, base_of, explained, flat_inputs, span

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks-base.md"
PICTURES = PAGE.parent / "figures" / "base-plain.png"
_COMPARED = 400
"""Controls that reconstructions are compared with."""
_SHOWN = 12
_SEED = 0


@dataclass(frozen=True, slots=True)
class Row:
    """What one model gave away."""

    name: str
    base: bool
    loss: float
    rank: int
    explained: float | None
    """Share of what training wrote that the members explain by the KKT condition at the final weights."""
    signals: dict[str, tuple[float, float]]
    """AUC and true-positive rate at 1% false positives, by name."""
    recovered: int | None
    """Members with SSIM >= 0.5 to some candidate; None where `kkt` does not apply."""
    best: float
    controls: int
    best_control: float
    p_value: float
    seconds: float


def main() -> None:
    """Measures what is not in the cache yet, and prints the table."""
    arguments = _arguments()
    rows = []
    for recipe in RECIPES:
        if arguments.only and recipe.name not in arguments.only:
            continue
        subject = victim(recipe, arguments.data, arguments.cache)
        for based in (True, False):
            rows.append(_kept(recipe, subject, arguments.cache, based=based))
    print(text := _table(rows))
    if arguments.write:
        _write(text)
        _draw(arguments.cache, victim(RECIPES[0], arguments.data, arguments.cache))


def _kept(recipe: Recipe, subject: Victim, cache: Path, *, based: bool) -> Row:
    """A row of the cache, or a new one."""
    path = cache / f"row-{recipe.name}-{'with' if based else 'without'}.json"
    if not path.exists():
        print(f"{path.stem} at {datetime.now(UTC):%H:%M:%S}", file=sys.stderr, flush=True)
        row, candidates = _measured(recipe, subject, based=based)
        if candidates is not None:
            np.savez_compressed(path.with_suffix(".npz"), candidates=(candidates * 255).round().byte().numpy())
        path.write_text(json.dumps(asdict(row)))
    return Row(**json.loads(path.read_text()))


def _measured(recipe: Recipe, subject: Victim, *, based: bool) -> tuple[Row, Tensor | None]:
    target = load(subject.model, device="cpu", base=subject.base if based else None)
    signals = [one for one in all_signals() if one.name in ("span", "multipliers", "head_span", "head_multipliers")]
    scored = [
        measure(one, target, subject.members, subject.controls, torch.device("cpu"), seed=_SEED) for one in signals
    ]
    (kkt,) = (attack for attack in all_attacks() if attack.name == "kkt")
    far = _few(subject.controls, _COMPARED)
    budget = EFFORTS["standard"].budget(600.0)
    found = attempt(kkt, target, budget, subject.members, far, seed=_SEED, watch=None) if recipe.attacked else None
    rank, share = _written(target, subject.members)
    row = Row(
        name=recipe.name,
        base=based,
        loss=subject.loss,
        rank=rank,
        explained=share,
        signals={one.signal.name: _rates(one) for one in scored if one.finding is not None},
        **_recovered(found),
    )
    return row, None if found is None or found.found is None else found.found.candidates.flatten(0, 1)


def _written(target: Target, members: Sample) -> tuple[int, float | None]:
    """Rank of the span, and how far the KKT condition holds for the members."""
    dense = target.dense if target.head is None else target.head.dense
    if dense is None:
        raise TypeError("a victim has linear layers")
    weights = span(dense, base_of(target))
    if target.dense is None or members.labels is None or weights.rank == 0:
        return weights.rank, None
    inputs = flat_inputs(dense, target.profile.normalisation, members.images)
    return weights.rank, explained(dense, weights, inputs, Sides(members.labels, target.profile.classes))


def _rates(outcome: SignalOutcome) -> tuple[float, float]:
    near, far = np.array(outcome.members), np.sort(outcome.controls)
    bar = far[-max(1, len(far) // 100)]
    if outcome.finding is None:
        raise TypeError("only what was scored has rates")
    return outcome.finding.auc.value, float((near > bar).mean())


def _recovered(outcome: AttackOutcome | None) -> dict[str, Any]:
    if outcome is None or outcome.members is None or outcome.controls is None or outcome.found is None:
        return {"recovered": None, "best": 0.0, "controls": 0, "best_control": 0.0, "p_value": 1.0, "seconds": 0.0}
    near, far = outcome.members.best, outcome.controls.best
    return {
        "recovered": sum(value >= 0.5 for value in near),
        "best": max(near),
        "controls": sum(value >= 0.5 for value in far),
        "best_control": max(far),
        "p_value": recovery(near, far, seed=_SEED).p_value,
        "seconds": outcome.found.seconds,
    }


def _few(sample: Sample, count: int) -> Sample:
    labels = None if sample.labels is None else sample.labels[:count]
    return replace(
        sample, images=sample.images[:count], ids=sample.ids[:count], hashes=sample.hashes[:count], labels=labels
    )


def _table(rows: Sequence[Row]) -> str:
    header = (
        *("fine-tune", "--base", "directions", "KKT explains", "`span` AUC / TPR at 1%", "`multipliers`"),
        *("`kkt`: members at SSIM 0.5", "best", "controls at 0.5 (best)", "p"),
    )
    return "\n".join(markdown(header, (_cells(row) for row in rows)))


def _cells(row: Row) -> tuple[object, ...]:
    spans = row.signals.get("span") or row.signals.get("head_span")
    regressed = row.signals.get("head_multipliers") if "head_span" in row.signals else row.signals.get("multipliers")
    what = f"{row.name}, loss {row.loss:.1g}"
    cells = [what, "yes" if row.base else "no", row.rank, "-" if row.explained is None else f"{row.explained:.0%}"]
    cells += ["-" if one is None else f"{one[0]:.3f} / {one[1]:.0%}" for one in (spans, regressed)]
    if row.recovered is None:
        return (*cells, "-", "-", "-", "-")
    return (*cells, row.recovered, f"{row.best:.2f}", f"{row.controls} ({row.best_control:.2f})", f"{row.p_value:.1g}")


def _write(table: str) -> None:
    """Replace what stands between the markers of the page."""
    machine = f"{processor()}, {os.cpu_count()} cores, one thread, torch {torch.__version__}, {platform.machine()}"
    made = f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine}."
    recipes = "\n".join(markdown(("fine-tune", "how"), ((one.name, one.what) for one in RECIPES)))
    text = PAGE.read_text(encoding="utf-8")
    block = f"<!-- table -->\n{recipes}\n\n{table}\n\n{made}\n<!-- end -->"
    PAGE.write_text(re.sub(r"<!-- table -->.*<!-- end -->", lambda _: block, text, flags=re.S), encoding="utf-8")


def _draw(cache: Path, subject: Victim) -> None:
    """Members of the first recipe above their nearest candidates, with the base and without, as a sheet."""
    from auditcli.scoring.matching import similarity

    columns: list[list[Tensor]] = []
    order: list[int] = []
    for with_base in ("with", "without"):
        with np.load(cache / f"row-{RECIPES[0].name}-{with_base}.npz", allow_pickle=False) as stored:
            candidates = torch.from_numpy(stored["candidates"]).float() / 255
        near = similarity(candidates, subject.members.images)
        order = order or sorted(range(len(near.best)), key=lambda index: -near.best[index])[:_SHOWN]
        columns.append([candidates[near.best_candidate[index]][0] for index in order])
    rows = [[subject.members.images[index][0] for index in order], *columns]
    sheet = torch.cat(
        [torch.cat([torch.nn.functional.pad(one, (1, 1, 1, 1), value=1) for one in row], 1) for row in rows]
    )
    picture = Image.fromarray((sheet * 255).round().byte().numpy())
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(PICTURES)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of fashion_mnist.npz")
    parser.add_argument("--cache", type=Path, default=Path("build/base"), help="folder of victims and rows")
    parser.add_argument("--only", action="append", choices=[one.name for one in RECIPES], help="default: all")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks-base.md and docs/figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
