"""Which single members came back, against controls that cannot have.

Public names: `member_findings`, `exposures`, `rank_p_values`, `q_values`, `is_flagged`,
`controls_needed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from auditcli.errors import SampleError
from auditcli.scoring.significance import checked_scores
from auditcli.types import Exposure, MemberFinding

if TYPE_CHECKING:
    from auditcli.scoring.matching import Pooled

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


def q_values(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini-Hochberg: the least false-discovery rate at which each of these would be flagged.

    Args:
        p_values: (m,) in [0, 1], positively dependent, as those of `rank_p_values` are.

    Returns:
        (m,) in [0, 1].
    """
    return np.asarray(false_discovery_control(p_values, method="bh"), dtype=np.float64)


def is_flagged(q_value: float, alpha: float = FALSE_DISCOVERY_RATE) -> bool:
    """Whether an image stands out at a false-discovery rate of alpha, a bound met exactly included."""
    return q_value <= alpha * (1 + _ROUNDING)


def exposures(ids: Sequence[str], members: Sequence[float], controls: Sequence[float]) -> tuple[Exposure, ...]:
    """How far each member stands out among the controls by one signal.

    Args:
        ids: m names, in the order of `members`.
        members: m scores, higher = more likely a member.
        controls: k scores.

    Returns:
        The most exposed first; members alike in score stay in their order.

    Raises:
        SampleError: a sample is empty.
        AttackError: a score is NaN.
    """
    ranks = rank_p_values(members, controls)
    rows = zip(ids, members, ranks.tolist(), q_values(ranks).tolist(), strict=True)
    return tuple(sorted((Exposure(*row) for row in rows), key=lambda exposure: -exposure.score))


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
    p_of: list[float | None] = [None] * len(ids)
    q_of: list[float | None] = [None] * len(ids)
    if controls is not None and ids:
        ranks = rank_p_values(members.best, controls.best)
        p_of, q_of = ranks.tolist(), q_values(ranks).tolist()
    rows = zip(ids, members.best, members.matched, members.attack, p_of, q_of, strict=True)
    return tuple(
        MemberFinding(
            id=name,
            best_ssim=best,
            matched_ssim=matched,
            attack=attack,
            p_value=p,
            q_value=q,
            leaked=q is not None and is_flagged(q, alpha),
        )
        for name, best, matched, attack, p, q in rows
    )
