"""Network inversion over data sets and architectures: `python benchmarks/inversion.py --data DIR --cache DIR`.

Victims and rows are kept in `--cache`, so that an interrupted run goes on where it stopped. `--write` puts the tables
into the page and the pictures beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inversion_cases import CASES, Case
from inversion_page import draw, page
from inversion_victims import Victim, victim
from page import processor
from torch import Tensor
from zoo_recipes import DataSet

from auditcli.attacks import Attack, all_attacks, run
from auditcli.generator import agreement
from auditcli.scoring.significance import recovery
from auditcli.scoring.ssim import pairwise_ssim
from auditcli.types import Budget

STEPS, CANDIDATES = {"mlp": 200, "cnn": 200, "vit": 300}, 200
"""Steps by family: a transformer takes longer to be inverted at all."""
PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks-inversion.md"


def main() -> None:
    """Runs what is not yet in the cache, part by part."""
    arguments = _arguments()
    rows = [row for case in CASES if (row := _row(case, arguments)) is not None]
    if arguments.write:
        machine = f"{processor()}, {os.cpu_count()} cores, 1 thread, torch {torch.__version__}"
        about = f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}"
        page(PAGE, rows, about)
        shown = [case for case in CASES if case.part == "main" and _place(case, arguments.cache).is_file()]
        # The images of the other data sets may not be passed on, and so are not drawn into the documentation.
        for folder, shipped in ((PAGE.parent / "figures", True), (arguments.cache, False)):
            mine = [case for case in shown if (case.subject.recipe.data == DataSet.FASHION) is shipped]
            draw(folder, [(case, _images(case, arguments)) for case in mine])
    else:
        print(json.dumps(rows, indent=1))


def measure(case: Case, subject: Victim) -> tuple[dict[str, Any], Tensor]:
    """Run one case, and only then compare what it found with members and controls.

    Returns:
        What stands in its line, and the candidates (n, c, h, w).
    """
    target, classes = subject.target, subject.target.profile.classes
    attack = _attack(case)
    budget = Budget(steps=STEPS[case.subject.recipe.family], seconds=float("inf"), candidates=CANDIDATES, restarts=1)
    began = time.process_time()
    found = run(attack, target, budget, seed=0)
    seconds = time.process_time() - began
    candidates = found.candidates[0]
    near, far = (pairwise_ssim(candidates, part.pixels.float() / 255) for part in (subject.members, subject.controls))
    labels = torch.arange(CANDIDATES) % classes
    best, other = near.amax(dim=0), far.amax(dim=0)
    test = recovery(best.tolist(), other.tolist())
    row = {
        **{key: value for key, value in subject.stated.items() if key != "subject"},
        "seconds": seconds,
        "agreement": agreement(target, candidates, labels) if case.attack == "inversion" else None,
        "diversity": diversity(candidates, labels),
        "members": _summary(best),
        "controls": _summary(other),
        "p_value": test.p_value,
        "auc": float(
            (best[:, None] > other[None]).double().mean() + (best[:, None] == other[None]).double().mean() / 2
        ),
        "to_members": float(near.amax(dim=1).mean()),
        "to_controls": float(far.amax(dim=1).mean()),
    }
    return row, candidates


def diversity(images: Tensor, labels: Tensor) -> float:
    """Mean SSIM between two images of one class, averaged over classes: 1 where each class is one picture."""
    means = []
    for label in labels.unique():
        same = pairwise_ssim(images[labels == label], images[labels == label])
        n = len(same)
        means.append(float((same.sum() - same.diagonal().sum()) / (n * (n - 1))))
    return float(np.mean(means))


def _summary(best: Tensor) -> dict[str, float]:
    return {"best": float(best.max()), "mean": float(best.mean()), "p95": float(best.quantile(0.95))}


def _attack(case: Case) -> Attack:
    named = next(attack for attack in all_attacks() if attack.name == case.attack)
    return named.with_settings(**case.settings) if case.settings else named


def _place(case: Case, cache: Path) -> Path:
    """Rows with other settings, or another number of steps, are other rows."""
    made = [case.attack, case.subject.key, dict(_attack(case).settings), STEPS[case.subject.recipe.family], CANDIDATES]
    return cache / "rows" / f"{sha256(json.dumps(made).encode()).hexdigest()[:12]}.json"


def _row(case: Case, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """From the cache, or measured now where its part was asked for."""
    path = _place(case, arguments.cache)
    if not path.is_file():
        if arguments.part and case.part not in arguments.part:
            return None
        print(f"{case.part}: {case.name}", file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        row, candidates = measure(case, victim(case.subject, arguments.data, arguments.cache / "victims"))
        np.save(path.with_suffix(".npy"), (candidates * 255).round().byte().numpy())
        path.write_text(json.dumps(row, indent=1) + "\n")
        print(f"  {_brief(row)}", file=sys.stderr, flush=True)
    return {"part": case.part, "name": case.name, **json.loads(path.read_text())}


def _brief(row: dict[str, Any]) -> str:
    near, far = row["members"], row["controls"]
    return (
        f"mean {near['mean']:.3f} / {far['mean']:.3f}, best {near['best']:.3f} / {far['best']:.3f}, "
        f"p {row['p_value']:.3f}, agreement {row['agreement']}, diversity {row['diversity']:.2f}, "
        f"{row['seconds']:.0f} s"
    )


def _images(case: Case, arguments: argparse.Namespace) -> tuple[Tensor, Victim]:
    candidates = torch.from_numpy(np.load(_place(case, arguments.cache).with_suffix(".npy"))).float() / 255
    return candidates, victim(case.subject, arguments.data, arguments.cache / "victims")


def _arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of mnist.npz, cifar10.npz, fashion_mnist.npz")
    parser.add_argument("--cache", type=Path, required=True, help="folder of trained victims and measured rows")
    parser.add_argument("--part", action="append", choices=sorted({case.part for case in CASES}), help="default: all")
    parser.add_argument("--write", action="store_true", help="write tables and pictures into docs/")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
