"""Which format a path holds, by content first and suffix second; what is refused, why, and the way out: `sniff`."""

from __future__ import annotations

import zipfile
from pathlib import Path

from auditcli.errors import LoadError
from auditcli.loading._files import printable
from auditcli.types import Format

_PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib"})
_MAGIC = (
    (b"\x89HDF", "an HDF5 (Keras) file"),
    (b"GGUF", "a GGUF file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a Git LFS pointer, not the model itself"),
    (b"ustar", "a tar archive"),
)


def sniff(path: Path) -> Format:
    """The format of a file or folder.

    Raises:
        LoadError: no such file, empty, refused (with the way out), or unknown.
    """
    if not path.exists():
        raise LoadError(f"{printable(path)}: no such file or folder", hint="check the path: ls")
    if path.is_dir():
        return _sniff_folder(path)
    if not path.is_file():
        raise LoadError(f"{printable(path)} is no ordinary file; a model file or folder was expected")
    if path.stat().st_size == 0:
        raise LoadError(f"{printable(path)} is empty", hint="download or copy the model again")
    return _sniff_file(path)


def _sniff_file(path: Path) -> Format:
    with path.open("rb") as stream:
        head = stream.read(64)
    if head.startswith(b"PK\x03\x04"):
        raise _refused_archive(path)
    # Before pickles: 0x80 0x03, which opens a pickle, is also how a header of 896 bytes begins.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return Format.SAFETENSORS
    # Protocols 2 to 5 open with 0x80 and their number, a raw torch.save of old with the same.
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        raise _refused_pickle(path, "is a Python pickle")
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise _unknown(path, f"is {what}")
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return Format.SAFETENSORS
    # An ONNX ModelProto opens with its field 1, ir_version: tag 0x08 and a small number.
    if path.suffix == ".onnx" or (head[:1] == b"\x08" and 0 < head[1] < 32):
        return Format.ONNX
    if path.suffix in _PICKLE_SUFFIXES:
        raise _refused_pickle(path, f"has the suffix {path.suffix} of a Python pickle")
    raise _unknown(path, "has an unknown format")


def _sniff_folder(path: Path) -> Format:
    if (path / "config.json").is_file():
        return Format.HUGGINGFACE
    models = sorted(file.name for file in path.iterdir() if file.suffix in {".safetensors", ".onnx"})
    raise LoadError(
        f"{printable(path)} is a folder without config.json; a Hugging Face folder was expected",
        hint=f"privaudit scan {path.name}/{printable(models[0])}" if models else "give the model file itself",
    )


def _refused_archive(path: Path) -> LoadError:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()]
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        names = []
    if any(name.startswith("models/") or name == "archive_format" for name in names) or path.suffix == ".pt2":
        return LoadError(
            f"{printable(path)} is a torch.export archive, and loading one can run code hidden in it; refused",
            hint=f"where you trust it: {_python(path, 'torch.onnx.export(torch.export.load({src}), (), {onnx})')}",
        )
    if any(name.startswith("code/") or name == "constants.pkl" for name in names):
        return LoadError(
            f"{printable(path)} is a TorchScript archive, which holds a program, not only weights; refused",
            hint="where you trust it: "
            + _python(
                path, "from safetensors.torch import save_file as s; s(torch.jit.load({src}).state_dict(), {dst})"
            ),
        )
    if any(name.endswith(".npy") for name in names):
        return _unknown(path, "is a NumPy archive")
    return _refused_pickle(path, "is a zip archive around a Python pickle")


def _refused_pickle(path: Path, what: str) -> LoadError:
    convert = (
        "from safetensors.torch import save_file as s; w = torch.load({src}, weights_only=True); "
        "s({{k: v.clone() for k, v in w.get('state_dict', w).items()}}, {dst})"
    )
    return LoadError(
        f"{printable(path)} {what}: opening it can run any code, so privaudit never does",
        hint=f"convert it once: {_python(path, convert)}",
    )


def _python(path: Path, body: str) -> str:
    names = {"src": path.name, "dst": f"{path.stem}.safetensors", "onnx": f"{path.stem}.onnx"}
    quoted = {key: repr(printable(name)) for key, name in names.items()}
    return f'python -c "import torch; {body.format(**quoted)}"'


def _unknown(path: Path, what: str) -> LoadError:
    return LoadError(
        f"{printable(path)} {what}; a .safetensors file, an .onnx file or a Hugging Face folder was expected",
        hint="export the model with torch.onnx.export, or save its state dict with safetensors.torch.save_file",
    )
