"""What is never opened, and the way out that the message names."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from auditcli.errors import LoadError
from auditcli.loading import _files, load, model_sha256


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
        ("model", b"\x08", "unknown format"),
        ("model.bin", b"\x08", "suffix .bin"),
        ("model.keras", b"PK\x03\x04 config.json model.weights.h5", "Keras model"),
        ("model.H5", b"anything", "Keras model"),
        ("model.bin", b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
        ("frozen.pb", b"\x0a\x10", "TensorFlow graph"),
        ("model.mlmodel", b"\x08\x05\x12", "Core ML"),
        ("model.bin", b"GGUF\3\0\0\0", "GGUF"),
        ("model.engine", b"ptrt", "TensorRT"),
        ("model.msgpack", b"\x81", "Flax"),
        ("model.npy", b"\x93NUMPY\1\0", "NumPy array"),
        ("model.safetensors", b"\n<!DOCTYPE html><html>", "web page"),
        ("model.tar", b"a" * 257 + b"ustar", "tar archive"),
        ("model.zst", b"\x28\xb5\x2f\xfd", "zstd"),
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


@pytest.mark.parametrize(
    ("folder", "file", "said", "hint"),
    [
        ("model", "saved_model.pb", "SavedModel", "--saved-model model --output model.onnx"),
        ("model.mlpackage", "Manifest.json", "Core ML", "torch.onnx.export"),
    ],
)
def test_folders_of_other_formats_are_named(tmp_path: Path, folder: str, file: str, said: str, hint: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / file).write_bytes(b"x")
    with pytest.raises(LoadError, match=said) as caught:
        load(tmp_path / folder)
    assert hint in caught.value.hint


def test_a_folder_of_countless_files_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(4):
        (tmp_path / f"{index}.txt").touch()
    assert _files.names(tmp_path) == ["0.txt", "1.txt", "2.txt", "3.txt"]
    monkeypatch.setattr(_files, "MAX_ENTRIES", 3)
    with pytest.raises(LoadError, match="more than 3 files"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["$(touch trace).pt", "a'; touch trace; '.pt", "-rf.pt", "two words.pt", "`id`.h5"])
def test_no_command_of_a_hint_runs_a_file_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x02" if name.endswith("pt") else b"x")
    with pytest.raises(LoadError) as caught:
        load(tmp_path / name)
    assert Path(name).stem not in caught.value.hint
    assert "FILE" in caught.value.hint


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin", "/proc/self/status", "/proc/kmsg"])
def test_devices_and_files_that_the_system_makes_up_are_not_opened(path: str) -> None:
    if not Path(path).exists():
        pytest.skip(f"there is no {path}")
    with pytest.raises(LoadError, match=r"no ordinary file|is empty"):
        load(Path(path))


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx", "model.safetensors.privaudit.json", "config.json"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    described = name.endswith("privaudit.json")
    if described:
        save_file({"fc.weight": torch.ones(3, 4)}, tmp_path / "model.safetensors")
        assert load(tmp_path / "model.safetensors").described_by == ""
        return
    with pytest.raises(LoadError, match=r"no ordinary file|without config\.json"):
        load(tmp_path if name == "config.json" else tmp_path / name)


def test_links_do_not_lead_out_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.json").write_text("{}")
    (folder / "out.json").symlink_to(tmp_path / "secret.json")
    (folder / "circle.json").symlink_to(folder / "circle.json")
    (folder / "fine.json").write_text("{}")
    (folder / "within.json").symlink_to(folder / "fine.json")
    assert _files.inside(folder, "within.json").read_text() == "{}"
    for name in ("out.json", "circle.json", "../secret.json", str(tmp_path / "secret.json"), "a\0b", "", "n" * 5000):
        with pytest.raises((LoadError, OSError)) as caught:
            _files.inside(folder, name)
        assert str(caught.value).isprintable()


def test_a_snapshot_of_the_hub_cache_links_to_its_blobs_alone(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0123", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "abc").write_text("{}")
    (tmp_path / "secret").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    (snapshot / "other.json").symlink_to("../../../secret")
    assert _files.inside(snapshot, "config.json").read_text() == "{}"
    with pytest.raises(LoadError, match="leads out"):
        _files.inside(snapshot, "other.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("[" * 10_000 + "]" * 10_000, "recursion"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ('{"a": ' + "1" * 5000 + "}", "digits"),
        ("{" + " " * 100 + "}", "at most 100 are read"),
        ('{"\\u001b[31m": 1, "\\u001b[31m": 2}', "stands twice"),
    ],
)
def test_json_is_read_within_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    if "at most" in said:
        monkeypatch.setattr(_files, "MAX_JSON_BYTES", 100)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(LoadError, match=said) as caught:
        _files.read_json(tmp_path / "config.json")
    assert caught.value.message.isprintable()


def test_control_characters_of_a_name_are_not_printed(tmp_path: Path) -> None:
    path = tmp_path / "model\x1b[31m.xyz"
    path.write_bytes(b"hello world, this is text")
    with pytest.raises(LoadError) as caught:
        load(path)
    assert "\x1b" not in caught.value.message + caught.value.hint
