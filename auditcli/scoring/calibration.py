"""Which single members came back, against controls that cannot have.

Public names: `member_findings`, `rank_p_values`, `controls_needed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from auditcli.errors import SampleError
from auditcli.scoring.matching import Pooled
from auditcli.scoring.significance import checked_scores
from auditcli.types import MemberFinding

FALSE_DISCOVERY_RATE = 0.05
_ROUNDING = 1e-9
"""Relative slack of comparisons at a bound that is met exactly: 3 / 60 is above 0.05 in floating point."""


def rank_p_values(members: Sequence[float], controls: Sequence[float]) -> NDArray[np.float64]:
    """Rank of each member among the controls, `(1 + #{control >= member}) / (k + 1)`.

    If a member was not trained on, it and the controls are exchangeable, and the p-value is at most u with probability
    at most u. The p-values share the controls, and so depend positively, under which Benjamini-Hochberg holds.

    Args:
        members: m scores, higher = nearer to a reconstruction.
        controls: k scores of the same kind.

    Returns:
        (m,) in [1 / (k + 1), 1].

    Raises:
        SampleError: a sample is empty.
        AttackError: a score is NaN.

    Reference:
        Bates et al. 2023, arXiv:2104.08279, theorem 2 (conformal p-values).
    """
    x, y = checked_scores(members, controls)
    below = np.searchsorted(np.sort(y), x, side="left")
    return np.asarray((1 + len(y) - below) / (len(y) + 1), dtype=np.float64)


def controls_needed(members: int, alpha: float = FALSE_DISCOVERY_RATE) -> int:
    """How many controls it takes to be able to flag a single one of the members.

    The least p-value is 1 / (k + 1), and Benjamini-Hochberg asks alpha / m of a single leaked member.

    Args:
        members: m >= 1.
        alpha: False-discovery rate, in (0, 1).

    Returns:
        The smallest k with 1 / (k + 1) <= alpha / m.
    """
    return ceil(members / alpha * (1 - _ROUNDING)) - 1


def member_findings(
    ids: Sequence[str], members: Pooled, controls: Pooled | None, *, alpha: float = FALSE_DISCOVERY_RATE
) -> tuple[MemberFinding, ...]:
    """One finding a member: p by rank among the controls, q by Benjamini-Hochberg, leaked where q <= alpha.

    Args:
        ids: m names, in the order of `members`.
        members: Best similarities of the members, pooled over all attacks.
        controls: The same of the controls, against the same candidates; None where there are none.
        alpha: False-discovery rate.

    Returns:
        In the order of `ids`; without controls nothing is leaked, for nothing says how near a chance match comes.

    Raises:
        SampleError: the number of ids is not that of the members.
        AttackError: a similarity is NaN.
    """
    if len(ids) != len(members.best):
        raise SampleError(f"{len(members.best)} similarities for {len(ids)} members", hint="privaudit scan --help")
    p_values: list[float | None] = [None] * len(ids)
    q_values: list[float | None] = [None] * len(ids)
    if controls is not None and ids:
        ranks = rank_p_values(members.best, controls.best)
        p_values = [float(p) for p in ranks]
        q_values = [float(q) for q in false_discovery_control(ranks, method="bh")]
    rows = zip(ids, members.best, members.matched, members.attack, p_values, q_values, strict=True)
    return tuple(
        MemberFinding(
            id=name,
            best_ssim=best,
            matched_ssim=matched,
            attack=attack,
            p_value=p,
            q_value=q,
            leaked=q is not None and q <= alpha * (1 + _ROUNDING),
        )
        for name, best, matched, attack, p, q in rows
    )
