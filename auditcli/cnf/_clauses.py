"""Clauses as they grow, and how literals are counted in them (`Clauses`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

Clause = tuple[int, ...]
"""Literals of which one holds at least; a literal is a variable from 1, or minus it for its denial."""


@dataclass(slots=True)
class Clauses:
    """Clauses over variables 1 to `variables`; grows while a network is encoded."""

    variables: int
    found: list[Clause] = field(default_factory=list)

    def variable(self) -> int:
        """A new variable."""
        self.variables += 1
        return self.variables

    def constant(self, *, holds: bool) -> int:
        """A new variable of a fixed value."""
        made = self.variable()
        self.found.append((made if holds else -made,))
        return made

    def at_least(self, literals: Sequence[int], count: int) -> int:
        """A literal that holds exactly where at least `count` of the literals do."""
        if not 0 < count <= len(literals):
            return self.constant(holds=count <= 0)
        return self.counted(literals, count, count)[count]

    def counted(self, literals: Sequence[int], low: int, high: int) -> dict[int, int]:
        """Literals of a totalizer: that of k holds exactly where at least k of the given literals do.

        Bailleux and Boufkhad 2003, Efficient CNF encoding of Boolean cardinality constraints: a tree of unary sums,
        both halves counted and merged. We differ: clauses of both directions, so that the count can be denied as well,
        and none for counts that cannot decide whether one of `low` to `high` is reached.

        Args:
            literals: At least one.
            low: Smallest k, at least 1.
            high: Largest k, at most as many as literals.
        """
        n = len(literals)
        if n == 1:
            return {1: literals[0]}
        half = n // 2
        left, right = (self._half(part, n, low, high) for part in (literals[:half], literals[half:]))
        made = {count: self.variable() for count in range(low, high + 1)}
        self.found.extend(_merged(left, right, made))
        return made

    def _half(self, literals: Sequence[int], n: int, low: int, high: int) -> _Side:
        """One half, counted as far as it can decide: with all or none of the other half holding."""
        size = len(literals)
        return _Side(self.counted(literals, max(1, low - (n - size)), min(size, high)))


@dataclass(frozen=True, slots=True)
class _Side:
    """How many of some literals hold, as far as that is counted."""

    counted: dict[int, int]

    def reached(self) -> Iterator[tuple[int, Clause]]:
        """Counts, each with what denies that so many are reached: nothing for 0."""
        # Where that is not 0, no count that is asked for can be made of it, and no clause comes of it.
        yield min(self.counted) - 1, ()
        yield from ((count, (-literal,)) for count, literal in self.counted.items())

    def missed(self) -> Iterator[tuple[int, Clause]]:
        """Counts, each with what denies that no more are reached: nothing for all."""
        yield from ((count - 1, (literal,)) for count, literal in self.counted.items())
        yield max(self.counted), ()  # likewise


def _merged(left: _Side, right: _Side, made: dict[int, int]) -> Iterator[Clause]:
    for one, denied in left.reached():
        for other, too in right.reached():
            if (literal := made.get(one + other)) is not None:
                yield (*denied, *too, literal)
    for one, denied in left.missed():
        for other, too in right.missed():
            if (literal := made.get(one + other + 1)) is not None:
                yield (*denied, *too, -literal)
