"""Attacks that run only where they are named, and which attacks the evidence may be made of."""

import sys

import pytest
import torch
from tiny_targets import dense_stack, dense_target

from auditcli.attacks import all_attacks, attack
from auditcli.auditing import _chosen, audit
from auditcli.resources import resource
from auditcli.types import Step


@attack(paper="none", on_request=True)
def costly(target, budget, rng):
    """Takes long and shows little."""
    yield Step(torch.zeros(budget.restarts, 1, *target.profile.input_shape), torch.zeros(budget.restarts))


@pytest.fixture
def with_costly(monkeypatch):
    monkeypatch.setattr(sys.modules["auditcli.auditing"], "all_attacks", lambda: (*all_attacks(), costly))


@pytest.mark.usefixtures("with_costly")
def test_it_runs_only_where_it_is_named():
    assert "costly" not in {found.name for found in _chosen(())}
    assert {found.name for found in _chosen(["costly"])} == {"costly", "noise"}


def test_a_report_names_those_that_could_have_been_asked_for():
    fixture = resource("fixtures", "mlp-untrained") / "model.safetensors"
    report = audit(fixture, budget=1.0, profile="quick")
    idle = {attack.name: attack.reason for attack in report.attacks if attack.status == "skipped"}
    assert {"bilevel", "inversion"} <= idle.keys()
    assert not {"sat", "transfer"} & idle.keys()  # they do not apply to it
    assert all("--attack" in idle[name] for name in ("bilevel", "inversion"))
    named = audit(fixture, budget=1.0, profile="quick", attacks=("noise",))
    assert [attack.name for attack in named.attacks] == ["noise"]


def test_what_is_weighed_as_evidence_names_the_class_of_each_candidate():
    stack = dense_stack(64, 24, 3)
    weighed = [found for found in all_attacks() if found.weighable]
    assert "kkt" in {found.name for found in weighed}
    assert all(not found.missing(dense_target(stack).profile) for found in weighed)
