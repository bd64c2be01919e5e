"""Binarised networks as clauses, against brute force over all inputs."""

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditcli.cnf import Search, State, dimacs, encode
from auditcli.cnf._clauses import Clauses
from auditcli.types import BinarisedStack

pysat = pytest.importorskip("pysat.solvers")
NINE = torch.tensor(list(product([-1, 1], repeat=9)))
NEVER = float("inf")


def stack_of(*widths, seed=0, scales="one", offsets=True):
    """A random integer network."""
    rng = torch.Generator().manual_seed(seed)
    weights = [
        torch.where(torch.rand(out, into, generator=rng) < 0.5, 1, -1).to(torch.int8) for into, out in pairwise(widths)
    ]
    thresholds = [torch.randint(-3, 5, (out,), generator=rng) for out in widths[1:-1]]
    outputs = widths[-1]
    factor = torch.rand(outputs, generator=rng) if scales == "own" else torch.ones(outputs)
    shift = torch.randn(outputs, generator=rng) if offsets else torch.zeros(outputs)
    return BinarisedStack(tuple(weights), tuple(thresholds), factor, shift)


def labels_of(stack, inputs):
    values = inputs
    for weights, thresholds in zip(stack.weights[:-1], stack.thresholds, strict=True):
        values = torch.where(values @ weights.long().T >= thresholds, 1, -1)
    logits = (values @ stack.weights[-1].long().T).float() * stack.scales + stack.offsets
    return logits.argmax(dim=1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long()


def solutions(clauses, variables):
    """All assignments of the first variables under which the clauses have a solution."""
    found = set()
    with pysat.Solver("glucose4", bootstrap_with=clauses) as solver:
        while solver.solve():
            pixels = solver.get_model()[:variables]
            found.add(tuple(1 if literal > 0 else -1 for literal in pixels))
            solver.add_clause([-literal for literal in pixels])
    return found


def extended(inputs, clauses, literal):
    """Whether a literal holds for each input, which decides every other variable."""
    with pysat.Solver("glucose4", bootstrap_with=clauses.found) as solver:
        for values in inputs:
            given = [index if value > 0 else -index for index, value in enumerate(values, start=1)]
            one, other = solver.solve([*given, literal]), solver.solve([*given, -literal])
            assert one is not other
            yield one


# ---- a neuron -------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(signs=st.lists(st.sampled_from([-1, 1]), min_size=1, max_size=7), count=st.integers(-1, 9))
def test_a_literal_says_whether_enough_others_hold_and_nothing_else_is_asked(signs, count):
    literals = [sign * index for index, sign in enumerate(signs, start=1)]
    clauses = Clauses(len(signs))
    enough = clauses.at_least(literals, count)
    inputs = list(product([-1, 1], repeat=len(signs)))
    agreeing = [sum(sign == value for sign, value in zip(signs, values, strict=True)) for values in inputs]
    assert list(extended(inputs, clauses, enough)) == [number >= count for number in agreeing]


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 6), data=st.data())
def test_every_count_of_a_range(n, data):
    low = data.draw(st.integers(1, n))
    high = data.draw(st.integers(low, n))
    clauses = Clauses(n)
    counted = clauses.counted(list(range(1, n + 1)), low, high)
    assert list(counted) == list(range(low, high + 1))
    inputs = list(product([-1, 1], repeat=n))
    for count, literal in counted.items():
        assert list(extended(inputs, clauses, literal)) == [values.count(1) >= count for values in inputs]


# ---- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(9, 4, 3), (9, 5, 4, 3), (9, 4, 1), (9, 1, 2)], ids=str)
@pytest.mark.parametrize(("scales", "offsets"), [("one", False), ("one", True), ("own", True)])
def test_the_solutions_are_the_inputs_with_the_label(widths, scales, offsets):
    for seed in range(3):
        stack = stack_of(*widths, seed=seed, scales=scales, offsets=offsets)
        encoding, labels = encode(stack), labels_of(stack, NINE)
        assert encoding.labels == max(2, widths[-1])
        for label in range(encoding.labels):
            wanted = {tuple(values.tolist()) for values in NINE[labels == label]}
            assert solutions(encoding.labelled(label).clauses, 9) == wanted


def test_of_equal_logits_the_first_wins():
    weights = (torch.ones(1, 2, dtype=torch.int8), torch.ones(3, 1, dtype=torch.int8))
    stack = BinarisedStack(weights, (torch.tensor([0]),), torch.ones(3), torch.zeros(3))
    found = [len(solutions(encode(stack).labelled(label).clauses, 2)) for label in range(3)]
    assert found == [4, 0, 0]


def test_a_label_that_is_not_there():
    with pytest.raises(ValueError, match="labels 0 to 2"):
        encode(stack_of(4, 3, 3)).labelled(3)


def test_a_file_any_solver_reads(tmp_path):
    from pysat.formula import CNF

    stack = stack_of(9, 4, 3, seed=1, scales="own")
    formula = encode(stack).labelled(1)
    path = tmp_path / "label.cnf"
    path.write_text("\n".join(dimacs(formula, (1, 3, 3), ("about",))) + "\n")
    read = CNF(from_file=str(path))
    assert tuple(map(tuple, read.clauses)) == formula.clauses
    assert read.nv == formula.variables
    assert "c about" in read.comments
    assert "c variable 6 = pixel channel 0, row 1, column 2" in read.comments


# ---- the search -----------------------------------------------------------------------------------------------------


def test_solutions_are_as_far_apart_as_was_asked_until_none_is_left():
    stack = stack_of(9, 4, 3, seed=2)
    formula, labels = encode(stack).labelled(0), labels_of(stack, NINE)
    found = []
    with Search(formula, 3) as search:
        while (pixels := search.next([True] * 9, NEVER)) is not None:
            found.append([1 if pixel else -1 for pixel in pixels])
        assert search.state is State.NONE_LEFT
    apart = (9 - torch.tensor(found) @ torch.tensor(found).T) / 2
    assert len(found) > 1
    assert (apart + 9 * torch.eye(len(found)) >= 3).all()
    assert (labels_of(stack, torch.tensor(found)) == 0).all()
    # Nothing was missed: every other input with the label is nearer than that to one that was found.
    left = (9 - NINE[labels == 0] @ torch.tensor(found).T) / 2
    assert (left.amin(dim=1) < 3).all()


def test_a_label_without_an_input_is_proven_to_have_none():
    stack = stack_of(9, 4, 3)
    beaten = BinarisedStack(stack.weights, stack.thresholds, stack.scales, torch.tensor([0.0, 0.0, -99.0]))
    with Search(encode(beaten).labelled(2), 1) as search:
        assert search.next([False] * 9, NEVER) is None
        assert search.state is State.UNSATISFIABLE
        assert not search.goes_on


def test_without_time_nothing_is_said():
    with Search(encode(stack_of(9, 4, 3)).labelled(0), 1) as search:
        assert search.next([False] * 9, 0.0) is None
        assert search.state is State.OPEN
        assert search.goes_on
