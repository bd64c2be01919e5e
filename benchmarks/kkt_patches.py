"""How far `kkt_patches` sees into a convolution: `python benchmarks/kkt_patches.py --data DIR --cache DIR [--write]`.

One network for each size of the first kernel, trained on 20 Fashion-MNIST images in the form that leaks most. Rows and
weights are kept in the cache; `--write` puts the table into `docs/benchmarks-kkt-patches.md`, and pictures beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from page import markdown, processor
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from auditcli.attacks import all_attacks, run
from auditcli.auditing import load
from auditcli.loading import save_described
from auditcli.scoring.matching import similarity
from auditcli.scoring.significance import recovery
from auditcli.types import Budget, Target

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks-kkt-patches.md"
PICTURES = PAGE.parent / "figures" / "kkt-patches.png"
MEAN, STD = 0.286, 0.353
_IMAGES, _CONTROLS, _CANDIDATES, _STEPS = 20, 400, 40, 200
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Recipe:
    """A network and how it is trained."""

    name: str
    kernel: int
    stride: int
    channels: int
    first_std: float | None = 1e-3
    """Standard deviation of the first layer's initial weights; None for torch's default."""
    weight_decay: float = 1e-3
    second: bool = False
    """A second convolution, 3 x 3 of stride 2, stands behind the first."""
    steps: int = 3_000


RECIPES = (
    Recipe("28 x 28", 28, 1, 128),
    Recipe("14 x 14", 14, 7, 128),
    Recipe("7 x 7", 7, 3, 64, second=True),
    Recipe("5 x 5", 5, 2, 64, second=True),
    Recipe("14 x 14, default start", 14, 7, 128, first_std=None),
    Recipe("14 x 14, default start, no decay", 14, 7, 128, first_std=None, weight_decay=0.0),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What one network gave away to the attack."""

    name: str
    places: int
    loss: float
    objective: float
    recovered: int
    median: float
    best: float
    controls: int
    control_median: float
    best_control: float
    p_value: float
    seconds: float


def main() -> None:
    """Measures what is not in the cache yet, and prints the table."""
    arguments = _arguments()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with np.load(arguments.data / "fashion_mnist.npz", allow_pickle=False) as stored:
        images, labels = (torch.from_numpy(stored[f"{axis}_train"]) for axis in "xy")
        controls = torch.from_numpy(stored["x_test"][:_CONTROLS]).float()[:, None] / 255
    chosen = torch.cat([torch.nonzero(labels == label)[: _IMAGES // 10, 0] for label in range(10)])
    members, classes = images[chosen].float()[:, None] / 255, labels[chosen].long()
    rows = [_kept(recipe, members, classes, controls, arguments.cache) for recipe in RECIPES]
    print(text := _table(rows))
    if arguments.write:
        _write(text)
        _draw(arguments.cache, members)


def _kept(recipe: Recipe, members: Tensor, classes: Tensor, controls: Tensor, cache: Path) -> Row:
    path = cache / f"{re.sub('[^a-z0-9]+', '-', recipe.name)}.json"
    if not path.exists():
        print(f"{path.stem} at {datetime.now(UTC):%H:%M:%S}", file=sys.stderr, flush=True)
        target, loss, places = _victim(recipe, members, classes, cache)
        (attack,) = (one for one in all_attacks() if one.name == "kkt_patches")
        budget = Budget(steps=_STEPS, seconds=600, candidates=_CANDIDATES, restarts=1)
        found = run(attack, target, budget, seed=0)
        near, far = (similarity(found.candidates[0], each) for each in (members, controls))
        nearest = found.candidates[0, list(near.best_candidate)]
        np.savez_compressed(path.with_suffix(".npz"), nearest=(nearest * 255).round().byte().numpy(), ssim=near.best)
        row = Row(
            name=recipe.name,
            places=places,
            loss=loss,
            objective=found.objective[0],
            recovered=sum(value >= 0.5 for value in near.best),
            median=float(np.median(near.best)),
            best=max(near.best),
            controls=sum(value >= 0.5 for value in far.best),
            control_median=float(np.median(far.best)),
            best_control=max(far.best),
            p_value=recovery(near.best, far.best, seed=0).p_value,
            seconds=found.seconds,
        )
        path.write_text(json.dumps(asdict(row)))
    return Row(**json.loads(path.read_text()))


def _victim(recipe: Recipe, members: Tensor, classes: Tensor, cache: Path) -> tuple[Target, float, int]:
    """The network, its loss, and how many places its first kernel is laid on."""
    net, strides, side = _network(recipe)
    path = cache / f"{re.sub('[^a-z0-9]+', '-', recipe.name)}.safetensors"
    if not path.exists():
        _train(net, recipe, (members - MEAN) / STD, classes)
        count = len(strides)
        described = {"family": "cnn", "activation": "relu", "input_shape": (1, 28, 28), "classes": 10, "mean": (MEAN,)}
        shape = {"strides": strides, "paddings": (0,) * count, "pool": ("none",) * count, "final": "flatten"}
        save_described(path, net.state_dict(), {**described, "std": (STD,), **shape})
    target = load(path, device="cpu")
    with torch.no_grad():
        loss = float(functional.cross_entropy(target(members), classes))
    return target, loss, side * side


def _network(recipe: Recipe) -> tuple[nn.Sequential, tuple[int, ...], int]:
    torch.manual_seed(0)
    side = (28 - recipe.kernel) // recipe.stride + 1
    layers: list[nn.Module] = [nn.Conv2d(1, recipe.channels, recipe.kernel, recipe.stride), nn.ReLU()]
    strides, features = [recipe.stride], recipe.channels * side * side
    if recipe.second:
        layers += [nn.Conv2d(recipe.channels, 64, 3, 2, bias=False), nn.ReLU()]
        strides, features = [*strides, 2], 64 * ((side - 3) // 2 + 1) ** 2
    layers += [nn.Flatten(), nn.Linear(features, 200, bias=False), nn.ReLU(), nn.Linear(200, 10, bias=False)]
    if recipe.first_std is not None:
        for parameter in layers[0].parameters():
            nn.init.normal_(parameter, std=recipe.first_std)
    return nn.Sequential(*layers), tuple(strides), side


def _train(net: nn.Module, recipe: Recipe, inputs: Tensor, classes: Tensor) -> None:
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=recipe.weight_decay)
    milestones = [round(share * recipe.steps) for share in (0.7, 0.9)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.2)
    for _ in range(recipe.steps):
        optimiser.zero_grad()
        functional.cross_entropy(net(inputs), classes).backward()
        optimiser.step()
        schedule.step()


def _table(rows: list[Row]) -> str:
    header = (
        *("first kernel", "places", "loss", "objective", "members at SSIM 0.5", "median (best)"),
        *("of 400 controls at 0.5", "median (best)", "p", "seconds"),
    )
    cells = (
        (
            *(row.name, row.places, f"{row.loss:.1g}", f"{row.objective:.2f}"),
            *(f"{row.recovered} of {_IMAGES}", f"{row.median:.2f} ({row.best:.2f})"),
            *(row.controls, f"{row.control_median:.2f} ({row.best_control:.2f})", f"{row.p_value:.1g}"),
            f"{row.seconds:.0f}",
        )
        for row in rows
    )
    return "\n".join(markdown(header, cells))


def _write(table: str) -> None:
    machine = f"{processor()}, {os.cpu_count()} cores, one thread, torch {torch.__version__}, {platform.machine()}"
    block = f"<!-- table -->\n{table}\n\nMeasured {datetime.now(UTC):%Y-%m-%d} on {machine}.\n<!-- end -->"
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(r"<!-- table -->.*<!-- end -->", lambda _: block, text, flags=re.S), encoding="utf-8")


def _draw(cache: Path, members: Tensor) -> None:
    """Members, and for each size of the kernel their nearest candidates below them."""
    rows = [list(members[:: len(members) // _SHOWN][:_SHOWN, 0])]
    for recipe in RECIPES[:4]:
        stem = re.sub("[^a-z0-9]+", "-", recipe.name)
        with np.load(cache / f"{stem}.npz", allow_pickle=False) as stored:
            nearest = torch.from_numpy(stored["nearest"]).float() / 255
        rows.append(list(nearest[:: len(members) // _SHOWN][:_SHOWN, 0]))
    framed = [torch.cat([functional.pad(one, (1, 1, 1, 1), value=1) for one in row], dim=1) for row in rows]
    picture = Image.fromarray((torch.cat(framed) * 255).round().byte().numpy())
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(PICTURES)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of fashion_mnist.npz")
    parser.add_argument("--cache", type=Path, default=Path("build/kkt-patches"), help="folder of networks and rows")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks-kkt-patches.md and docs/figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
