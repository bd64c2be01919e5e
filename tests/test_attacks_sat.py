"""`sat`: what it finds has its label, what it leaves out has none, and it keeps its time."""

import builtins
import re
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_targets import binarised_target, dense_stack, dense_target, generator

from auditcli.attacks import all_attacks, run
from auditcli.outcomes import attempt
from auditcli.types import Budget, StopReason

pytest.importorskip("pysat.solvers")
SAT = next(attack for attack in all_attacks() if attack.name == "sat")


def labels(target, candidates):
    logits = target(candidates.flatten(0, 1))
    return logits.argmax(dim=1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long()


@pytest.mark.parametrize("widths", [(20, 4), (12, 12, 3), (9, 1)], ids=str)
def test_every_candidate_has_the_label_of_its_place_and_all_differ(widths):
    target = binarised_target(*widths)
    found = run(SAT, target, Budget(100, 60, 12, 2), seed=0)
    classes = max(2, widths[-1])
    n = found.candidates.shape[1]
    assert n == min(12, 5 * classes)
    assert set(found.candidates.unique().tolist()) == {0.0, 1.0}
    wanted = torch.arange(n).remainder(classes).repeat(2)
    assert torch.equal(labels(target, found.candidates), wanted)
    flat = found.candidates.flatten(0, 1).flatten(1) * 2 - 1
    apart = (64 - flat @ flat.T) / 2
    alike = (wanted[:, None] == wanted[None]) & ~torch.eye(len(flat), dtype=torch.bool)
    assert apart[alike].min() >= 6
    assert apart[alike].mean() > 15
    assert found.objective == (0.0, 0.0)
    assert found.stopped_by is StopReason.EXHAUSTED


def test_a_label_that_no_input_has_leaves_fewer_candidates():
    target = binarised_target(12, 4, offsets=[0.0, 0.0, -99.0, 0.0])
    found = run(SAT, target, Budget(100, 60, 40, 1), seed=0)
    assert found.candidates.shape[:2] == (1, 15)
    assert set(labels(target, found.candidates).tolist()) == {0, 1, 3}
    assert found.objective == (0.0,)


def test_where_solutions_run_out_earlier_ones_stand_in_and_the_objective_says_so():
    target = binarised_target(3, 2, side=2)
    found = run(SAT.with_settings(apart=0.5), target, Budget(100, 60, 40, 2), seed=0)
    assert found.candidates.shape[:2] == (2, 10)
    assert 0 < min(found.objective) < 1
    assert torch.equal(labels(target, found.candidates), torch.tensor([0, 1] * 10))


def test_the_objective_falls_by_the_share_that_was_found():
    steps = list(SAT.start(binarised_target(20, 4), Budget(100, 60, 20, 2), generator()))
    assert [step.objective.tolist() for step in steps] == [pytest.approx([1 - k / 5] * 2) for k in range(1, 6)]


def test_a_second_is_kept_on_a_network_that_takes_longer():
    target = binarised_target(100, 60, 10, side=14)
    began = time.monotonic()
    outcome = attempt(SAT, target, Budget(800, 1.0, 96, 2), None, None, seed=0, watch=None)
    assert time.monotonic() - began < 60  # that of a machine under load; the solver alone would take hours
    assert outcome.status == "failed" or outcome.found.candidates.isfinite().all()
    assert outcome.status != "failed" or "sat" in outcome.reason


def test_without_python_sat_it_fails_and_says_how_to_get_it(monkeypatch):
    def without(name, *rest, found=builtins.__import__, **named):
        if name.split(".")[0] == "pysat":
            raise ImportError(name)
        return found(name, *rest, **named)

    for name in [name for name in sys.modules if name.split(".")[0] == "pysat"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    outcome = attempt(SAT, binarised_target(12, 3), Budget(10, 60, 5, 2), None, None, seed=0, watch=None)
    assert outcome.status == "failed"
    assert "pip install 'privaudit[bnn]'" in outcome.reason


def test_a_network_that_says_otherwise_than_its_integers_is_no_result():
    target = binarised_target(12, 3)
    with torch.no_grad():
        target.module.net[-1].offset.copy_(torch.tensor([0.0, 0.0, 99.0]))
    outcome = attempt(SAT, target, Budget(10, 60, 5, 2), None, None, seed=0, watch=None)
    assert outcome.status == "failed"
    assert "another" in outcome.reason


def test_it_runs_on_request_and_on_nothing_but_signs():
    assert SAT.on_request
    target = dense_target(dense_stack(64, 24, 3))
    outcome = attempt(SAT, target, Budget(10, 60, 5, 2), None, None, seed=0, watch=None)
    assert outcome.status == "skipped"
    assert "binarised" in outcome.reason


def test_the_settings_of_its_page_are_its_own():
    page = (Path(__file__).resolve().parents[1] / "docs" / "attacks" / "sat.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", page, re.MULTILINE))
    assert stated == {name: str(value) for name, value in SAT.settings.items()}
