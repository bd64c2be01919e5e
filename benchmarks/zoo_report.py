"""The page that a zoo's audits become: `write`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from page import markdown, processor
from zoo_figures import draw_all
from zoo_rows import INCONCLUSIVE, LEVELS, Estimate, Row
from zoo_summary import (
    FAMILIES,
    Rate,
    Strength,
    calibration,
    confusion,
    correlations,
    duels,
    false_alarms,
    mitigated,
    power,
    roc_of_level,
    strengths,
    times,
    wrong,
)

_TITLE = "# Membership signals on the zoo"

CHOICES = """What the victims stand for was set before any audit, but not blindly: victims that stopped early or trained
long and told training images from others by their loss alone (an AUC from .56) were trained anew with fewer
epochs or moved to *open*, where nothing is claimed. So the honest rows are of models without a plain gap
between training and other images; read their power so. The settings of some signals were chosen on the
shipped fixtures, never on these victims. Heads of one data set share a backbone, and strangers share the
network and the controls of their honest victim, so audits are fewer than independent ones. All images are
of 28 or 32 pixels a side."""
"""What was chosen with an eye on results, and what is not independent."""


@dataclass(frozen=True, slots=True)
class Run:
    """Where the numbers come from."""

    command: str
    code: str
    """States of the package's code that were audited with, by hash."""


def write(rows: Sequence[Row], run: Run, docs: Path) -> Path:
    """Write `zoo.md`, `zoo-signals.md` and the figures.

    Args:
        rows: All audits.
        run: Printed at the top.
        docs: Folder of the page; figures go to `figures` in it.
    """
    figures = draw_all(rows, docs / "figures")
    page = docs / "zoo.md"
    page.write_text("\n".join(_page(rows, run, figures)) + "\n", encoding="utf-8")
    signals = [_TITLE, "", "One line a signal and audit; the command and the machine are those of [the zoo](zoo.md)."]
    listed = "\n".join([*signals, "", *_signals(rows)])
    (docs / "zoo-signals.md").write_text(listed + "\n", encoding="utf-8")
    return page


def text(rows: Sequence[Row]) -> str:
    """What a terminal shows."""
    lines = [*_false_alarms(rows), "", *_power(rows), "", *_confusion(rows), "", *_wrong(rows)]
    return "\n".join(lines)


def _page(rows: Sequence[Row], run: Run, figures: dict[str, str]) -> Iterator[str]:
    shown = {file: f"![{alt}](figures/{file})" for alt, file in figures.items()}
    yield from _head(rows, run)
    yield from ("", "## False alarms", "", *_false_alarms(rows))
    yield from ("", "## Power", "", *_power(rows))
    yield from ("", "## Truth and level", "", *_confusion(rows), "", *_wrong(rows))
    if found := roc_of_level(rows):
        yield from (
            "",
            f"As a score, the level tells leaky victims from null and honest ones with an AUC of {found.auc:.3f}.",
            "",
            shown["zoo-roc.svg"],
        )
    yield from ("", "## Calibration", "", *_calibration(rows))
    if "zoo-p-values.svg" in shown:
        yield from ("", shown["zoo-p-values.svg"])
    yield from ("", "## Likeness and membership", "", *_correlations(rows))
    if "zoo-ssim-auc.svg" in shown:
        yield from ("", shown["zoo-ssim-auc.svg"])
    yield from ("", "## What mitigations did", "", *_mitigations(rows))
    yield from ("", "## Time", "", *_times(rows))
    yield from ("", "## Membership signals", "", *_strengths(rows), "", "[All signals](zoo-signals.md) of all audits.")
    yield from ("", "### The span of the weights against the loss", "", *_duels(rows))
    yield from ("", "## Victims", "", *_victims(rows))


def _head(rows: Sequence[Row], run: Run) -> Iterator[str]:
    yield "# A zoo of victims: how often is a verdict wrong?"
    yield ""
    yield "Victims whose leak is known because of how they were trained, each audited with default settings."
    yield "Leaky ones saw few images for many steps. Honest ones saw many images for few epochs, or augmented ones, or"
    yield "stopped early, or had the noise of DP-SGD. Null audits are of untrained networks, and of honest victims with"
    yield "*strangers* in the place of members: images of the same pool that nothing was trained on. Members, strangers"
    yield "and controls are random draws from one pool of a data set, without any choice among them."
    yield ""
    yield CHOICES
    yield ""
    yield f"- command: `{run.command}`"
    yield f"- audits: {len(rows)}, code {run.code}"
    yield (
        f"- machine: {processor()}, {os.cpu_count()} cores, 1 thread an audit, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )
    yield f"- written: {datetime.now(UTC):%Y-%m-%d}"


def _false_alarms(rows: Sequence[Row]) -> list[str]:
    lines = markdown(
        ("null audits", "above none-detected (95% interval)", "inconclusive"), map(_rate, false_alarms(rows))
    )
    return [*lines, "", "A level above none-detected is meant to come up in at most 1% of null audits."]


def _power(rows: Sequence[Row]) -> list[str]:
    return markdown(("victims, wanted level", "reached (95% interval)", "inconclusive"), map(_rate, power(rows)))


def _rate(rate: Rate) -> tuple[object, ...]:
    return (rate.what, rate.share, rate.inconclusive)


def _confusion(rows: Sequence[Row]) -> list[str]:
    levels = (INCONCLUSIVE, *LEVELS)
    table = confusion(rows)
    return markdown(
        ("truth", *levels), ((truth, *(counts[level] for level in levels)) for truth, counts in table.items())
    )


def _wrong(rows: Sequence[Row]) -> list[str]:
    found = wrong(rows)
    if not found:
        return ["No null audit raised an alarm, and no leaky victim was missed."]
    named = ", ".join(f"{row.name} ({row.sample}, {row.level})" for row in found)
    return [f"Null audits with an alarm and leaky victims that were missed: {named}."]


def _calibration(rows: Sequence[Row]) -> list[str]:
    lines = markdown(
        ("test, null audits", "n", "p <= 0.05", "p <= 0.01", "KS, two-sided", "KS, too small"),
        (
            (name, lie.n, lie.below_5, lie.below_1, f"{lie.ks:.3f}", f"{lie.ks_small:.3f}")
            for name, lie in calibration(rows).items()
        ),
    )
    return [
        *lines,
        "",
        "Uniform p-values are exact. Larger ones are cautious; only too small ones raise false alarms. The permutation",
        "test of the evidence is left out: strangers say nothing about the weights, which any training ties together.",
    ]


def _correlations(rows: Sequence[Row]) -> list[str]:
    return markdown(
        ("Spearman with the best AUC", "victims", "correlation (95% interval)"),
        (
            (name, "-" if found is None else found.n, "-" if found is None else _interval(found))
            for name, found in correlations(rows).items()
        ),
    )


def _interval(value: object) -> str:
    return f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"  # type: ignore[attr-defined]


def _mitigations(rows: Sequence[Row]) -> list[str]:
    return markdown(
        ("victim", "with", "level", "best AUC", "members recovered", "test accuracy"),
        (
            (
                one.base,
                one.what,
                f"{before.level} -> {after.level}",
                f"{_number(before.best_auc)} -> {_number(after.best_auc)}",
                f"{before.flagged} of {before.n_members} -> {after.flagged} of {after.n_members}",
                f"{_stated(before, 'test_accuracy')} -> {_stated(after, 'test_accuracy')}",
            )
            for one, before, after in mitigated(rows)
        ),
    )


def _times(rows: Sequence[Row]) -> list[str]:
    found = times(rows).items()
    return markdown(
        ("family", "audits", "median seconds", "longest"),
        ((family, time.n, f"{time.median:.0f}", f"{time.most:.0f}") for family, time in found),
    )


def _strengths(rows: Sequence[Row]) -> list[str]:
    lines = markdown(
        ("leaky victims, mean AUC (TPR at 1% FPR)", *FAMILIES),
        (
            (name, *(_strength(families.get(family)) for family in FAMILIES))
            for name, families in strengths(rows).items()
        ),
    )
    return [*lines, "", "In brackets the mean rate of true positives, then how many victims the signal applied to."]


def _strength(found: Strength | None) -> str:
    return "-" if found is None else f"{found.auc:.2f} ({found.tpr:.0%}; {found.n})"


def _duels(rows: Sequence[Row]) -> list[str]:
    return markdown(
        ("victim", "truth", "AUC of span", "AUC of confidence", "TPR at 1% FPR, span", "confidence"),
        (
            (
                *(row.name, row.truth, _estimate(span.auc), _estimate(loss.auc)),
                *(_estimate(span.tpr.get("1%")), _estimate(loss.tpr.get("1%"))),
            )
            for row, span, loss in duels(rows, "span", "confidence")
        ),
    )


def _signals(rows: Sequence[Row]) -> list[str]:
    return markdown(
        ("victim", "truth", "sample", "shadows", "signal", "AUC", "TPR at 0.1% FPR", "TPR at 1% FPR", "p"),
        (
            (
                *(row.name, row.truth, row.sample, row.shadows or "-", signal.name, _estimate(signal.auc)),
                *(_estimate(signal.tpr.get("0.1%")), _estimate(signal.tpr.get("1%")), f"{signal.p_value:.2g}"),
            )
            for row in rows
            for signal in row.signals
        ),
    )


def _victims(rows: Sequence[Row]) -> list[str]:
    return markdown(
        ("victim", "truth", "images", "accuracy, trained on / not", "AUC of the loss", "epsilon", "level"),
        (
            (
                row.name,
                row.truth,
                row.stated["recipe"]["images"] if row.stated["steps"] else 0,
                f"{_stated(row, 'train_accuracy')} / {_stated(row, 'test_accuracy')}",
                _stated(row, "loss_auc"),
                _stated(row, "epsilon"),
                row.level,
            )
            for row in rows
            if row.sample == "members" and not row.shadows
        ),
    )


def _stated(row: Row, name: str) -> str:
    return _number(row.stated.get(name))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _estimate(value: Estimate | None) -> str:
    return "-" if value is None else _interval(value)
