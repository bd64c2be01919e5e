"""Clauses in conjunction, and which of their variables are pixels (`Formula`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditcli.cnf._clauses import Clause, Clauses


@dataclass(frozen=True, slots=True)
class Formula:
    """Clauses in conjunctive normal form; variables are numbered from 1, and a negative literal denies its variable."""

    variables: int
    pixels: int
    """Variables 1 to `pixels` are the inputs, flattened in c, h, w order; true is 1, false is -1."""
    clauses: tuple[Clause, ...]

    def apart(self, pixels: Sequence[int], distance: int) -> Formula:
        """The clauses that a solution differs from an input in at least so many pixels, on variables above these.

        Args:
            pixels: The input as literals of the pixels' variables.
            distance: 1 to `pixels`; 1 forbids the input alone.
        """
        other = tuple(-literal for literal in pixels)
        if distance == 1:
            return Formula(self.variables, self.pixels, (other,))
        clauses = Clauses(self.variables)
        clauses.found.append((clauses.at_least(other, distance),))
        return Formula(clauses.variables, self.pixels, tuple(clauses.found))
