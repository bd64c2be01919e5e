"""Two reports in, one comparison out. Public name: `compare`."""

from __future__ import annotations

from auditcli.comparison import _changes
from auditcli.comparison._obstacles import forbidden, obstacles, tried_more
from auditcli.comparison._outcome import caveats, outcome, sentence
from auditcli.comparison.schema import Change, Comparison, LevelMove, Obstacle, Side
from auditcli.errors import LoadError
from auditcli.report import Report
from auditcli.report.wording import LEVELS, SCALE


def compare(old: Report, new: Report) -> Comparison:
    """What moved between two audits of the same images, and whether that is more than chance.

    Args:
        old: The audit before, say of the model as it was.
        new: The audit after.

    Returns:
        Where something forbids the comparison there is no figure in it, only why.

    Raises:
        LoadError: a report contradicts itself.
    """
    for report, side in ((old, "old"), (new, "new")):
        _require_whole(report, side)
    found = obstacles(old, new)
    paired = not forbidden(found)
    changes = _changes.changes(old, new) if paired else ()
    same_model = old.model.sha256 == new.model.sha256
    level = _level(old, new)
    n_members = new.controls.n_members
    return Comparison(
        outcome=outcome(changes, found),
        sentence=sentence(changes, found, _words(old, new), n_members=n_members, same_model=same_model),
        caveats=caveats(changes, found, same_model=same_model),
        level=level,
        worse=paired and (level == "worse" or any(change.moved == "more" for change in changes)),
        established=_established(new, changes, found),
        same_model=same_model,
        old=_side(old),
        new=_side(new),
        obstacles=found,
        alpha=_changes.ALPHA,
        changes=changes,
        n_members=n_members if paired else 0,
        n_controls=new.controls.n_controls if paired else 0,
        crossings=_changes.crossings(old, new) if paired else None,
        pairs=_changes.pairs(old, new) if paired else (),
        controls_shift=_changes.controls_shift(old, new) if paired else None,
    )


def _established(new: Report, changes: tuple[Change, ...], found: tuple[Obstacle, ...]) -> bool:
    """Whether the new audit could have shown that it is worse: comparable, conclusive, and tried no less."""
    tried_less = any("old" in tried_more(found, about) for about in ("reconstruction", "membership"))
    return (
        outcome(changes, found) != "not-comparable"
        and new.verdict.level != "inconclusive"
        and not new.interrupted
        and not tried_less
    )


def _level(old: Report, new: Report) -> LevelMove:
    if old.verdict.level == new.verdict.level:
        return "same"
    if "inconclusive" in (old.verdict.level, new.verdict.level):
        return "unordered"
    return "worse" if SCALE.index(new.verdict.level) > SCALE.index(old.verdict.level) else "better"


def _words(old: Report, new: Report) -> str:
    """What became of the verdict."""
    before, after = (LEVELS[report.verdict.level].word.lower() for report in (old, new))
    return f"The verdict stays: {after}." if before == after else f"The verdict goes from {before} to {after}."


def _side(report: Report) -> Side:
    budget = report.budget
    return Side(
        model=report.model.path,
        sha256=report.model.sha256,
        level=report.verdict.level,
        headline=report.verdict.headline,
        interrupted=report.interrupted,
        seconds=budget.seconds,
        seconds_used=budget.seconds_used,
        profile=budget.profile,
        device=budget.device,
        seed=budget.seed,
        privaudit=report.manifest.privaudit,
        finished=report.manifest.finished,
    )


def _require_whole(report: Report, side: str) -> None:
    """Check that there is a figure for each image: figures are paired by their place."""
    m, k = report.controls.n_members, report.controls.n_controls
    scores = [signal.scores for signal in report.membership if signal.scores]
    numbers = (
        ("members", m, [len(report.members)] + [len(part.members) for part in scores]),
        ("controls", k, [len(report.controls.controls_ssim)] + [len(p.controls) for p in scores if p.places is None]),
    )
    for role, n, held in numbers:
        if wrong := set(held) - {0, n}:
            raise LoadError(
                f"the {side} report has figures of {min(wrong)} {role} and says that there are {n}",
                hint="was the file edited? audit again with privaudit scan",
            )
