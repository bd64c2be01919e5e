"""Formats that are not read, why, and the way out.

Public names: `refused_file`, `refused_archive`, `refused_unknown`, `refused_folder`. What a file is follows from its
first bytes, names in it and its suffix; none is opened. A file name that a shell would read as more than a name does
not stand in the command of a hint: it is the author's text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from auditcli.errors import LoadError
from auditcli.loading._files import names, printable

_PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib", ".pdparams"})
_ENDS = 2**20
"""Bytes at either end of an archive in which the names of its members are looked for."""
_EXPORT = "export the model with torch.onnx.export, or save its state dict with safetensors.torch.save_file"
_WANTED = "a .safetensors file, an .onnx file or a Hugging Face folder was expected"


@dataclass(frozen=True, slots=True)
class _Foreign:
    what: str
    way_out: str = _EXPORT
    """`{src}` and `{stem}` stand for the file's name, with and without suffix."""
    magic: bytes = b""
    offset: int = 0
    suffixes: tuple[str, ...] = ()

    def fits(self, head: bytes, suffix: str) -> bool:
        begins = bool(self.magic) and head[self.offset :].startswith(self.magic)
        return begins or suffix in self.suffixes


def _tensorflow(option: str) -> str:
    return f"where you trust it: python -m tf2onnx.convert {option} {{src}} --output {{stem}}.onnx"


_KERAS = _tensorflow("--keras")
_UNPACK = "unpack it, and give what is inside"
_FOREIGN = (
    _Foreign("is a Git LFS pointer, not the model itself", "git lfs pull", b"version https://git-lfs"),
    _Foreign("is a web page, not the model itself", "download the file behind the page", b"<!doctype html"),
    _Foreign("is a web page, not the model itself", "download the file behind the page", b"<html"),
    _Foreign("is a Keras model (HDF5), which can hold code", _KERAS, b"\x89HDF", suffixes=(".h5", ".hdf5", ".keras")),
    _Foreign("is a TensorFlow Lite model", _tensorflow("--tflite"), b"TFL3", 4, (".tflite",)),
    _Foreign("is a TensorFlow graph", _tensorflow("--saved-model FOLDER, or --graphdef"), suffixes=(".pb", ".pbtxt")),
    _Foreign("is a Core ML model", suffixes=(".mlmodel",)),
    _Foreign("is a GGUF file, the format of language models", magic=b"GGUF", suffixes=(".gguf",)),
    _Foreign("is a TensorRT engine, a program for one kind of GPU", suffixes=(".engine", ".plan", ".trt")),
    _Foreign("is a Flax checkpoint", suffixes=(".msgpack",)),
    _Foreign("is a NumPy array", magic=b"\x93NUMPY", suffixes=(".npy",)),
    _Foreign("is a gzip archive", _UNPACK, b"\x1f\x8b"),
    _Foreign("is a bzip2 archive", _UNPACK, b"BZh"),
    _Foreign("is an xz archive", _UNPACK, b"\xfd7zXZ"),
    _Foreign("is a zstd archive", _UNPACK, b"\x28\xb5\x2f\xfd"),
    _Foreign("is a 7z archive", _UNPACK, b"7z\xbc\xaf"),
    _Foreign("is a tar archive", _UNPACK, b"ustar", 257),
)


def refused_file(path: Path, head: bytes) -> LoadError | None:
    """Why a file with that beginning is not read; None where it is none of the known formats.

    Args:
        path: The file.
        head: Its first 512 bytes, or as many as it has.
    """
    suffix = path.suffix.lower()
    # Protocols 2 to 5 open with 0x80 and their number, a raw torch.save of old with the same.
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return _pickle(path, "is a Python pickle")
    head = markup.lower() if (markup := head.lstrip()).startswith(b"<") else head
    for foreign in _FOREIGN:
        if foreign.fits(head, suffix):
            return LoadError(f"{printable(path)} {foreign.what}; {_WANTED}", hint=_filled(foreign.way_out, path))
    return None


def refused_unknown(path: Path) -> LoadError:
    """Why a file whose beginning says nothing is not read."""
    if (suffix := path.suffix.lower()) in _PICKLE_SUFFIXES:
        return _pickle(path, f"has the suffix {suffix} of a Python pickle")
    return LoadError(f"{printable(path)} has an unknown format; {_WANTED}", hint=_EXPORT)


def refused_archive(path: Path) -> LoadError:
    """Why a zip archive is not read. The names of its members are looked for, the archive is not opened."""
    with path.open("rb") as stream:
        ends = stream.read(_ENDS)
        stream.seek(max(0, path.stat().st_size - _ENDS))
        ends += stream.read(_ENDS)
    if path.suffix == ".pt2" or b"/archive_format" in ends or b"/models/" in ends:
        return LoadError(
            f"{printable(path)} is a torch.export archive, and loading one can run code hidden in it; refused",
            hint="where you trust it: "
            + _python("torch.onnx.export(torch.export.load('{src}'), (), '{stem}.onnx')", path),
        )
    if b"/constants.pkl" in ends or b"/code/" in ends:
        save = "from safetensors.torch import save_file as s"
        body = save + "; s(torch.jit.load('{src}').state_dict(), '{stem}.safetensors')"
        return LoadError(
            f"{printable(path)} is a TorchScript archive, which holds a program, not only weights; refused",
            hint=f"where you trust it: {_python(body, path)}",
        )
    if b"model.weights.h5" in ends or path.suffix.lower() == ".keras":
        what = "is a Keras model, which can hold code"
        return LoadError(f"{printable(path)} {what}; {_WANTED}", hint=_filled(_KERAS, path))
    if b"data.pkl" not in ends and b".npy" in ends:
        return LoadError(f"{printable(path)} is a NumPy archive; {_WANTED}", hint=_EXPORT)
    return _pickle(path, "is a zip archive around a Python pickle")


def refused_folder(path: Path) -> LoadError:
    """Why a folder without `config.json` is not read, and what in it could be."""
    held = names(path)
    if "saved_model.pb" in held:
        return LoadError(
            f"{printable(path)} is a TensorFlow SavedModel; {_WANTED}",
            hint=_filled(_tensorflow("--saved-model"), path),
        )
    if path.suffix == ".mlpackage":
        return LoadError(f"{printable(path)} is a Core ML model; {_WANTED}", hint=_EXPORT)
    models = [name for name in held if name.endswith((".safetensors", ".onnx"))]
    return LoadError(
        f"{printable(path)} is a folder without config.json; a Hugging Face folder was expected",
        hint=f"privaudit scan {_word(path.name)}/{_word(models[0])}" if models else "give the model file itself",
    )


def _pickle(path: Path, what: str) -> LoadError:
    body = (
        "from safetensors.torch import save_file as s; w = torch.load('{src}', weights_only=True); "
        "s({{k: v.clone() for k, v in w.get('state_dict', w).items()}}, '{stem}.safetensors')"
    )
    return LoadError(
        f"{printable(path)} {what}: opening it can run any code, so privaudit never does",
        hint=f"convert it once: {_python(body, path)}",
    )


def _python(body: str, path: Path) -> str:
    return f'python -c "import torch; {_filled(body, path)}"'


def _filled(text: str, path: Path) -> str:
    return text.format(src=_word(path.name), stem=_word(path.stem))


def _word(name: str) -> str:
    """The name where it is one plain word to a shell and to Python, else a word that stands for it."""
    return name if re.fullmatch(r"[\w.+@%=-]{1,100}", name) and not name.startswith("-") else "FILE"
