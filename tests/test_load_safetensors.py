"""Safetensors files: what is read, against the safetensors library, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from auditcli.errors import LoadError
from auditcli.loading import load, model_sha256, safetensors, save_described
from auditcli.types import Format


def _raw(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def _entry(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_tensors_equal_those_of_the_library(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    saved = {"a.weight": torch.randn(3, 4), "a.bias": torch.randn(3), "steps": torch.tensor(7)}
    save_file(saved, path)
    checkpoint = load(path)
    assert checkpoint.format is Format.SAFETENSORS
    assert checkpoint.bytes == path.stat().st_size
    assert checkpoint.described_by == ""
    assert set(checkpoint.tensors) == set(saved)
    for name, tensor in load_file(path).items():
        assert torch.equal(checkpoint.tensors[name], tensor)
        assert checkpoint.tensors[name].dtype == tensor.dtype


@pytest.mark.parametrize("chunk", [1, 5, 12, 100])
@pytest.mark.parametrize(
    "dtype",
    [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu],
)
def test_floats_become_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, chunk: int) -> None:
    monkeypatch.setattr(safetensors, "_CHUNK", chunk)
    path = tmp_path / "model.safetensors"
    saved = {"a": torch.randn(3, 4).to(dtype), "b": torch.rand(2).to(dtype), "c": torch.rand(()).to(dtype)}
    save_file(saved, path)
    read = load(path).tensors
    for name, tensor in saved.items():
        assert read[name].dtype == torch.float32
        assert torch.equal(read[name], tensor.float())


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.ones(2, 2)}, path)
    assert load(path).sha256 == model_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580])
def test_a_header_length_that_looks_like_a_pickle_is_a_length(tmp_path: Path, length: int) -> None:
    header = {"__metadata__": {"pad": ""}, "w": _entry([2], 0, 8)}
    header["__metadata__"] = {"pad": "x" * (length - len(json.dumps(header)))}
    path = _raw(tmp_path / "model.safetensors", header, b"\0" * 8)
    assert path.read_bytes()[:1] == b"\x80"
    assert torch.equal(load(path).tensors["w"], torch.zeros(2))


def test_content_wins_over_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    save_file({"weight": torch.ones(2, 2)}, path)
    assert load(path).format is Format.SAFETENSORS


@pytest.mark.parametrize(
    ("header", "data", "length", "said"),
    [
        ({"w": _entry([4], 0, 16)}, b"\0" * 16, 10**13, "claims 10000000000000 bytes"),
        ({"w": _entry([10**12], 0, 16)}, b"\0" * 16, None, "needs 4000000000000 bytes and has 16"),
        ({"w": _entry([4], 0, 16)}, b"\0" * 8, None, "end at byte 86, the file at byte 78"),
        ({"w": _entry([4], 0, 16)}, b"\0" * 20, None, "end at byte 86, the file at byte 90"),
        ({"v": _entry([4], 0, 16), "w": _entry([4], 8, 24)}, b"\0" * 24, None, "overlaps"),
        ({"v": _entry([4], 0, 16), "w": _entry([4], 20, 36)}, b"\0" * 36, None, "leaves a hole"),
        ({"w": _entry([4], 0, 16, "F99")}, b"\0" * 16, None, "unknown type F99"),
        ({"w": _entry([-4], 0, 16)}, b"\0" * 16, None, "no counts"),
        ({"w": _entry([True], 0, 4)}, b"\0" * 4, None, "no counts"),
        ({"w": {"dtype": "F32"}}, b"", None, "does not have dtype"),
        ({"w": 3}, b"", None, "does not have dtype"),
        ({"__metadata__": {"a": 1}, "w": _entry([1], 0, 4)}, b"\0" * 4, None, "no map of strings"),
        (b"{not json", b"", None, "not valid JSON"),
        (b'{"w": NaN, "v": 1}', b"", None, "no JSON number"),
        (b'{"w": {}, "w": {}}', b"", None, "stands twice"),
        (b"[1, 2, 3, 4]", b"", None, "an object was expected"),
        (b"[" * 100_000, b"", None, "not valid JSON"),
        ({"w": _entry([1] * 100, 0, 4)}, b"\0" * 4, None, "has 100 dimensions"),
        ({"w": _entry([2**63, 2**63], 0, 4)}, b"\0" * 4, None, "no counts"),
        ({"w": _entry([2**62, 2**62], 0, 4)}, b"\0" * 4, None, "needs 85070591730234615865843651857942052864 bytes"),
        ({"w": _entry([2], 0, 1, "F4")}, b"\0", None, "unknown type F4"),
        (b'{"w": ' + b"9" * 5000 + b"}", b"", None, "not valid JSON"),
        ({"\x1b[31m": _entry([1], 0, 3)}, b"\0" * 3, None, r"tensor \?\[31m needs 4 bytes"),
        ({"__metadata__": {}}, b"", None, "holds no tensors"),
    ],
)
def test_a_lying_header_is_an_error(tmp_path: Path, header: object, data: bytes, length: int | None, said: str) -> None:
    with pytest.raises(LoadError, match=said) as caught:
        load(_raw(tmp_path / "model.safetensors", header, data, length))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


def test_a_header_beyond_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _raw(tmp_path / "model.safetensors", {"w": _entry([2], 0, 8)}, b"\0" * 8)
    monkeypatch.setattr(safetensors, "MAX_JSON_BYTES", 20)
    with pytest.raises(LoadError, match="at most 20 are read"):
        load(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 300), flip=st.integers(0, 255), at=st.integers(0, 90))
def test_damage_is_an_error_or_a_finite_model(tmp_path: Path, cut: int, flip: int, at: int) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.randn(5, 4), "b": torch.randn(5)}, path)
    content = bytearray(path.read_bytes())
    content[at] = flip
    path.write_bytes(bytes(content[: max(1, len(content) - cut)]))
    try:
        tensors = load(path).tensors
    except LoadError:
        return
    assert all(tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point())


@pytest.mark.parametrize("at", [0, 3, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2])
def test_every_piece_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, at: int) -> None:
    monkeypatch.setattr(safetensors, "_CHUNK", 3)
    weight = torch.arange(7.0)
    weight[at] = float("inf")
    save_file({"w": weight.to(dtype), "none": torch.zeros(0, 4).to(dtype)}, tmp_path / "model.safetensors")
    with pytest.raises(LoadError, match="w holds infinite"):
        load(tmp_path / "model.safetensors")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is counted where /proc is")
def test_float32_weights_stay_in_the_file(tmp_path: Path) -> None:
    def own() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

    path = tmp_path / "model.safetensors"
    save_file({"w": torch.ones(2**12, 2**12)}, path)
    load(path)
    before = own()
    tensors = load(path).tensors
    assert own() - before < path.stat().st_size / 4
    tensors["w"][0] = 7
    assert load(path).tensors["w"][0, 0] == 1


@pytest.mark.parametrize(("value", "said"), [(float("nan"), "NaN"), (float("-inf"), "infinite")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, value: float, said: str) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"fine": torch.ones(2), "fc1.weight": torch.tensor([1.0, value])}, path)
    with pytest.raises(LoadError, match=rf"fc1\.weight holds {said}"):
        load(path)


def test_a_description_travels_with_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    said = {"family": "mlp", "activation": "gelu", "input_shape": [1, 2, 2], "mean": [0.5], "std": [0.25]}
    save_described(path, {"fc.weight": torch.randn(3, 4).T.contiguous().T}, said)
    checkpoint = load(path)
    assert checkpoint.described_by == "__metadata__"
    assert checkpoint.description == {
        "family": "mlp",
        "activation": "gelu",
        "input_shape": (1, 2, 2),
        "mean": (0.5,),
        "std": (0.25,),
    }


def test_a_sidecar_describes_the_weights_of_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"fc.weight": torch.ones(3, 4)}, path)
    sidecar = tmp_path / "model.safetensors.privaudit.json"
    sidecar.write_text(json.dumps({"family": "mlp", "sha256": model_sha256(path)}))
    assert load(path).description == {"family": "mlp"}
    assert load(path).described_by == sidecar.name
    sidecar.write_text(json.dumps({"family": "mlp", "sha256": "0" * 64}))
    with pytest.raises(LoadError, match="describes other weights"):
        load(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ('{"famly": "mlp"}', "famly"),
        ('{"family": "rnn"}', "family"),
        ('{"mean": [0.5]}', "mean and std"),
        ('{"mean": [0.5], "std": [0.0]}', "std"),
        ('{"mean": [0.5, 0.5], "std": [1], "input_shape": [3, 4, 4]}', "2 values"),
        ('{"classes": 3, "labels": ["a"]}', "1 labels for 3 classes"),
        ('{"input_shape": [1, 100000000000, 1]}', "input_shape"),
        ('"mlp"', "an object was expected"),
    ],
)
def test_a_malformed_description_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"fc.weight": torch.ones(3, 4)}, path, metadata={"privaudit.arch": text})
    with pytest.raises(LoadError, match=said):
        load(path)
