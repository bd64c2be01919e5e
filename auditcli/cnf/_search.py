"""The solutions of a formula, one after the other, far apart: `Search`, `State`."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from auditcli.errors import AttackError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from auditcli.cnf._formula import Formula

SOLVER = "minisat22"
"""As python-sat calls it."""
_CONFLICTS = 500
"""Conflicts between two looks at the clock: well below a second."""


class State(StrEnum):
    """What is known of the solutions of a formula."""

    OPEN = "open"
    """Nothing yet."""
    SOLVED = "solved"
    """There is one at least."""
    NONE_LEFT = "none-left"
    """There are some, and none as far from all of them."""
    UNSATISFIABLE = "unsatisfiable"
    """There is none: the solver has proven it."""


class Search:
    """A solver at work on one formula; a context manager, since a solver holds memory that Python does not see."""

    def __init__(self, formula: Formula, distance: int, solver: str = SOLVER) -> None:
        """Hand a formula to a solver.

        Args:
            formula: What to solve.
            distance: Pixels in which each solution differs from all before, at least 1.
            solver: Name of one of python-sat's solvers.

        Raises:
            AttackError: python-sat is not installed.
        """
        self.state = State.OPEN
        self._formula, self._distance = formula, distance
        self._solver = _opened(solver)
        self._solver.append_formula(formula.clauses)

    def __enter__(self) -> Search:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._solver.delete()

    @property
    def goes_on(self) -> bool:
        """Whether there may be a solution that was not found yet."""
        return self.state in {State.OPEN, State.SOLVED}

    def next(self, guess: Sequence[bool], deadline: float) -> tuple[bool, ...] | None:
        """The pixels of another solution, or None where none is left, or none was found in time.

        Args:
            guess: One value a pixel, which the solver tries first wherever it is free to choose.
            deadline: By the monotonic clock; it is kept to within the conflicts between two looks at it.
        """
        pixels = range(1, self._formula.pixels + 1)
        self._solver.set_phases([pixel if value else -pixel for pixel, value in zip(pixels, guess, strict=True)])
        while self.goes_on and time.monotonic() < deadline:
            self._solver.conf_budget(_CONFLICTS)
            solved: bool | None = self._solver.solve_limited()
            if solved:
                return self._kept(self._solver.get_model()[: self._formula.pixels])
            if solved is False:
                self.state = State.UNSATISFIABLE if self.state is State.OPEN else State.NONE_LEFT
        return None

    def _kept(self, pixels: Sequence[int]) -> tuple[bool, ...]:
        """A solution, with all that are near to it forbidden from now on."""
        self.state = State.SOLVED
        self._formula = self._formula.apart(pixels, self._distance)
        self._solver.append_formula(self._formula.clauses)
        return tuple(literal > 0 for literal in pixels)


def _opened(name: str) -> Any:
    try:
        from pysat.solvers import Solver
    except ImportError as error:
        raise AttackError(
            "sat needs python-sat, which is not installed: pip install 'privaudit[bnn]'",
            hint="pip install 'privaudit[bnn]'",
        ) from error
    return Solver(name)
