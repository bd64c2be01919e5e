"""Hand-written models saved bare: the right graph, or an honest question, and no wrong graph without a word."""

import random
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import bare  # noqa: E402
from bare_case import Case, saved  # noqa: E402
from bare_models import cases  # noqa: E402

from auditcli.errors import AuditError  # noqa: E402
from auditcli.families import Options, build, identify  # noqa: E402
from auditcli.types import Checkpoint, Format  # noqa: E402

CASES = {case.name: case for case in cases()}
RIGHT = {"right", "right, assumed"}
BEYOND = {"graph", "between_layers", "reflecting"}
"""What no option can state."""


def test_there_are_many_and_each_has_its_name() -> None:
    assert len(CASES) == len(cases()) >= 40


@pytest.mark.parametrize("name", CASES)
def test_no_wrong_graph_is_accepted_without_a_word(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = bare.bare(case, tmp_path)
    assert found.word != "WRONG", found.detail
    told = bare.stated(case, tmp_path)
    plain = not BEYOND & ({*case.truth} | {*case.truth.values()})
    assert (told.word in RIGHT) is plain, told


def test_most_are_right_or_a_question(tmp_path: Path) -> None:
    words = [bare.bare(case, tmp_path).word for case in cases()]
    assert sum(word in RIGHT for word in words) >= 30
    assert sum(word == "refused" for word in words) <= 8


def test_a_wrong_graph_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The same network, were nothing listed: what the benchmark must not miss.
    case = CASES["Sequential, tanh"]
    assert bare.bare(case, tmp_path).word == "wrong, assumption listed"
    silent = Case(case.name, case.make, case.shape, {})
    assert bare.judged(silent, Options(), tmp_path).word == "WRONG"
    assert bare.judged(case, Options(assume={"activation": "gelu"}), tmp_path).word == "WRONG"


def _damaged(state: dict[str, torch.Tensor], rng: random.Random) -> dict[str, torch.Tensor]:
    """One tensor gone, renamed, reshaped, cut or of another type, and one that has no place, or not."""
    name = rng.choice(list(state))
    tensor = state.pop(name)
    names = [name, name.replace("1", "2"), name.replace("weight", "bias"), "pos_embed", "x", "1000000.weight", ""]
    change = rng.randrange(5)
    if change == 1:
        state[rng.choice(names)] = tensor
    elif change == 2:
        state[name] = torch.zeros([rng.choice([0, 1, 3, 16]) for _ in range(rng.randrange(5))])
    elif change == 3 and tensor.ndim:
        state[name] = tensor[: len(tensor) // 2].flatten(rng.randrange(tensor.ndim))
    elif change == 4:
        state[name] = tensor.long()
    return state


def test_damaged_state_dicts_are_refused_or_built() -> None:
    rng, states = random.Random(0), [saved(case)[1] for case in cases()]
    built = 0
    for _ in range(1500):
        state = _damaged(dict(rng.choice(states)), rng)
        if not state:
            continue
        checkpoint = Checkpoint(Path("model.safetensors"), Format.SAFETENSORS, "0" * 64, 1, state)
        said = Options(assume={"template": rng.choice(["mlp", "cnn", "vit"])})
        with suppress(AuditError):
            build(checkpoint, identify(checkpoint, said), said)
            built += 1
    assert built > 20
