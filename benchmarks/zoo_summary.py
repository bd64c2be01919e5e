"""What the audits of a zoo say together: pure functions over rows.

Public names: `false_alarms`, `power`, `wrong`, `confusion`, `roc_of_level`, `calibration`, `p_values`, `likeness`,
`correlations`, `times`, `mitigated`, `strengths`, `duels`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType

from sklearn.metrics import roc_auc_score, roc_curve
from zoo_rows import INCONCLUSIVE, LEVELS, Row, Signal
from zoo_statistics import Correlation, Share, Uniformity, share, spearman, uniformity
from zoo_victims import MITIGATIONS, Mitigation

FAMILIES = ("mlp", "head", "cnn", "vit")
WANTED: Mapping[str, str] = MappingProxyType({"mlp": "high", "head": "high", "cnn": "moderate", "vit": "moderate"})
"""A leaky victim is found at this level or above: reconstruction is claimed for dense layers, membership for all."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often, and how often there was no answer."""

    what: str
    share: Share
    inconclusive: int


def is_alarm(row: Row) -> bool:
    """Whether its level is above none-detected."""
    return row.rank > 0


def is_found(row: Row) -> bool:
    """Whether the level is at least what is wanted of a leaky victim of this family."""
    return row.rank >= LEVELS.index(WANTED[row.family])


def is_cleared(row: Row) -> bool:
    """Whether the level is none-detected."""
    return row.level == LEVELS[0]


def false_alarms(rows: Sequence[Row]) -> tuple[Rate, ...]:
    """Of all null audits, of untrained victims and of strangers, and of each family."""
    nulls = [row for row in rows if row.truth == "null"]
    kinds: dict[str, Callable[[Row], bool]] = {
        "all": lambda row: True,
        "untrained": lambda row: row.sample == "members",
        "strangers": lambda row: row.sample == "strangers",
        **{family: lambda row, family=family: row.family == family for family in FAMILIES},  # type: ignore[misc]
    }
    return tuple(_rate(what, filter(of_kind, nulls), is_alarm) for what, of_kind in kinds.items())


def power(rows: Sequence[Row]) -> tuple[Rate, ...]:
    """Leaky victims that were found, and honest ones that were cleared, of each family."""
    return tuple(
        _rate(
            f"{truth} {family}, {wanted}",
            (row for row in rows if row.truth == truth and row.family == family),
            right,
        )
        for truth, right in (("leaky", is_found), ("honest", is_cleared))
        for family in FAMILIES
        for wanted in (f"{WANTED[family]} or above" if truth == "leaky" else LEVELS[0],)
    )


def wrong(rows: Iterable[Row]) -> list[Row]:
    """Null audits with an alarm, and leaky victims that were missed."""
    return [
        row for row in rows if (row.truth == "null" and is_alarm(row)) or (row.truth == "leaky" and not is_found(row))
    ]


def confusion(rows: Iterable[Row]) -> dict[str, Counter[str]]:
    """How often each level was given, by truth."""
    table: dict[str, Counter[str]] = {truth: Counter() for truth in ("null", "honest", "leaky", "open")}
    for row in rows:
        table[row.truth][row.level] += 1
    return table


@dataclass(frozen=True, slots=True)
class Roc:
    """How well the level, as a score, tells leaky victims from the others."""

    points: tuple[tuple[float, float], ...]
    """(false alarms, found) from (0, 0) to (1, 1)."""
    auc: float


def roc_of_level(rows: Iterable[Row]) -> Roc | None:
    """Leaky victims against null and honest ones; None without both. No answer counts as none-detected."""
    known = [row for row in rows if row.truth != "open"]
    leaky, scores = [row.truth == "leaky" for row in known], [row.rank for row in known]
    if len(set(leaky)) < 2:
        return None
    fpr, tpr, _ = roc_curve(leaky, scores)
    points = tuple((float(x), float(y)) for x, y in zip(fpr, tpr, strict=True))
    return Roc(points, float(roc_auc_score(leaky, scores)))


def p_values(rows: Iterable[Row]) -> dict[str, list[float]]:
    """p-values of the null audits, by test."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.truth != "null":
            continue
        for name, p_value in (*row.tests.items(), *((signal.name, signal.p_value) for signal in row.signals)):
            found.setdefault(name, []).append(p_value)
    return dict(sorted(found.items()))


def calibration(rows: Iterable[Row]) -> dict[str, Uniformity]:
    """How the p-values of null audits lie, by test."""
    lie = {name: uniformity(values) for name, values in p_values(rows).items()}
    return {name: value for name, value in lie.items() if value is not None}


def likeness(rows: Iterable[Row], of: Callable[[Row], float | None]) -> tuple[list[float], list[float], list[Row]]:
    """Of victims audited with their members: some measure of likeness, the best AUC, and the rows that have both."""
    both = [
        (value, row.best_auc, row)
        for row in rows
        if row.sample == "members" and (value := of(row)) is not None and row.best_auc is not None
    ]
    return [value for value, _, _ in both], [auc for _, auc, _ in both], [row for _, _, row in both]


def correlations(rows: Sequence[Row]) -> dict[str, Correlation | None]:
    """Rank correlation of SSIM, and of its excess over controls, with the best AUC of membership."""
    kinds = {"all victims": ("null", "honest", "leaky", "open"), "leaky victims": ("leaky",)}
    measures: dict[str, Callable[[Row], float | None]] = {
        "mean best SSIM": lambda row: row.ssim,
        "its excess over controls": lambda row: row.ssim_excess,
    }
    return {
        f"{name}, {kind}": spearman(*likeness((row for row in rows if row.truth in truths), measure)[:2])
        for kind, truths in kinds.items()
        for name, measure in measures.items()
    }


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of audits."""

    n: int
    median: float
    most: float


def times(rows: Iterable[Row]) -> dict[str, Times]:
    """By family."""
    seconds: dict[str, list[float]] = {}
    for row in rows:
        seconds.setdefault(row.family, []).append(row.seconds)
    return {
        family: Times(len(values), sorted(values)[len(values) // 2], max(values)) for family, values in seconds.items()
    }


def mitigated(rows: Iterable[Row]) -> list[tuple[Mitigation, Row, Row]]:
    """Each mitigation with the audits before and after, where both were run."""
    by_name = {row.name: row for row in rows if row.sample == "members"}
    return [
        (one, by_name[one.base], by_name[one.variant])
        for one in MITIGATIONS
        if one.base in by_name and one.variant in by_name
    ]


@dataclass(frozen=True, slots=True)
class Strength:
    """What a signal finds on leaky victims."""

    n: int
    auc: float
    """Mean over victims."""
    tpr: float
    """Mean rate at 1% false alarms."""


def strengths(rows: Iterable[Row]) -> dict[str, dict[str, Strength]]:
    """Of each signal on the leaky victims of each family that it was measured on."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        if row.truth == "leaky":
            for signal in row.signals:
                rate = signal.tpr.get("1%")
                pair = (signal.auc.value, rate.value if rate else 0.0)
                found.setdefault(signal.name, {}).setdefault(row.family, []).append(pair)
    return {
        name: {
            family: Strength(len(pairs), fmean(auc for auc, _ in pairs), fmean(tpr for _, tpr in pairs))
            for family, pairs in families.items()
        }
        for name, families in sorted(found.items())
    }


def duels(rows: Iterable[Row], one: str, other: str) -> list[tuple[Row, Signal, Signal]]:
    """Audits with members in which both of two signals were measured, the largest lead of the first signal first."""
    pairs = []
    for row in rows:
        by_name = {signal.name: signal for signal in row.signals}
        if row.sample == "members" and one in by_name and other in by_name:
            pairs.append((row, by_name[one], by_name[other]))
    return sorted(pairs, key=lambda pair: pair[2].auc.value - pair[1].auc.value)


def _rate(what: str, rows: Iterable[Row], is_hit: Callable[[Row], bool]) -> Rate:
    chosen = list(rows)
    hits = sum(map(is_hit, chosen))
    return Rate(what, share(hits, len(chosen)), sum(row.level == INCONCLUSIVE for row in chosen))
