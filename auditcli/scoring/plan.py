"""The plan up front: what can an audit with so many members and controls establish at best?

Public name: `plan`. No model and no image is looked at, so that the answer comes before anything is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil

from auditcli.scoring import reach
from auditcli.scoring.calibration import controls_needed
from auditcli.scoring.membership import RATES, controls_to_bound
from auditcli.scoring.reasons import HIGH_FPR, HIGH_TPR, MODERATE_AUC
from auditcli.types import Level, Plan, PlannedTest

ENOUGH_MEMBERS = 20
"""Members that are proposed where there are none."""
_SHORT = 0.7
"""A signal that needs a larger AUC than this to be found is called short of power."""


def plan(members: int, controls: int, *, tests: int, alpha: float = 0.01, shadows: bool = False) -> Plan:
    """What an audit with so many images can establish at best.

    Every test is held against the least level of Holm's correction, `alpha / tests`: what is significant there is
    significant whatever the others say. Levels are those of `judge` for samples that separate fully.

    Args:
        members: m >= 0 training images.
        controls: k >= 0 images that were not trained on.
        tests: In one family, the reconstruction test and the signals that apply; >= 1.
        alpha: Family-wise error rate, in (0, 1).
        shadows: Whether shadow models are trained on half of the controls, so that signals which use them compare
            members with the other half alone.

    Returns:
        Numbers, and the limits in sentences.

    Raises:
        ValueError: a count or alpha is out of its range.
    """
    if members < 0 or controls < 0 or tests < 1 or not 0 < alpha < 1:
        raise ValueError(f"no plan for {members} members, {controls} controls, {tests} tests at alpha {alpha}")
    made = _numbers(members, controls, tests, alpha, controls // 2 if shadows else 0)
    return replace(made, sentences=tuple(_sentences(made, shadows=shadows)))


def _numbers(m: int, k: int, tests: int, alpha: float, halved: int) -> Plan:
    comparable = m > 0 and k > 0
    planned = tuple(_tests(m, k, halved, alpha / tests)) if comparable else ()
    signal = next((test for test in planned if test.name == "signal"), None)
    together = reach.flagged_together(m, k) if comparable else None
    return Plan(
        n_members=m,
        n_controls=k,
        shadow_controls=halved,
        n_tests=tests,
        alpha=alpha,
        tests=planned,
        controls_to_flag_one=controls_needed(m) if m else 0,
        flagged_together=together,
        recovered_together=reach.recovered_together(m, k, alpha / tests) if comparable else None,
        levels=tuple(_levels(planned, together)) if comparable else (Level.HIGH, Level.NONE_DETECTED),
        without_images=not comparable,
        best_tpr=reach.best_tpr_low(m, k, HIGH_FPR) if comparable else None,
        best_auc=reach.best_auc_low(m, k) if comparable else None,
        moderate_auc=reach.auc_with_low(MODERATE_AUC, m, k) if comparable and signal and signal.significant else None,
        resolved_rates=tuple(rate for rate in RATES if comparable and reach.resolves(k, rate)),
        bounded_rates=tuple(rate for rate in RATES if comparable and k >= controls_to_bound(rate)),
        sentences=(),
    )


def _tests(m: int, k: int, halved: int, level: float) -> Iterator[PlannedTest]:
    """The reconstruction test doubles its p-value, for it is the better of two."""
    least = min(1.0, 2 * reach.least_reachable(m, k))
    yield PlannedTest("reconstruction", m, k, least, least <= level, reach.detectable_auc(m, k, level / 2))
    for name, compared in (("signal", k), ("shadow signal", halved)):
        if compared:
            least = reach.least_reachable(m, compared, drawn=True)
            yield PlannedTest(name, m, compared, least, least <= level, reach.detectable_auc(m, compared, level))


def _levels(tests: tuple[PlannedTest, ...], flagged: int | None) -> Iterator[Level]:
    possible = [test for test in tests if test.significant]
    signals = [test for test in possible if test.name != "reconstruction"]
    recovered = len(signals) < len(possible)
    if recovered and flagged is not None:
        yield Level.CRITICAL
    if recovered or any(_is_high(test.n_members, test.n_controls) for test in signals):
        yield Level.HIGH
    if any(_is_moderate(test.n_members, test.n_controls) for test in signals):
        yield Level.MODERATE
    if signals:
        yield Level.LOW
    yield Level.NONE_DETECTED if possible else Level.INCONCLUSIVE


def _is_high(m: int, k: int) -> bool:
    return (reach.best_tpr_low(m, k, HIGH_FPR) or 0.0) >= HIGH_TPR


def _is_moderate(m: int, k: int) -> bool:
    return reach.auc_with_low(MODERATE_AUC, m, k) is not None


# ---- in words -------------------------------------------------------------------------------------------------------


def _sentences(made: Plan, *, shadows: bool) -> Iterator[str]:
    said = [*(_without_images(made) if made.without_images else _limits(made, shadows=shadows))]
    yield from said
    if not made.without_images and Level.CRITICAL in made.levels and len(made.levels) == 5:
        yield f"Every level can be reached with {_images(made.n_members, made.n_controls)}."


def _without_images(made: Plan) -> Iterator[str]:
    m = made.n_members or ENOUGH_MEMBERS
    wanted = [] if made.n_members else [_count(m, "member")]
    short = max(controls_needed(m), controls_to_bound(HIGH_FPR)) - made.n_controls
    if short > 0:
        wanted.append(_count(short, "control"))
    missing = " and ".join(name for name, n in (("members", made.n_members), ("controls", made.n_controls)) if n == 0)
    yield (
        f"Without {missing} only the weights can speak, and only where a network is dense: images on which independent "
        "restarts of an attack agree give the level high, with no known false-alarm rate; no single training image can "
        f"be flagged, and membership cannot be tested. Add {' and '.join(wanted)}."
    )


def _limits(made: Plan, *, shadows: bool) -> Iterator[str]:
    yield from _impossible(made, shadows=shadows)
    yield from _unflagged(made)
    yield from _unreached(made)
    yield from _weak(made)
    yield from _unresolved(made)


def _impossible(made: Plan, *, shadows: bool) -> Iterator[str]:
    level = made.alpha / made.n_tests
    for test in made.tests:
        if test.significant:
            continue
        doubled, halves = (2 if test.name == "reconstruction" else 1), (2 if test.name == "shadow signal" else 1)
        yield (
            f"The {test.name} test can never be significant: with {_images(test.n_members, test.n_controls)} its least "
            f"p-value is {test.least_p:.2g}, above {made.alpha:g} / {made.n_tests} = {level:.2g} (Holm). "
            + _add(
                made,
                lambda m, k, f=doubled, h=halves: (
                    k >= h  # type: ignore[misc]
                    and f * reach.least_reachable(m, k // h, drawn=f == 1) <= level
                ),
            )
        )
    if shadows and not made.shadow_controls:
        yield "One control cannot both train shadow models and be compared with members. Add 1 control."


def _unflagged(made: Plan) -> Iterator[str]:
    m, k, together, recovered = made.n_members, made.n_controls, made.flagged_together, made.recovered_together
    short = made.controls_to_flag_one - k
    if together is None:
        yield (
            f"No training image can be flagged, not even if all of them come back. "
            f"{_add(made, lambda m, k: reach.flagged_together(m, k) is not None)}"
        )
    elif together > 1:
        yield (
            f"A single training image cannot be flagged: {together:,} of {m:,} must come back together. "
            f"Add {_count(short, 'control')} to flag one."
        )
    if recovered is not None and recovered > 1:
        alone = ceil(m * (2 * made.n_tests / made.alpha - 1) * (1 - 1e-12)) - k
        yield (
            f"The reconstruction test is significant from {recovered:,} of {m:,} members above every control, and not "
            f"from fewer, however clear their match. Add {_count(alone, 'control')} for one alone."
        )


def _unreached(made: Plan) -> Iterator[str]:
    """Levels that the signals cannot give, though their test can be significant."""
    signal = next(test for test in made.tests if test.name == "signal")
    if not _is_high(signal.n_members, signal.n_controls):
        yield (
            f"No signal can give the level high: the lower bound of its true-positive rate at {HIGH_FPR:.0%} false "
            f"positives stays below {HIGH_TPR:.0%}. {_add(made, _is_high)}"
        )
    if not _is_moderate(signal.n_members, signal.n_controls):
        yield (
            f"No signal can give the level moderate: the lower bound of its AUC is at most {made.best_auc or 0:.2f}, "
            f"below {MODERATE_AUC:.2f}. {_add(made, _is_moderate)}"
        )


def _weak(made: Plan) -> Iterator[str]:
    level = made.alpha / made.n_tests
    for test in made.tests:
        if test.name == "reconstruction" or test.detectable_auc is None or test.detectable_auc <= MODERATE_AUC:
            continue
        halves = 2 if test.name == "shadow signal" else 1
        aim = _SHORT if test.detectable_auc > _SHORT else MODERATE_AUC
        grown = reach.grown_until(
            lambda m, k, aim=aim, h=halves: reach.detects(aim, m, max(1, k // h), level),  # type: ignore[misc]
            made.n_members,
            made.n_controls,
        )
        more = "" if grown is None else f" Add {_added(made, *grown)} to find an AUC of {aim:.2f}."
        yield (
            f"A {test.name} is found in 80% of audits from a true AUC of {test.detectable_auc:.2f} on "
            f"(normal approximation); a weaker one is missed more often.{more}"
        )
    if made.moderate_auc is not None:
        yield (
            f"The level moderate takes an observed AUC of {made.moderate_auc:.2f} or more: only from there its lower "
            f"bound is {MODERATE_AUC:.2f}."
        )


def _unresolved(made: Plan) -> Iterator[str]:
    for rate in (rate for rate in RATES if rate not in made.bounded_rates and rate != HIGH_FPR):
        known = "has no lower bound above 0" if rate in made.resolved_rates else "cannot be stated"
        short = controls_to_bound(rate) - made.n_controls
        yield (
            f"The true-positive rate at {100 * rate:g}% false positives {known}. Add {_count(short, 'control')} to "
            "bound it from below."
        )


def _add(made: Plan, holds: Callable[[int, int], bool]) -> str:
    """The controls to add for something to hold of members and controls; members too where no controls suffice."""
    m, k = made.n_members, made.n_controls
    members = reach.least_number(lambda more: holds(more, k), m)
    if members is None or reach.least_number(lambda more: holds(m, more), k) is not None:
        members = reach.least_number(lambda more: holds(more, reach.MOST), m)
    controls = None if members is None else reach.least_number(lambda more: holds(members, more), k)
    return "" if members is None or controls is None else f"Add {_added(made, members, controls)}."


def _added(made: Plan, m: int, k: int) -> str:
    more = ((m - made.n_members, "member"), (k - made.n_controls, "control"))
    return " and ".join(_count(number, noun) for number, noun in more if number > 0)


def _images(m: int, k: int) -> str:
    return f"{_count(m, 'member')} and {_count(k, 'control')}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
