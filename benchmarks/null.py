"""False alarms where nothing leaks: `python benchmarks/null.py --data DIR`.

Each audit draws new images and a new network that never saw any of them, and measures every signal that needs no shadow
model, and the reconstruction test on what `noise` guesses and, on perceptrons, on a few steps of `kkt`. Writes
`null.json`, `null.md` (a table) and `null.svg` (observed against expected p-values) into `--output`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from null_networks import NETWORKS, network
from numpy.typing import NDArray
from scipy.stats import binomtest, kstest

from auditcli.attacks import all_attacks
from auditcli.membership import all_signals
from auditcli.outcomes import attempt, measure
from auditcli.scoring.calibration import member_findings
from auditcli.scoring.findings import Findings
from auditcli.scoring.matching import pool
from auditcli.scoring.significance import recovery, separation
from auditcli.scoring.verdict import judge
from auditcli.types import Budget, Level, PositiveControl, Sample

DATA_SETS = ("mnist", "fashion_mnist", "cifar10")
LEVELS = (0.01, 0.05)
TRAINED_ON = 60
"""Images that a trained network saw, none of them a member or a control."""
_PASSED = tuple(PositiveControl(kind, "any", "assumed", 1, 1, True, "") for kind in ("reconstruction", "membership"))
"""Taken as passed, so that a verdict without a finding is `none-detected` and nothing hides behind `inconclusive`."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What one null audit gave."""

    network: str
    data: str
    p_values: dict[str, float]
    """One a signal, `reconstruction` and its `reconstruction, Mann-Whitney`, and the same on `noise` alone."""
    level: str
    level_at_5: str
    """The verdict with a family-wise error of 0.05."""
    flagged: int
    """Members called recovered one by one."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large an audit is."""

    members: int
    controls: int
    kkt_steps: int


def main() -> None:
    """Prints the table."""
    arguments = _arguments()
    began = time.monotonic()
    size = Size(arguments.members, arguments.controls, arguments.kkt_steps)
    run = partial(audit, data=arguments.data, size=size)
    seeds = range(arguments.seed, arguments.seed + arguments.audits)
    if arguments.jobs == 1:
        audits = list(map(run, seeds))
    else:
        with ProcessPoolExecutor(arguments.jobs) as workers:
            audits = list(workers.map(run, seeds, chunksize=5))
    text = table(audits, size, time.monotonic() - began)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "null.json").write_text(json.dumps([asdict(one) for one in audits], indent=1) + "\n")
    (arguments.output / "null.md").write_text(text)
    draw(audits, arguments.output / "null.svg")
    print(text)


def audit(seed: int, data: Path, size: Size) -> Audit:
    """One audit of a network that never saw the images.

    Args:
        seed: Of the images, the network and the attacks.
        data: Folder of the data sets.
        size: Of the samples.

    Returns:
        Its p-values and verdicts.
    """
    torch.set_num_threads(1)
    kind = NETWORKS[seed % len(NETWORKS)]
    name = DATA_SETS[seed // len(NETWORKS) % len(DATA_SETS)]
    members, controls, strangers = _samples(data / f"{name}.npz", size, seed)
    target = network(kind, strangers, seed)
    outcomes = [
        measure(signal, target, members, controls, torch.device("cpu"), seed=seed)
        for signal in all_signals()
        if not signal.shadows
    ]
    signals = tuple(one.finding for one in outcomes if one.finding is not None)
    guesses = [
        attempt(one, target, _budget(size, negative=one.negative_control), members, controls, seed=seed, watch=None)
        for one in all_attacks()
        if one.negative_control or one.name == "kkt"
    ]
    scored = [(one, one.members, one.controls) for one in guesses if one.members and one.controls]
    noise = next((m.best, k.best) for one, m, k in scored if one.attack.negative_control)
    found = [item for item in scored if not item[0].attack.negative_control] or scored
    near = pool({one.attack.name: m for one, m, _ in found})
    far = pool({one.attack.name: k for one, _, k in found})
    reconstruction = recovery(near.best, far.best, seed=seed)
    findings = Findings(
        n_members=len(members),
        n_controls=len(controls),
        applicable=len(found) + len(signals),
        reconstruction=reconstruction,
        members=member_findings(members.ids, near, far),
        best_control=max(far.best),
        signals=signals,
        positive=_PASSED,
    )
    p_values = {finding.signal: finding.test.p_value for finding in signals}
    p_values["reconstruction (doubled)"] = reconstruction.p_value
    p_values["reconstruction, Mann-Whitney"] = separation(near.best, far.best, seed=seed).p_value
    p_values["noise, Mann-Whitney"] = separation(*noise, seed=seed).p_value
    strict = judge(findings).level
    lax = judge(replace(findings, alpha=LEVELS[1])).level
    return Audit(kind, name, p_values, strict, lax, len(findings.leaked))


def _budget(size: Size, *, negative: bool) -> Budget:
    steps = 1 if negative else size.kkt_steps
    return Budget(steps=steps, seconds=60, candidates=8, restarts=1)


def _samples(path: Path, size: Size, seed: int) -> tuple[Sample, ...]:
    """Members, controls and training images, drawn at random without repetition from the images of a data set."""
    images, labels = _loaded(path)
    order = np.random.default_rng(seed).permutation(len(images))
    bounds = np.cumsum([0, size.members, size.controls, TRAINED_ON])
    return tuple(_sample(images, labels, order[low:high]) for low, high in pairwise(bounds))


@cache
def _loaded(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    with np.load(path, allow_pickle=False) as archive:
        images, labels = archive["x_test"], archive["y_test"]
    return (images if images.ndim == 4 else images[..., None], labels)


def _sample(images: NDArray[np.uint8], labels: NDArray[np.int64], chosen: NDArray[np.int64]) -> Sample:
    pixels = torch.from_numpy(images[chosen]).permute(0, 3, 1, 2).float() / 255
    names = tuple(map(str, chosen))
    return Sample(pixels.contiguous(), names, names, torch.from_numpy(labels[chosen]), "")


def columns(audits: list[Audit]) -> dict[str, NDArray[np.float64]]:
    """The p-values of each test, of the audits that it applied to."""
    names = dict.fromkeys(name for one in audits for name in one.p_values)
    return {name: np.array([one.p_values[name] for one in audits if name in one.p_values]) for name in names}


def table(audits: list[Audit], size: Size, seconds: float) -> str:
    """Markdown: a line a test, then the verdicts."""
    lines = [
        f"{len(audits)} audits, {size.members} members and {size.controls} controls each, {len(NETWORKS)} kinds of "
        f"network ({', '.join(NETWORKS)}), {len(DATA_SETS)} data sets; {seconds:.0f} s.",
        "",
        "| test | audits | Kolmogorov-Smirnov p | too small, one-sided p | below 0.01 | below 0.05 |",
        "|---|---:|---:|---:|---:|---:|",
        *(_row(name, values) for name, values in columns(audits).items()),
        "",
        "| verdict above none-detected | audits | share | 95% interval |",
        "|---|---:|---:|---:|",
        *_alarms(audits),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, p_values: NDArray[np.float64]) -> str:
    both, small = (kstest(p_values, "uniform", alternative=side).pvalue for side in ("two-sided", "greater"))
    shares = " | ".join(f"{(p_values <= level).mean():.1%}" for level in LEVELS)
    fit = "conservative by design" if "doubled" in name else f"{both:.3f}"
    return f"| {name} | {len(p_values)} | {fit} | {small:.3f} | {shares} |"


def _alarms(audits: list[Audit]) -> Iterator[str]:
    quiet = {Level.NONE_DETECTED, Level.INCONCLUSIVE}
    for alpha, levels in zip(LEVELS, ([a.level for a in audits], [a.level_at_5 for a in audits]), strict=True):
        alarms = sum(level not in quiet for level in levels)
        bounds = binomtest(alarms, len(levels)).proportion_ci(0.95)
        share = f"{alarms} ({alarms / len(levels):.1%})"
        yield f"| at alpha {alpha} | {len(levels)} | {share} | {bounds.low:.1%} to {bounds.high:.1%} |"
    flagged = sum(one.flagged > 0 for one in audits)
    bounds = binomtest(flagged, len(audits)).proportion_ci(0.95)
    share = f"{flagged} ({flagged / len(audits):.1%})"
    yield f"| any member flagged (q <= 0.05) | {len(audits)} | {share} | {bounds.low:.1%} to {bounds.high:.1%} |"


def draw(audits: list[Audit], path: Path) -> None:
    """Plot ordered p-values over their expectations, as SVG, the same bytes for the same numbers."""
    with rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.add_subplot()
        least = 1.0
        for name, values in columns(audits).items():
            expected = (np.arange(len(values)) + 0.5) / len(values)
            least = min(least, expected[0], float(values.min()))
            axes.plot(expected, np.sort(values), "--" if "doubled" in name else "-", linewidth=1, label=name)
        axes.plot([least, 1], [least, 1], color="0.6", linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlabel="expected p-value", ylabel="observed p-value")
        axes.set_title(f"{len(audits)} audits of networks that never saw the members")
        axes.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help=f"folder of {', '.join(DATA_SETS)} as .npz")
    parser.add_argument("--audits", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--members", type=int, default=30)
    parser.add_argument("--controls", type=int, default=100)
    parser.add_argument("--kkt-steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("build/null"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
