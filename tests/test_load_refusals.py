"""What is never opened, and the way out that the message names."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from auditcli.errors import LoadError
from auditcli.loading import load, model_sha256


class Bomb:
    """Leaves a trace when unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".pkl", ".ckpt", ".safetensors", ".onnx", ""])
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_is_refused_and_never_opened(tmp_path: Path, suffix: str, protocol: int) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Bomb(trace), protocol=protocol))
    with pytest.raises(LoadError, match="pickle") as caught:
        load(path)
    assert "save_file" in caught.value.hint
    assert not trace.exists()


def test_the_hint_converts_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = nn.Linear(4, 3)
    torch.save(model.state_dict(), "model.pt")
    with pytest.raises(LoadError, match="zip archive around a Python pickle") as caught:
        load(Path("model.pt"))
    command = caught.value.hint.partition('"')[2].rpartition('"')[0]
    exec(command, {})
    assert torch.equal(load(Path("model.safetensors")).tensors["weight"], model.weight)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_and_exported_programs_are_refused(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    torch.jit.save(torch.jit.trace(model, torch.zeros(1, 4)), tmp_path / "model.pt")
    with pytest.raises(LoadError, match="TorchScript"):
        load(tmp_path / "model.pt")
    torch.export.save(torch.export.export(model, (torch.zeros(1, 4),)), tmp_path / "model.pt2")
    with pytest.raises(LoadError, match=r"torch\.export"):
        load(tmp_path / "model.pt2")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.safetensors", b"", "is empty"),
        ("model.xyz", b"hello world, this is text", "unknown format"),
        ("model.h5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        ("model.pth", b"old and unknown", "suffix .pth"),
        ("model.pt", b"PK\x03\x04 and nothing more", "zip archive"),
    ],
)
def test_other_files_are_refused_with_a_reason(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (load, model_sha256):
        with pytest.raises(LoadError, match=said) as caught:
            read(tmp_path / name)
        assert caught.value.hint


def test_numpy_archives_are_named_for_what_they_are(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.npz", "w") as archive:
        archive.writestr("images.npy", b"")
    with pytest.raises(LoadError, match="NumPy archive"):
        load(tmp_path / "model.npz")


def test_missing_files_and_folders_without_a_model_are_errors(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="no such file"):
        load(tmp_path / "model.safetensors")
    with pytest.raises(LoadError, match=r"without config\.json"):
        load(tmp_path)
    (tmp_path / "net.onnx").touch()
    with pytest.raises(LoadError) as caught:
        load(tmp_path)
    assert caught.value.hint == f"privaudit scan {tmp_path.name}/net.onnx"


def test_control_characters_of_a_name_are_not_printed(tmp_path: Path) -> None:
    path = tmp_path / "model\x1b[31m.xyz"
    path.write_bytes(b"hello world, this is text")
    with pytest.raises(LoadError) as caught:
        load(path)
    assert "\x1b" not in caught.value.message + caught.value.hint
