"""The page on signals side by side: pure functions over bouts.

Public names: `Bout`, `Score`, `Duel`, `bout`, `best`, `ahead`, `means`, `table`, `page`, `draw`, `Run`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from page import markdown, processor
from zoo_rows import Estimate

from auditcli.scoring.membership import controls_to_bound
from auditcli.training import SHADOW

SIDE_BY_SIDE = (("span", "head_span"), ("confidence",), ("lira",), ("rmia",))
"""Columns of the summary; where a victim has the one of a pair, it has not the other."""
_RATE, _RARE = "1%", "0.1%"


@dataclass(frozen=True, slots=True)
class Score:
    """What one signal tells apart on one victim."""

    signal: str
    seconds: float
    """Of processor time, on members and compared controls; without training shadow models."""
    reason: str = ""
    """Why there is no answer."""
    auc: Estimate | None = None
    tpr: Mapping[str, Estimate | None] = field(default_factory=dict)
    """By false-positive rate, `0.1%`, `1%` and `10%`; None where the controls are too few."""

    @property
    def found(self) -> float | None:
        """True-positive rate at 1% false positives."""
        estimate = self.tpr.get(_RATE)
        return None if estimate is None else estimate.value


@dataclass(frozen=True, slots=True)
class Bout:
    """All signals on one victim."""

    victim: str
    truth: str
    """`leaky`, `honest`, `null` or `open`."""
    images: int
    """It was trained on."""
    architecture: str
    members: int
    controls: int
    """Compared with the members."""
    population: int
    """Controls that trained shadow models, each a half of them."""
    shadows: int
    shadow_seconds: float | None
    """Of processor time, to train one shadow model; None where it was not measured."""
    code: str
    """State of the package's code, by hash."""
    day: str
    scores: tuple[Score, ...]

    def of(self, names: Iterable[str]) -> Score | None:
        """The score of the first of these signals that has an answer."""
        return next((score for name in names for score in self.scores if score.signal == name and score.auc), None)


@dataclass(frozen=True, slots=True)
class Duel:
    """One signal against another."""

    more: int
    """Victims on which it finds more members."""
    fewer: int
    of: int
    """Victims on which both have an answer."""


@dataclass(frozen=True, slots=True)
class Run:
    """Where the numbers come from."""

    command: str
    figure: str
    """File name in `figures`."""


def bout(stored: Mapping[str, Any]) -> Bout:
    """Read what `dataclasses.asdict` made of a bout, after JSON."""
    return Bout(**{**stored, "scores": tuple(_score(part) for part in stored["scores"])})


def best(bout: Bout) -> tuple[str, ...]:
    """The signals with the highest true-positive rate at 1% false positives; none where it is nowhere above 0."""
    found = {score.signal: score.found or 0.0 for score in bout.scores}
    most = max(found.values(), default=0.0)
    return tuple(name for name, value in found.items() if value == most) if most > 0 else ()


def ahead(bouts: Sequence[Bout], name: str, other: str) -> Duel:
    """On how many victims one signal finds more members at 1% false positives than another."""
    pairs = [(_rate(one, name), _rate(one, other)) for one in bouts]
    both = [pair for pair in pairs if not np.isnan(pair).any()]
    return Duel(sum(a > b for a, b in both), sum(a < b for a, b in both), len(both))


def means(bouts: Sequence[Bout], truth: str) -> list[tuple[str, int, float, float, float]]:
    """Signal, victims it answered on, mean AUC, mean true-positive rates at 0.1% and 1%; the best at 1% first."""
    rows = []
    for name in _signals(bouts):
        scores = [score for one in bouts if one.truth == truth and (score := one.of([name]))]
        rates = [[_value(score.tpr.get(rate)) for score in scores] for rate in (_RARE, _RATE)]
        if scores:
            auc = fmean(_value(score.auc) for score in scores)
            rows.append((name, len(scores), auc, fmean(rates[0]), fmean(rates[1])))
    return sorted(rows, key=lambda row: -row[4])


def table(bouts: Sequence[Bout]) -> list[str]:
    """Markdown, a line for each victim and signal that has an answer."""
    return markdown(
        ("victim", "signal", "AUC", "TPR at 0.1% FPR", "TPR at 1% FPR", "seconds"),
        (
            (
                *(one.victim, score.signal, _estimate(score.auc), _estimate(score.tpr.get(_RARE))),
                *(_estimate(score.tpr.get(_RATE)), f"{score.seconds:.1f}"),
            )
            for one in bouts
            for score in one.scores
            if score.auc
        ),
    )


def page(bouts: Sequence[Bout], run: Run) -> str:
    """All of it as Markdown.

    Args:
        bouts: At least one.
        run: Printed at the top.
    """
    return "\n".join(_page(bouts, run)) + "\n"


def draw(bouts: Sequence[Bout], folder: Path) -> str:
    """Draw the true-positive rates at 1% by victim and signal, the same bytes for the same numbers; the file's name."""
    names = _signals(bouts)
    rates = np.array([[_rate(one, name) for name in names] for one in bouts])
    path = folder / "signals.svg"
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(1.6 + 0.75 * len(names), 1.5 + 0.3 * len(bouts)), layout="constrained")
        axes = figure.add_subplot()
        axes.pcolormesh(np.ma.masked_invalid(rates), cmap="Reds", vmin=0, vmax=1, edgecolors="white", linewidth=1)
        for (row, column), rate in np.ndenumerate(rates):
            said = "-" if np.isnan(rate) else f"{rate:.0%}"
            ink = "white" if rate > 0.6 else "black"
            axes.text(column + 0.5, row + 0.5, said, ha="center", va="center", color=ink)
        axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=35, ha="right")
        axes.set_yticks(np.arange(len(bouts)) + 0.5, [one.victim for one in bouts])
        axes.set_title("Members found at 1% false positives")
        axes.invert_yaxis()
        axes.tick_params(length=0)
        figure.savefig(path, metadata={"Date": None})
    return path.name


def _page(bouts: Sequence[Bout], run: Run) -> Iterator[str]:
    yield from _head(bouts, run)
    yield from ("", "## Side by side", "", *_summary(bouts), "", f"![Members found]({Path('figures') / run.figure})")
    for truth in _truths(bouts):
        yield from ("", f"### Means over {truth} victims", "", *_means(bouts, truth))
    yield from ("", "## Where the setting differs from the papers", "", *_differences(bouts))
    yield from ("", "## All signals", "", *table(bouts), "", *_unanswered(bouts))
    yield from ("", "## Victims", "", *_victims(bouts))


def _head(bouts: Sequence[Bout], run: Run) -> Iterator[str]:
    yield "# Membership signals side by side"
    yield ""
    yield "Which signal tells training images best from others, and is it worth training shadow models? All signals on"
    yield "the same victims of the zoo, whose leak is known because of how they were trained. Members and controls are"
    yield "random draws from one pool; no control plays any part in a victim's training, nor in that of the backbone"
    yield "below a head. A random half of the controls trains shadow models. **Every signal, with shadow models or"
    yield "without, is measured on the same members and the same other half of the controls.**"
    yield ""
    yield f"- command: `{run.command}`"
    yield (
        f"- controls: {_range(one.controls for one in bouts)} compared, {_range(one.population for one in bouts)} more "
        f"for {_range(one.shadows for one in bouts)} shadow models"
    )
    yield f"- machine: {processor()}, {os.cpu_count()} cores, 1 thread, torch {torch.__version__}"
    days, states = sorted({one.day for one in bouts}), sorted({one.code for one in bouts})
    yield f"- measured: {', '.join(days)}, code {', '.join(states)}"
    yield ""
    yield "In brackets are 95% intervals, which hold both samples' uncertainty. Seconds are of the processor."


def _summary(bouts: Sequence[Bout]) -> list[str]:
    columns = tuple(" or ".join(names) for names in SIDE_BY_SIDE)
    lines = markdown(
        ("TPR at 1% FPR", "truth", "best signal", "its TPR", *columns),
        (
            (
                *(one.victim, one.truth, ", ".join(best(one)) or "-", _estimate(_tpr(one, best(one)))),
                *(_estimate(_tpr(one, names)) for names in SIDE_BY_SIDE),
            )
            for one in bouts
        ),
    )
    return [*lines, "", *_sentences(bouts)]


def _sentences(bouts: Sequence[Bout]) -> Iterator[str]:
    for truth in _truths(bouts):
        first = Counter(name for one in bouts if one.truth == truth for name in best(one))
        listed = ", ".join(f"`{name}` on {count}" for name, count in first.most_common()) or "none"
        yield f"- best at 1% on {truth} victims, where several are equal each of them: {listed}"
    leaky = [one for one in bouts if one.truth == "leaky"]
    for name in ("lira", "rmia"):
        duel = ahead(leaky, name, "confidence")
        yield (
            f"- `{name}`, which needs shadow models, finds more members at 1% than `confidence` on {duel.more} of "
            f"{duel.of} leaky victims, and fewer on {duel.fewer}"
        )
    yield ""
    yield "The best signal is picked after the fact: on an honest victim its rate lies above 1% by that alone."


def _means(bouts: Sequence[Bout], truth: str) -> list[str]:
    lines = markdown(
        ("signal", "victims", "mean AUC", "mean TPR at 0.1% FPR", "mean TPR at 1% FPR"),
        ((name, n, *map(_number, values)) for name, n, *values in means(bouts, truth)),
    )
    return [
        *lines,
        "",
        "Each mean is over the victims on which the signal has an answer, which are not the same for all.",
    ]


def _differences(bouts: Sequence[Bout]) -> Iterator[str]:
    of_truth = {truth: _range(one.images for one in bouts if one.truth == truth) for truth in _truths(bouts)}
    yield "`lira` and `rmia` are not given here what their papers give them, so this is no judgement of those papers:"
    yield ""
    yield (
        f"- **Few shadow models**: {_range(one.shadows for one in bouts)}, where LiRA's main figures take 256; RMIA is "
        "made for few. Below 64, `lira` has one variance for all images in place of one each."
    )
    yield (
        f"- **Trained on the auditor's controls only**: {_range(one.population // 2 for one in bouts)} images each, "
        f"drawn from {_range(one.population for one in bouts)}. In the papers they see as many as the target, from the "
        f"same pool. These victims saw {', '.join(f'{images} ({truth})' for truth, images in of_truth.items())}, so "
        "shadow models know strangers better, or worse, than the victim would."
    )
    yield (
        f"- **One recipe for all victims**: Adam at {SHADOW.rate:g} in batches of {SHADOW.batch}, until the loss is "
        f"{SHADOW.loss:g} or after {SHADOW.steps:,} steps. In the papers' main experiments they are trained as the "
        "target was; an auditor may not know how. Of a head, the backbone is trained anew too, where the victim's was "
        "trained on other images and frozen."
    )
    yield (
        "- **Offline, one query an image**: no shadow model saw a member. The papers also train some that did, and ask "
        "about augmented copies."
    )
    yield ""
    yield "And of all signals:"
    yield ""
    yield (
        "- At 0.1% the rate is the share of members above the highest control, one single image; its lower bound stays "
        f"at 0 until {controls_to_bound(0.001):,} controls are compared. Read it with its interval."
    )
    yield (
        "- `multipliers` and `head_multipliers` explain the weights by all queried images together, and `head_span` "
        "takes a mean over them. With more or fewer controls their figures would be others."
    )
    yield "- One seed of each victim and of its shadow models. Victims are small networks on small images."


def _unanswered(bouts: Sequence[Bout]) -> list[str]:
    failed: dict[tuple[str, str], list[str]] = {}
    for one in bouts:
        for score in one.scores:
            if score.auc is None:
                failed.setdefault((score.signal, score.reason), []).append(one.victim)
    rows = markdown(
        ("no answer", "why", "victims"), ((name, why, ", ".join(on)) for (name, why), on in sorted(failed.items()))
    )
    return rows if failed else ["All signals had an answer on all victims."]


def _victims(bouts: Sequence[Bout]) -> list[str]:
    return markdown(
        ("victim", "truth", "images", "architecture", "members", "controls", "seconds a shadow model"),
        (
            (
                *(one.victim, one.truth, f"{one.images:,}", one.architecture, one.members, f"{one.controls:,}"),
                "-" if one.shadow_seconds is None else f"{one.shadow_seconds:.1f}",
            )
            for one in bouts
        ),
    )


def _score(part: Mapping[str, Any]) -> Score:
    tpr = {rate: _read(value) for rate, value in part["tpr"].items()}
    return Score(**{**part, "auc": _read(part["auc"]), "tpr": tpr})


def _read(value: Mapping[str, float] | None) -> Estimate | None:
    return None if value is None else Estimate(**value)


def _signals(bouts: Sequence[Bout]) -> list[str]:
    """Names of signals that have an answer on some victim."""
    return list(dict.fromkeys(score.signal for one in bouts for score in one.scores if score.auc))


def _truths(bouts: Sequence[Bout]) -> list[str]:
    return list(dict.fromkeys(one.truth for one in bouts))


def _tpr(one: Bout, names: Iterable[str]) -> Estimate | None:
    score = one.of(names)
    return None if score is None else score.tpr.get(_RATE)


def _rate(one: Bout, name: str) -> float:
    estimate = _tpr(one, [name])
    return float("nan") if estimate is None else estimate.value


def _value(estimate: Estimate | None) -> float:
    return float("nan") if estimate is None else estimate.value


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _range(values: Iterable[int]) -> str:
    listed = sorted(values) or [0]
    least, most = listed[0], listed[-1]
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
