"""Inputs of a binarised network with each label, by a SAT solver. Public name: `sat`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from auditcli.attacks._attack import attack
from auditcli.cnf import Search, State, encode
from auditcli.errors import AttackError
from auditcli.types import Step, Trait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from auditcli.types import Budget, Target

_SHARES = (0.2, 0.7)
"""Of the seconds: gone when every label has been asked for once, and when the undecided ones have been again."""


@attack(paper="arXiv:2402.11995", requires=frozenset({Trait.BINARISED}), on_request=True)
def sat(
    target: Target,
    budget: Budget,
    rng: torch.Generator,
    *,
    each: int = 5,
    apart: float = 0.1,
) -> Iterator[Step]:
    """Solves for inputs with each label of a binarised network, or proves that there are none.

    The network is encoded as clauses over its pixels, and a solver looks for pixels under which the label's logit is
    the largest. A label without any is left out: the solver has then proven that no binary image gets it.

    Args:
        target: A binarised network whose inputs are signs of pixels.
        budget: At most `candidates` images a restart, as many of each label that has solutions; the seconds are kept
            here too, since a solver may take longer than all of them for one step.
        rng: Of the pixels that the solver tries first.
        each: Solutions of each label in a restart.
        apart: Share of the pixels in which solutions of one label differ at least, over all restarts.

    Yields:
        One more solution of each label a step, black and white, (r, n, c, h, w); where one is not found yet, an earlier
        one of its label stands in. The objective is the share of the wanted solutions that was not found, in [0, 1];
        a label that is undecided counts as one.

    Raises:
        AttackError: python-sat is not installed, the network is too large to encode, or it gives a solution another
            label on this device.

    Reference:
        Suhail, Chakraborty and Sethi 2024, arXiv:2402.11995, inversion O(Y = y). We differ: totalizers with batch norm
        in their thresholds, MiniSat with random phases and forbidden neighbourhoods in place of the sampler CMSGen.
    """
    if target.binarised is None:
        raise TypeError("a target with Trait.BINARISED has no binarised stack")
    deadline = time.monotonic() + budget.seconds
    encoding = encode(target.binarised, deadline)
    distance = max(1, round(apart * target.binarised.weights[0].shape[1]))
    with ExitStack() as solvers:
        questions = []
        for label in range(encoding.labels):
            if time.monotonic() > deadline:
                break
            search = solvers.enter_context(Search(encoding.labelled(label), distance))
            questions.append(_Question(target, label, search, rng))
        for share in _SHARES:
            _decide(questions, deadline - (1 - share) * budget.seconds)
        answered = [question for question in questions if question.found]
        undecided = encoding.labels - sum(question.search.state is not State.OPEN for question in questions)
        n = min(budget.candidates, each * len(answered))
        for number in range(1, n + 1, max(1, len(answered))):
            for question in answered:
                question.ask(deadline, (1 + number // len(answered)) * budget.restarts)
            yield _step(answered, budget.restarts, n, undecided)


@dataclass(frozen=True, slots=True)
class _Question:
    """Which inputs have a label; what was found grows."""

    target: Target
    label: int
    search: Search
    rng: torch.Generator
    found: list[Tensor] = field(default_factory=list)
    """Images (c, h, w) of zeros and ones."""

    def ask(self, deadline: float, count: int = 1) -> None:
        """Find solutions until there are `count`, or no more, or the time is over; run the network on each."""
        shape = self.target.profile.input_shape
        while len(self.found) < count:
            guess = torch.rand(shape, generator=self.rng) < 0.5
            pixels = self.search.next(guess.flatten().tolist(), deadline)
            if pixels is None:
                return
            image = torch.tensor(pixels).view(shape).float()
            if self._given(image) != self.label:
                raise AttackError(
                    f"sat found an image that solves label {self.label}, and the network gives it another",
                    hint="--device cpu, whose float32 is that of the encoding",
                )
            self.found.append(image)

    def _given(self, image: Tensor) -> int:
        device = self.target.device
        logits = self.target(image[None].to(device))[0]
        return int(logits.argmax()) if len(logits) > 1 else int(logits[0] > 0)


def _decide(questions: list[_Question], until: float) -> None:
    """Ask for each undecided label, with an equal part of the time that is left for each."""
    undecided = [question for question in questions if question.search.state is State.OPEN]
    for index, question in enumerate(undecided):
        now = time.monotonic()
        question.ask(now + (until - now) / (len(undecided) - index))


def _step(answered: list[_Question], restarts: int, n: int, undecided: int) -> Step:
    """The candidates of all restarts: each takes every so many-th solution of a label, in the order they were found."""
    images, objective = [], []
    for restart in range(restarts):
        missing = undecided
        for place in range(n):
            question, number = answered[place % len(answered)], place // len(answered)
            own = question.found[restart::restarts]
            missing += number >= len(own)
            solutions = own or question.found
            images.append(solutions[number % len(solutions)])
        objective.append(missing / (n + undecided))
    device = answered[0].target.device
    candidates = torch.stack(images).unflatten(0, (restarts, n)).to(device)
    return Step(candidates, torch.tensor(objective))
