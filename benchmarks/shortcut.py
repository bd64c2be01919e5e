"""Are planted shortcuts found, and where? Small networks with a patch that tells the class, and clean ones.

    python benchmarks/shortcut.py --data DIR --cache DIR [--set development|fresh] [--only mlp] [--write]

Three families on MNIST and Fashion-MNIST. A patch tells the class by its place (of all classes, or of three) or by its
brightness at one place, in all images or in nine of ten; the clean networks saw no patch, or a decoy that tells
nothing. The score, its quantiles and its threshold were chosen on the development set; the figures are of the fresh
one. Trained weights and what was measured of them are kept in the cache, so that a run that was stopped goes on.
`--write` rewrites the tables of docs/benchmarks-explain.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path

import torch
from explain_page import write
from page import markdown
from safetensors.torch import load_file, save_file
from shortcut_victims import CLASSES, SIDE, Plant, Recipe, Victim, places, victim
from torch import Tensor

from auditcli import shortcut
from auditcli.scoring.membership import auc_interval
from auditcli.shortcut import Place

FAMILIES = ("mlp", "cnn", "vit")
DATA = ("mnist", "fashion_mnist")
PLANTS = (
    Plant("position"),
    Plant("position", 0.9),
    Plant("position", 0.9, 3),
    Plant("intensity"),
    Plant("intensity", 0.9),
)
CLEAN = (Plant("clean"), Plant("clean"), Plant("decoy"))
CHOSEN_ON = (Plant("clean"), Plant("decoy"), PLANTS[0], PLANTS[2], PLANTS[1], PLANTS[3], PLANTS[4])
"""Of the development set, patches of side 4."""
SETS = ("development", "fresh")
SCORES = ("squares alone", "slopes alone", "both (the score)", "evidence in inverted images")


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one network."""

    family: str
    data: str
    kind: str
    strength: float
    classes: int
    size: int
    lean: float
    """How much accuracy on test images another class's patch costs, against the own class's."""
    scores: tuple[float, ...]
    """One for each of `SCORES`; the last only where it was measured."""
    flagged: int
    """Classes over the threshold."""
    at_a_place: int
    """Of those, classes whose place overlaps a planted one."""
    at_its_place: int
    """Of those, classes whose place overlaps their own."""
    marked: int
    """Classes with a patch."""
    seconds: float

    @property
    def planted(self) -> bool:
        """Whether there is a shortcut to find."""
        return self.kind in ("position", "intensity")

    @property
    def score(self) -> float:
        """The one of the product."""
        return self.scores[2]


def recipes(set_: str) -> Iterator[Recipe]:
    """All networks of a set; in the fresh one patches of side 3, 4 and 5 in turn."""
    if set_ == "development":
        for data, family in (("mnist", "mlp"), *(("fashion_mnist", family) for family in FAMILIES)):
            yield from (Recipe(data, family, plant, 100 + index) for index, plant in enumerate(CHOSEN_ON))
        return
    plants = product(DATA, FAMILIES, (*CLEAN, *PLANTS))
    for seed, (data, family, plant) in enumerate(plants, start=2000):
        yield Recipe(data, family, replace(plant, size=3 + seed % 3), seed)


def measured(recipe: Recipe, data: Path, cache: Path, *, integrated: bool) -> Row:
    """Train, diagnose, and compare with what was planted; what was measured before is read from the cache."""
    side = max(3, round(SIDE / shortcut.SIDES))
    seen = _seen(recipe, side, data, cache, integrated=integrated)
    scores, at = shortcut.concentration(seen["dependence"], _slopes(seen))
    stride = max(1, side // 2)
    found = [Place(row * stride, column * stride, side) for row, column in at]
    over = [label for label, score in enumerate(scores) if score >= shortcut.THRESHOLD]
    planted = [Place(row, column, recipe.plant.size) for row, column in places(recipe)]
    own = {label: planted[label if recipe.plant.kind == "position" else 0] for label in range(_marked(recipe.plant))}
    return Row(
        family=recipe.family,
        data=recipe.data,
        kind=recipe.plant.kind,
        strength=recipe.plant.strength,
        classes=recipe.plant.classes,
        size=recipe.plant.size,
        lean=float(seen["lean"]),
        scores=(*_alone(seen), max(scores), *(float(seen[name]) for name in ("integrated",) if name in seen)),
        flagged=len(over),
        at_a_place=sum(any(found[label].overlaps(place) for place in planted) for label in over),
        at_its_place=sum(label in own and found[label].overlaps(own[label]) for label in over),
        marked=len(own),
        seconds=float(seen["seconds"]),
    )


def _seen(recipe: Recipe, side: int, data: Path, cache: Path, *, integrated: bool) -> dict[str, Tensor]:
    """What is slow, kept in a file."""
    path = cache / "maps" / f"{recipe.key}.safetensors"
    if path.exists():
        return load_file(path)
    found = victim(recipe, data, cache / "victims")
    rng, began = torch.Generator().manual_seed(recipe.seed), time.monotonic()
    seen = {"dependence": shortcut.sway(found.target, side, rng).dependence().contiguous()}
    slopes = shortcut.slope(found.target, range(CLASSES), side, rng)
    seen |= {f"slope {index}": slope.contiguous() for index, slope in enumerate(slopes)}
    seen["seconds"] = torch.tensor(time.monotonic() - began)
    seen["lean"] = torch.tensor(_accuracy(found, found.own) - _accuracy(found, found.wrong))
    if integrated:
        seen["integrated"] = torch.tensor(_integrated(found, side, rng))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(seen, path)
    return seen


def _marked(plant: Plant) -> int:
    """How many classes have a patch."""
    return plant.classes if plant.planted else 0


def _slopes(seen: dict[str, Tensor]) -> list[Tensor]:
    return [value for name, value in sorted(seen.items()) if name.startswith("slope")]


def _alone(seen: dict[str, Tensor]) -> tuple[float, float]:
    """Either half of the score, with the other one held even."""
    dependence, slopes = seen["dependence"], _slopes(seen)
    halves = ((dependence, [torch.ones_like(slopes[0])]), (torch.ones_like(dependence), slopes))
    first, second = (max(shortcut.concentration(*half)[0]) ** 2 for half in halves)
    return first, second


def _integrated(found: Victim, side: int, rng: torch.Generator) -> float:
    """The largest contrast of a square's share of the evidence, over the ordinary one."""
    inverted = shortcut.inverted(found.target, range(CLASSES), rng, per_class=6)
    shares = shortcut.boxes(shortcut.evidence(found.target, inverted, rng), side)
    local = shortcut.contrast(shares, side)
    return float(local.max() / local.flatten().quantile(0.95))


def _accuracy(found: Victim, images: Tensor) -> float:
    with torch.no_grad():
        return float((found.target(images).argmax(1) == found.labels).double().mean())


def tables(rows: Sequence[Row], set_: str) -> dict[str, list[str]]:
    """Markdown by name."""
    return {
        f"{set_}-auc": markdown(
            ("networks", "planted", "clean", "AUC of the score", "planted found", "clean flagged", "places right"),
            (_summary(family, [row for row in rows if family in (row.family, "all")]) for family in (*FAMILIES, "all")),
        ),
        f"{set_}-kinds": markdown(
            ("planted", "networks", "found", "cost of a wrong patch", "marked classes found at their place"),
            (_kind(plant, [row for row in rows if _is_of(row, plant)]) for plant in PLANTS),
        ),
        f"{set_}-lean": markdown(
            ("a wrong patch costs", "planted networks", "AUC of the score against all clean ones", "found"),
            (_leaning(rows, low, high) for low, high in pairwise((-1.0, 0.2, 0.5, 1.0))),
        ),
        f"{set_}-choice": markdown(
            ("score", *FAMILIES, "all"),
            (
                (
                    name,
                    *(
                        _auc([row for row in rows if family in (row.family, "all")], index)
                        for family in (*FAMILIES, "all")
                    ),
                )
                for index, name in enumerate(SCORES)
                if all(index < len(row.scores) for row in rows)
            ),
        ),
    }


def _leaning(rows: Sequence[Row], low: float, high: float) -> tuple[object, ...]:
    some = [row for row in rows if not row.planted or low < row.lean <= high]
    planted = [row for row in some if row.planted]
    found = sum(row.flagged > 0 for row in planted)
    return f"{max(0.0, low):.0%} to {high:.0%}", len(planted), _auc(some, 2), f"{found} of {len(planted)}"


def _is_of(row: Row, plant: Plant) -> bool:
    return (row.kind, row.strength, row.classes) == (plant.kind, plant.strength, plant.classes)


def _auc(rows: Sequence[Row], index: int) -> str:
    planted, clean = ([row.scores[index] for row in rows if row.planted is whether] for whether in (True, False))
    return f"{auc_interval(planted, clean).value:.3f}" if planted and clean else "n/a"


def _summary(family: str, rows: Sequence[Row]) -> tuple[object, ...]:
    planted, clean = [row for row in rows if row.planted], [row for row in rows if not row.planted]
    if not (planted and clean):
        return (family, len(planted), len(clean), *("n/a",) * 4)
    auc = auc_interval([row.score for row in planted], [row.score for row in clean])
    flagged = sum(row.flagged for row in planted)
    return (
        family,
        len(planted),
        len(clean),
        f"{auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})",
        f"{sum(row.flagged > 0 for row in planted)} of {len(planted)}",
        f"{sum(row.flagged > 0 for row in clean)} of {len(clean)}",
        f"{sum(row.at_a_place for row in planted)} of {flagged}, own {sum(row.at_its_place for row in planted)}",
    )


def _kind(plant: Plant, rows: Sequence[Row]) -> tuple[object, ...]:
    who = "each class" if plant.classes == 10 else f"{plant.classes} classes"
    where = "place" if plant.kind == "position" else "brightness"
    return (
        f"{where} of {who}, {plant.strength:.0%}",
        len(rows),
        sum(row.flagged > 0 for row in rows),
        f"{sum(row.lean for row in rows) / max(1, len(rows)):.2f}",
        f"{sum(row.at_its_place for row in rows)} of {sum(row.marked for row in rows)}",
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run a set, print its tables, and write them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR")
    parser.add_argument("--set", choices=SETS, default="fresh")
    parser.add_argument("--only", default="", help="networks whose name holds this text")
    parser.add_argument("--finished", action="store_true", help="only networks that were measured before")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    rows = []
    for recipe in (recipe for recipe in recipes(given.set) if given.only in recipe.name):
        if given.finished and not (given.cache / "maps" / f"{recipe.key}.safetensors").exists():
            continue
        row = measured(recipe, given.data, given.cache, integrated=given.set == "development")
        rows.append(row)
        scores = " ".join(f"{score:.2f}" for score in row.scores)
        print(f"{recipe.name}: {scores}, lean {row.lean:.2f}, {row.flagged} flagged, {row.seconds:.1f} s", flush=True)
    made = tables(rows, given.set)
    for lines in made.values():
        print("\n" + "\n".join(lines))
    if given.write:
        write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
