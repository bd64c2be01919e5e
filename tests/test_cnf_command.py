"""`privaudit cnf`: a formula on disk, or one line that says why not."""

import pytest
import torch
from safetensors.torch import save_file

from auditcli.__main__ import main


@pytest.fixture
def binarised(tmp_path):
    rng = torch.Generator().manual_seed(0)
    tensors = {
        f"fc{index}.weight": torch.where(torch.rand(out, into, generator=rng) < 0.5, 1.0, -1.0)
        for index, (into, out) in enumerate([(9, 5), (5, 3)], start=1)
    }
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_it_writes_the_formula_of_a_label(binarised, tmp_path, capsys):
    from pysat.formula import CNF

    path = tmp_path / "label.cnf"
    assert main(["cnf", str(binarised), "--label", "2", "-o", str(path)]) == 0
    read = CNF(from_file=str(path))
    assert f"{read.nv:,} variables, {len(read.clauses):,} clauses" in capsys.readouterr().out
    assert any("9-5-3, sign gives label 2" in comment for comment in read.comments)


@pytest.mark.parametrize(
    ("words", "part"),
    [(["--label", "3"], "no label 3"), (["--label", "0", "--assume", "activation=relu"], "no weights")],
)
def test_what_it_cannot_write(binarised, tmp_path, capsys, words, part):
    assert main(["cnf", str(binarised), *words, "-o", str(tmp_path / "label.cnf")]) == 2
    said = capsys.readouterr().err
    assert part in said
    assert "hint:" in said
    assert not (tmp_path / "label.cnf").exists()
