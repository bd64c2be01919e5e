"""The benchmark of where attacks begin, in small: a run is kept, and what is drawn is what was kept."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import bilevel  # noqa: E402
import bilevel_figures  # noqa: E402
import bilevel_victims  # noqa: E402

from auditcli.attacks import all_attacks  # noqa: E402


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return bilevel_victims.subject("mlp-leaky", tmp_path_factory.mktemp("victims"))


@pytest.fixture(scope="module")
def cases(subject, tmp_path_factory):
    cache = tmp_path_factory.mktemp("runs")
    few = bilevel_victims._part(subject.controls, torch.arange(240) % 12 == 0)
    subject = replace(subject, controls=few)
    attacks = [attack for attack in all_attacks() if attack.name in bilevel.ATTACKS]
    found = [bilevel.case("mlp-leaky", subject, one, cache, steps=2, seed=0) for one in attacks]
    again = bilevel.case("mlp-leaky", subject, attacks[0], cache, steps=2, seed=0)
    assert again.check == found[0].check
    return found


def test_what_an_attack_begins_from_scores_nothing(subject):
    assert len(subject.members) == 60
    assert (len(subject.held_out), len(subject.controls)) == (160, 240)
    assert not set(subject.held_out.hashes) & set(subject.controls.hashes)
    for sample in (subject.held_out, subject.controls):
        assert len(set(torch.bincount(sample.labels).tolist())) == 1


def test_every_start_has_its_row_and_its_sentence(cases):
    text = "\n".join(bilevel._tables(cases))
    for case in cases:
        assert len(case.check.arrivals) == 2 + len(bilevel.NOISE)
        assert f"**mlp-leaky, `{case.check.attack}`**" in text
        assert all(f"| {arrival.start} |" in text for arrival in case.check.arrivals)
        assert all(sentence in text for sentence in case.check.sentences)


def test_the_members_solve_the_condition_and_others_do_not(subject):
    _, _, row = bilevel._conditions({"mlp-leaky": subject})
    values = [float(cell) for cell in row.split("|")[3:7]]
    assert values[0] < 0.2
    assert min(values[1:]) > 0.8


def test_the_pictures_are_drawn(cases, subject, tmp_path):
    bilevel_figures.draw([(case.network, case.check) for case in cases], tmp_path / "figure.svg")
    first = (tmp_path / "figure.svg").read_bytes()
    assert b"mlp-leaky" in first
    bilevel_figures.draw([(case.network, case.check) for case in cases], tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_bytes() == first
    bilevel_figures.sheet(cases[0].runs, subject.members.images, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000
