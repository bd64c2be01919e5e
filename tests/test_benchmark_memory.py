"""The benchmark of memory, in small: what it writes is read, and reading it leaves the weights in the file."""

import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import memory  # noqa: E402

from auditcli.loading import load  # noqa: E402


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("family", ["mlp", "vit"])
def test_what_is_written_is_a_model_of_that_size(tmp_path, family, dtype):
    layout = memory.shapes(family, 1_000_000)
    path = tmp_path / "model.safetensors"
    count = memory.write(path, layout, dtype)
    tensors = load(path).tensors
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == layout
    assert sum(tensor.numel() for tensor in tensors.values()) == count
    assert all(0 < tensor.abs().max() <= 0.0101 for tensor in tensors.values())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is counted where /proc is")
def test_the_meter_sees_memory_that_is_gone_again():
    before, meter = memory.resident()["RssAnon"], memory.Meter()
    with meter.running():
        block = torch.ones(2**25)
        assert block.sum() > 0
        del block
    assert meter.own - before > 100 * 2**20


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is counted where /proc is")
@pytest.mark.parametrize("dtype", ["F32", "F16"])
def test_loading_takes_no_more_than_the_model_needs(tmp_path, dtype):
    path = tmp_path / "model.safetensors"
    needs = 4 * memory.write(path, memory.shapes("mlp", 30_000_000), dtype)
    load(path)
    assert memory.measure("load", path)["own"] < (1.1 if dtype == "F16" else 0.1) * needs + 32 * 2**20
