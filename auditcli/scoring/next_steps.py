"""The cheapest things to add to an audit whose answer is weak.

Public name: `next_steps`.
"""

from __future__ import annotations

from collections.abc import Iterator

from auditcli.scoring.calibration import controls_needed
from auditcli.scoring.findings import Findings
from auditcli.scoring.membership import controls_to_bound
from auditcli.scoring.reasons import HIGH_FPR, signal_level
from auditcli.scoring.weighing import Weighed, swapped
from auditcli.types import Level


def next_steps(findings: Findings, weighed: Weighed) -> tuple[str, ...]:
    """What to do to get an answer, or a stronger one; each sentence names a flag or a command.

    Args:
        findings: Of one audit.
        weighed: What stands of them.

    Returns:
        Cheapest first; empty where the answer needs nothing more.
    """
    return tuple(dict.fromkeys([*_to_answer(findings, weighed), *_to_calibrate(findings, weighed)]))


def _to_answer(findings: Findings, weighed: Weighed) -> Iterator[str]:
    if findings.interrupted:
        yield "Run the audit again, to the end; --profile quick takes the least time."
    if not weighed.comparable:
        yield "Draw members and controls at random from one collection, prepared the same way (--members, --controls)."
    if swapped(findings):
        yield "Check which images were trained on: those are the members (--members DIR), the others the controls."
    if findings.flawless and not (weighed.reconstruction or weighed.signals):
        yield "Check where the controls come from: give images that were kept out of training (--controls DIR)."
    if findings.applicable == 0:
        yield "See which needs of the attacks the model does not meet: privaudit inspect MODEL, privaudit attacks."
    if weighed.positive_failed:
        yield "Give the attacks more time (--budget, or --profile deep), until the positive control passes."
    if weighed.unchecked and not weighed.found:
        yield "Leave time for the positive control (--budget, or --profile deep)."


def _to_calibrate(findings: Findings, weighed: Weighed) -> Iterator[str]:
    m, k = findings.n_members, findings.n_controls
    if m == 0 and k == 0:
        yield (
            "Give some training images (--members DIR) and images of the same kind that were not trained on "
            "(--controls DIR), so that single images and membership can be tested."
        )
    elif m == 0:
        yield "Give some training images (--members DIR) to compare with the controls."
    elif k == 0:
        yield (
            f"Give at least {controls_needed(m):,} images of the same kind that were not trained on (--controls DIR), "
            f"to be able to flag one of {_members(m)}."
        )
    elif not findings.leaked and k < controls_needed(m):
        yield (
            f"Give at least {controls_needed(m):,} controls (--controls DIR, now {k:,}) to be able to flag "
            f"one of {_members(m)}."
        )
    bound = controls_to_bound(HIGH_FPR)
    unbounded = [s for s in weighed.signals if s.n_controls < bound and signal_level(s) is not Level.HIGH]
    if unbounded:
        # Controls that trained shadow models were not compared: as many again must be given.
        needed = max(bound * max(1, round(k / s.n_controls)) for s in unbounded)
        more = f"Give at least {needed:,} controls (--controls DIR)"
        yield f"{more} to bound what is found at 1% false alarms from below."


def _members(number: int) -> str:
    return f"{number:,} member" if number == 1 else f"{number:,} members"
