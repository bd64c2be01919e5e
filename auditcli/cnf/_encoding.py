"""A binarised network, layer by layer, as clauses: `encode`, `Encoding`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import groupby
from math import inf
from typing import TYPE_CHECKING

import torch

from auditcli.cnf._clauses import Clause, Clauses
from auditcli.cnf._formula import Formula
from auditcli.errors import AttackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from auditcli.types import BinarisedStack

MOST_CLAUSES = 5_000_000
"""About a gigabyte of Python's memory."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """The layers of a network but the last as clauses; `labelled` adds what a label asks of the last."""

    stack: BinarisedStack
    variables: int
    clauses: tuple[Clause, ...]
    hidden: tuple[int, ...]
    """Literals of the last hidden layer's values."""

    @property
    def labels(self) -> int:
        """Number of labels: 2 where there is a single logit."""
        return max(2, len(self.stack.scales))

    def labelled(self, label: int) -> Formula:
        """The inputs that get a label, all of them and no others.

        As `argmax` has it, the first of equal logits wins. A single logit means label 1 above 0, and label 0 else.

        Raises:
            ValueError: there is no such label.
        """
        if not 0 <= label < self.labels:
            raise ValueError(f"label {label} of a network with the labels 0 to {self.labels - 1}")
        clauses = Clauses(self.variables)
        if len(self.stack.scales) == 1:
            above = self._positive(clauses)
            clauses.found.append((above if label else -above,))
        else:
            for rival in range(self.labels):
                if rival != label:
                    self._beats(clauses, label, rival)
        return Formula(clauses.variables, self.stack.weights[0].shape[1], (*self.clauses, *clauses.found))

    def _logits(self, label: int, sums: Tensor) -> Tensor:
        """What the network returns for sums of signs; the same float32 numbers."""
        return sums.float() * self.stack.scales[label] + self.stack.offsets[label]

    def _positive(self, clauses: Clauses) -> int:
        agreeing = _agreeing(self.stack.weights[-1][0], self.hidden)
        sums = 2 * torch.arange(len(agreeing) + 1) - len(agreeing)
        # Logits never fall with the sum: scales are not negative.
        return clauses.at_least(agreeing, int((self._logits(0, sums) <= 0).sum()))

    def _beats(self, clauses: Clauses, label: int, rival: int) -> None:
        """The label's logit is above the rival's, or equal and the label comes first.

        Hidden values on which both rows agree move both sums alike, the others move them apart. The number of each kind
        in the label's favour gives both sums, hence both logits as the network computes them; so there is one least
        number of the second kind for each number of the first.
        """
        own, other = self.stack.weights[-1][label], self.stack.weights[-1][rival]
        agreeing = _agreeing(own, self.hidden)
        alike = [literal for literal, same in zip(agreeing, (own == other).tolist(), strict=True) if same]
        unlike = [literal for literal, same in zip(agreeing, (own == other).tolist(), strict=True) if not same]
        both = (2 * torch.arange(len(alike) + 1) - len(alike))[:, None]
        apart = (2 * torch.arange(len(unlike) + 1) - len(unlike))[None]
        ours, theirs = self._logits(label, both + apart), self._logits(rival, both - apart)
        wins = ours >= theirs if label < rival else ours > theirs
        clauses.found.extend(_needed(clauses, alike, unlike, (~wins).sum(dim=1).tolist()))


def encode(stack: BinarisedStack, deadline: float = inf) -> Encoding:
    """Encode all layers but the last: each neuron is true exactly where enough of its inputs agree with its weights.

    A sum of n signs is at least a threshold t where at least (n + t) / 2 of them are 1, which a totalizer counts.

    Args:
        stack: What to encode.
        deadline: By the monotonic clock.

    Raises:
        AttackError: it makes more clauses than are held in memory, or the time is over.
    """
    values = tuple(range(1, stack.weights[0].shape[1] + 1))
    clauses = Clauses(len(values))
    for weights, thresholds in zip(stack.weights[:-1], stack.thresholds, strict=True):
        needed = ((weights.shape[1] + thresholds + 1) // 2).tolist()
        neurons = []
        for row, count in zip(weights, needed, strict=True):
            neurons.append(clauses.at_least(_agreeing(row, values), count))
            _require_room(len(clauses.found), deadline)
        values = tuple(neurons)
    return Encoding(stack, clauses.variables, tuple(clauses.found), values)


def _require_room(clauses: int, deadline: float) -> None:
    if clauses > MOST_CLAUSES:
        raise AttackError(
            f"the network makes more than {MOST_CLAUSES:,} clauses, which sat does not hold in memory",
            hint="a network of fewer or narrower layers",
        )
    if time.monotonic() > deadline:
        raise AttackError("sat was still encoding the network when its time was over", hint="a larger --budget")


def _agreeing(row: Tensor, values: Sequence[int]) -> list[int]:
    """Literals that hold where a value is that of its weight."""
    return [weight * value for weight, value in zip(row.tolist(), values, strict=True)]


def _needed(clauses: Clauses, alike: list[int], unlike: list[int], least: list[int]) -> Iterator[Clause]:
    """Of `unlike` at least `least[k]` hold where exactly k of `alike` do."""
    runs = [(count, [k for k, _ in run]) for count, run in groupby(enumerate(least), key=lambda pair: pair[1])]
    steps = [run[0] for _, run in runs[1:]]
    reached = clauses.counted(alike, steps[0], steps[-1]) if steps else {}
    counts = [count for count, _ in runs if 0 < count <= len(unlike)]
    enough = clauses.counted(unlike, min(counts), max(counts)) if counts else {}
    for count, run in runs:
        inside = [-reached[run[0]]] if run[0] else []
        inside += [reached[run[-1] + 1]] if run[-1] < len(alike) else []
        if count > 0:
            yield (*inside, *([enough[count]] if count <= len(unlike) else []))
