"""Other encodings of the same network, those of python-sat, to compare with: `ENCODINGS`, `first_solution`.

python-sat's constraints only demand; here a neuron decides. So each is demanded twice: the literal of the neuron
frees the clauses of "at least" where it is false, and those of "at most one less" where it is true.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch
from pysat.card import CardEnc, EncType

from auditcli.cnf import Encoding, Search, encode
from auditcli.types import BinarisedStack

OURS = "both ways"
ENCODINGS = (
    *((OURS, solver) for solver in ("minisat22", "glucose4", "cadical153", "minisat-gh")),
    *((name, "minisat22") for name in ("seqcounter", "totalizer", "sortnetwrk", "kmtotalizer")),
)
"""Of the hidden neurons, and the solver."""


def first_solution(stack: BinarisedStack, name: str, solver: str, *, seconds: float, seed: int) -> dict[str, Any]:
    """Processor seconds to the first solution of each label, None where there was none in time.

    Args:
        stack: Of one hidden layer.
        name: Of an encoding.
        solver: As python-sat calls it.
        seconds: Of the wall clock, for each label.
        seed: Of the phases.
    """
    encoding = encode(stack) if name == OURS else _demanded(stack, name)
    rng = torch.Generator().manual_seed(seed)
    times: list[float | None] = []
    for label in range(encoding.labels):
        formula = encoding.labelled(label)
        began = time.process_time()
        with Search(formula, 1, solver) as search:
            guess = (torch.rand(formula.pixels, generator=rng) < 0.5).tolist()
            found = search.next(guess, time.monotonic() + seconds)
        times.append(None if found is None else time.process_time() - began)
    return {"variables": encoding.variables, "clauses": len(encoding.clauses), "seconds": times}


def _demanded(stack: BinarisedStack, name: str) -> Encoding:
    weights, thresholds = stack.weights[0], stack.thresholds[0]
    pixels = weights.shape[1]
    kind, top = getattr(EncType, name), pixels + len(weights)
    clauses: list[tuple[int, ...]] = []
    for neuron, (row, threshold) in enumerate(zip(weights.tolist(), thresholds.tolist(), strict=True), pixels + 1):
        literals = [sign * pixel for pixel, sign in enumerate(row, start=1)]
        needed = (pixels + threshold + 1) // 2
        for free, demand, bound in ((-neuron, CardEnc.atleast, needed), (neuron, CardEnc.atmost, needed - 1)):
            if bound < 0 or bound > pixels:
                clauses.append((free,))
                continue
            demanded = demand(literals, bound, top_id=top, encoding=kind)
            top = max(top, demanded.nv)
            clauses += [(*clause, free) for clause in demanded.clauses]
    hidden = tuple(range(pixels + 1, pixels + 1 + len(weights)))
    return replace(encode(stack), variables=top, clauses=tuple(clauses), hidden=hidden)
