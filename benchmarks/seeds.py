"""What the shipped MLPs are called, over seeds: with their members and controls, and with no image at all.

    python benchmarks/seeds.py [--seeds 10] [--jobs 2] [--models mlp-honest,...] [--mode with|without|both]

Expected: the leaky ones `critical` with images and `high` without, the honest and the untrained one `none-detected`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from auditcli import audit
from auditcli.images import read_sample
from auditcli.report.schema import Report
from auditcli.resources import resource

MODELS = ("mlp-leaky", "mlp-leaky-binary", "mlp-honest", "mlp-untrained")
FIRST = 10
"""Reconstructions of the gallery that are compared with the members."""


def entry(name: str) -> dict[str, str]:
    """The model's line in the index of the fixtures."""
    index = json.loads(resource("fixtures", "fixtures.json").read_text(encoding="utf-8"))
    return next(fixture for fixture in index["fixtures"] if fixture["name"] == name)


def audited(case: tuple[str, bool, int]) -> dict[str, object]:
    """One audit, by one thread, so that several may run beside each other."""
    name, with_images, seed = case
    torch.set_num_threads(1)
    fixture = entry(name)
    members, controls = resource("fixtures", fixture["members"]), resource("fixtures", fixture["controls"])
    images = {"reference": members, "controls": controls} if with_images else {}
    model = resource("fixtures", fixture["model"])
    report = audit(model, seed=seed, names=True, reconstructions="sharp", **images)  # type: ignore[arg-type]
    kkt = next(attack for attack in report.attacks if attack.name == "kkt")
    return {
        "model": name,
        "images": with_images,
        "seed": seed,
        "level": report.verdict.level,
        "seconds": report.budget.seconds_used,
        "members_over_half": kkt.ssim.members_over_half if kkt.ssim else None,
        "controls_over_half": kkt.ssim.controls_over_half if kkt.ssim else None,
        "flagged": sum(member.leaked for member in report.members),
        "reproduced": report.evidence.reproduced if report.evidence else None,
        "directions": report.evidence.directions if report.evidence else None,
        "explained": report.evidence.explained if report.evidence else None,
        "true_of_first_ten": None if with_images or "leaky" not in name else true_of_first(report, members),
    }


def true_of_first(report: Report, members: Path) -> int:
    """How many of the first reconstructions shown without any image are a training image at SSIM 0.5 or more."""
    images = read_sample(members, report.model.input_shape, role="members").images[:, 0].numpy()
    shown = [item.reconstruction for item in report.gallery[:FIRST] if item.reconstruction]
    pixels = [np.asarray(Image.open(BytesIO(report.pictures[picture.file]))) / 255.0 for picture in shown]
    best = [
        max(structural_similarity(guess, image, data_range=1.0) for image in images)  # type: ignore[no-untyped-call]
        for guess in pixels
    ]
    return sum(bool(value >= 0.5) for value in best)


def main() -> None:
    """Parse, audit, print a line for each model and mode."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--mode", choices=("with", "without", "both"), default="both", help="members and controls")
    parser.add_argument("--output", type=Path, help="also write the rows as JSON")
    options = parser.parse_args()
    models = options.models.split(",")
    modes = {"with": (True,), "without": (False,), "both": (True, False)}[options.mode]
    rows = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for row in pool.map(audited, product(models, modes, range(options.seeds))):
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    print(
        "| model | images | levels | members >= 0.5 | controls >= 0.5 | flagged | reproduced | true of first ten | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, with_images in product(models, modes):
        own = [row for row in rows if row["model"] == name and row["images"] == with_images]
        levels = ", ".join(f"{level} {count}" for level, count in Counter(str(row["level"]) for row in own).items())
        columns = ("members_over_half", "controls_over_half", "flagged", "reproduced", "true_of_first_ten", "seconds")
        spans = " | ".join(_span([row[column] for row in own]) for column in columns)
        print(f"| {name} | {'yes' if with_images else 'no'} | {levels} | {spans} |")
    if options.output:
        options.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _span(values: list[object]) -> str:
    numbers = [value for value in values if isinstance(value, int | float)]
    return f"{min(numbers):.3g} to {max(numbers):.3g}" if numbers else "-"


if __name__ == "__main__":
    main()
