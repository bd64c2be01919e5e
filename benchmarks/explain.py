"""Does the garbage class tell images of another data set from held-out images, and better than the largest softmax?

    python benchmarks/explain.py --data DIR --cache DIR [--only mlp] [--write]

Small networks trained on MNIST or Fashion-MNIST score 300 held-out images of their data set and 300 of another one, or
of noise. The garbage class is trained once with 300 reference images of the kind and once with generated images alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from explain_page import write
from page import markdown
from shortcut_victims import CLASSES, Plant, Recipe, victim
from torch import Tensor
from torch.nn import functional

from auditcli import generator, novelty, shortcut
from auditcli.scoring.membership import auc_interval
from auditcli.types import Target

FAMILIES = ("mlp", "cnn", "vit")
DATA = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}
"""A data set and its stranger; CIFAR-10, grey and small, is a stranger to both."""
IMAGES, SIDE = 300, 28
_PER_CLASS, _GENERATED, _STEPS = 6, 20, 150
WAYS = ("largest softmax", "garbage, generated images", "garbage, reference images")


@dataclass(frozen=True, slots=True)
class Row:
    """AUC of one way to tell one kind of strangers from held-out images."""

    family: str
    data: str
    strangers: str
    way: str
    auc: float


def images(data: Path, name: str, part: str = "test") -> Tensor:
    """(300, 1, 28, 28) in [0, 1]; colour becomes grey, and another size this one."""
    with np.load(data / f"{name}.npz") as held:
        pixels = torch.from_numpy(held[f"x_{part}"][:IMAGES]).float() / 255
    if pixels.ndim == 3:
        return pixels[:, None]
    return functional.interpolate(pixels.mean(dim=3)[:, None], size=(SIDE, SIDE), mode="bilinear")


def _recipe(family: str, name: str) -> Recipe:
    return Recipe(name, family, Plant("clean"), 100)


def measured(family: str, name: str, data: Path, cache: Path) -> list[Row]:
    """All rows of one network, or those of an earlier run."""
    recipe = _recipe(family, name)
    path = cache / "novelty" / f"{recipe.key}.json"
    if path.exists():
        return [Row(**row) for row in json.loads(path.read_text())]
    target = victim(recipe, data, cache / "victims").target
    rng = torch.Generator().manual_seed(0)
    held = images(data, name)
    strangers = {other: images(data, other) for other in (DATA[name], "cifar10")}
    strangers["noise"] = torch.rand(IMAGES, 1, SIDE, SIDE, generator=rng)
    rows = []
    for way, score in _ways(target, images(data, name, "train"), rng).items():
        ordinary = score(held).tolist()
        for other, shown in strangers.items():
            rows.append(Row(family, name, other, way, auc_interval(score(shown).tolist(), ordinary).value))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows]))
    return rows


def _ways(target: Target, reference: Tensor, rng: torch.Generator) -> dict[str, Callable[[Tensor], Tensor]]:
    """Scores of images by name, higher = stranger; as `privaudit explain` makes them."""
    trash = novelty.garbage(target.profile.input_shape, rng)
    plain, smooth = (
        shortcut.inverted(target, range(CLASSES), rng, per_class=_PER_CLASS, steps=60, **weight).images.flatten(0, 1)
        for weight in ({"variation": 0.0}, {})
    )
    for batch in generator.invert(target, _STEPS, rng):
        network = batch.network
    labels = torch.arange(CLASSES).repeat_interleave(_GENERATED)
    made = generator.sample(network, generator.Conditions.of(labels, CLASSES, rng), rng)
    return {
        WAYS[0]: lambda shown: 1 - shortcut.scores(target, shown).exp().amax(dim=1),
        WAYS[1]: novelty.train(target, torch.cat([smooth, made]), [trash, plain], rng),
        WAYS[2]: novelty.train(target, reference, [trash, plain, smooth, made], rng),
    }


def tables(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Markdown by name."""
    cases = dict.fromkeys((row.family, row.data, row.strangers) for row in rows)
    auc = {(row.family, row.data, row.strangers, row.way): row.auc for row in rows}
    lines = [(*case, *(f"{auc[*case, way]:.3f}" for way in WAYS)) for case in cases]
    means = [sum(row.auc for row in rows if row.way == way) / max(1, len(cases)) for way in WAYS]
    return {
        "novelty": markdown(
            ("network", "trained on", "strangers", *WAYS),
            [*lines, ("mean", "", "", *(f"{mean:.3f}" for mean in means))],
        )
    }


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", default="", help="networks whose family and data set hold this text")
    parser.add_argument("--finished", action="store_true", help="only networks that were measured before")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    cases = [(family, name) for family in FAMILIES for name in DATA if given.only in f"{family} {name}"]
    if given.finished:
        cases = [case for case in cases if (given.cache / "novelty" / f"{_recipe(*case).key}.json").exists()]
    rows = [row for case in cases for row in measured(*case, given.data, given.cache)]
    made = tables(rows)
    print("\n".join(made["novelty"]))
    if given.write:
        write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
