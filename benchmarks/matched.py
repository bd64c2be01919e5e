"""Whether the matched positive control passes: copies of shipped models, overfitted on some of the shipped controls.

    python benchmarks/matched.py [--seeds 3] [--profile quick] [--models mlp-honest,...] [--output results.json]

Prints a line for each model: seconds of training the copy, members that the attacks flag, and the area under the ROC of
each signal that needs no shadow models, from the least to the greatest over seeds, with the share of seeds that pass.
A model is a name in the index of the fixtures, or the path of another file of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from auditcli.attacks import all_attacks
from auditcli.effort import EFFORTS
from auditcli.errors import AttackError
from auditcli.families import Options, build, identify
from auditcli.images import read_sample
from auditcli.loading import load
from auditcli.membership import all_signals
from auditcli.positive import matched_for
from auditcli.resources import resource
from auditcli.types import PositiveControl, Progress, Sample, Target

MODELS = (
    *("mlp-honest", "mlp-leaky-binary"),
    *("cnn-leaky", "cnn-leaky/model.onnx", "vit-leaky", "vit-leaky/model.onnx"),
)
_SECONDS = 600.0
"""Ceiling of training and of an attack, so far away that steps end them."""


def opened(name: str) -> tuple[Target, Sample]:
    """A shipped model, or another file of it, and its controls."""
    index = json.loads(resource("fixtures", "fixtures.json").read_text(encoding="utf-8"))
    entry = next(fixture for fixture in index["fixtures"] if fixture["name"] == name.split("/")[0])
    checkpoint = load(resource("fixtures", name if "/" in name else entry["model"]))
    target = build(checkpoint, identify(checkpoint, Options()), Options())
    controls = resource("fixtures", entry["controls"])
    return target, read_sample(controls, target.profile.input_shape, target.profile.labels, role="controls")


def checked(name: str, profile: str, seed: int) -> dict[str, object]:
    """All methods that apply, on one copy of one model."""
    target, controls = opened(name)
    budget = EFFORTS[profile].budget(_SECONDS)
    attacks = [
        (attack, budget)
        for attack in all_attacks()
        if attack.name != "noise" and not attack.requires - target.profile.traits
    ]
    signals = [signal for signal in all_signals() if not (signal.shadows or signal.missing(target.profile))]
    trained: list[Progress] = []

    def watch(progress: Progress) -> None:
        if progress.attack == "positive control":
            trained.append(progress)

    began = time.monotonic()
    try:
        found = list(
            matched_for(
                *(target, controls, attacks, signals, torch.device("cpu")), seconds=_SECONDS, seed=seed, watch=watch
            )
        )
    except AttackError as error:
        return {"model": name, "seed": seed, "failed": error.message}
    return {
        "model": name,
        "seed": seed,
        "training": trained[-1].seconds,
        "seconds": time.monotonic() - began,
        "methods": {control.method: _result(control) for control in found},
    }


def _result(control: PositiveControl) -> dict[str, object]:
    """What a control found: flagged members of an attack, area of a signal; no value where it came to no result."""
    value: float | None = control.recovered
    if control.kind == "membership":
        value = float(control.detail.split()[1]) if control.detail.startswith("AUC") else None
    return {"value": value, "of": control.of, "passed": control.passed, "detail": control.detail}


def row(name: str, rows: Sequence[dict[str, object]], methods: Sequence[str]) -> str:
    """One line of the table."""
    done = [row for row in rows if row["model"] == name and "failed" not in row]
    cells = [name, _span([float(str(row["training"])) for row in done], ".1f")]
    for method in methods:
        each = [found for row in done if (found := _of(row, method)) is not None and found["value"] is not None]
        values = [float(str(found["value"])) for found in each]
        passed = f", {sum(bool(found['passed']) for found in each)}/{len(done)}" if each else ""
        cells.append(_span(values, ".0f" if method == "kkt" else ".2f") + passed)
    return "| " + " | ".join(cells) + " |"


def _of(row: dict[str, object], method: str) -> dict[str, object] | None:
    methods = row["methods"]
    return methods.get(method) if isinstance(methods, dict) else None


def _span(values: Sequence[float], form: str) -> str:
    if not values:
        return "-"
    least, greatest = (format(value, form) for value in (min(values), max(values)))
    return least if least == greatest else f"{least} to {greatest}"


def main() -> None:
    """Parse, check, print a line for each model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--profile", default="quick", choices=sorted(EFFORTS))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--output", type=Path, help="also write the rows as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    methods = ["kkt", *(signal.name for signal in all_signals() if not signal.shadows)]
    print("| model | training, s | " + " | ".join(methods) + " |")
    print("|---" * (len(methods) + 2) + "|")
    rows = []
    for name in options.models.split(","):
        rows += [checked(name, options.profile, seed) for seed in range(options.seeds)]
        print(row(name, rows, methods), flush=True)
    for failed in (row for row in rows if "failed" in row):
        print(f"{failed['model']}, seed {failed['seed']}: {failed['failed']}")
    if options.output:
        options.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
