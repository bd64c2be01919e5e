"""A formula as a file that any solver reads: `dimacs`."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditcli.cnf._formula import Formula


def dimacs(formula: Formula, input_shape: tuple[int, int, int], about: tuple[str, ...] = ()) -> Iterator[str]:
    """Lines of a DIMACS file, with comments that say which variable is which pixel.

    Args:
        formula: What to write.
        input_shape: Channels, height and width of the images that its pixels make up.
        about: Sentences for the comments at the top; each must be one line.
    """
    yield from (f"c {sentence}" for sentence in about)
    yield "c A pixel is true where it reads as 1, and false where it reads as -1."
    places = product(*(range(size) for size in input_shape))
    for variable, (channel, y, x) in enumerate(places, start=1):
        yield f"c variable {variable} = pixel channel {channel}, row {y}, column {x}"
    yield f"p cnf {formula.variables} {len(formula.clauses)}"
    yield from (" ".join(map(str, (*clause, 0))) for clause in formula.clauses)
