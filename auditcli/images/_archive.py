"""An `.npz` of images: `read_archive`, `count_archive`. A zip archive of `.npy` members, and both headers may lie."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditcli.errors import SampleError
from auditcli.images._pixels import Pixels, cause, floats, hashes, plain, require_fit, require_room
from auditcli.types import Sample

MAX_INFLATION = 100
"""Bytes that one byte of an archive may stand for, beyond `MAX_INFLATED_BYTES`: images shrink tenfold."""
MAX_INFLATED_BYTES = 64 * 2**20
MAX_HEADER_BYTES = 10_000
"""Of a `.npy` member: numpy's own limit."""
MAX_DIRECTORY_BYTES = 2**20
"""Of the names in an archive."""


def read_archive(path: Path, shape: tuple[int, int, int], labels: Sequence[str], role: str) -> Sample:
    with _refusing(path, role):
        with _Frugal(path) as file, zipfile.ZipFile(file) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = _npz_images(archive, path, shape, role)
            classes = _npz_labels(archive, path, len(pixels), role)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if classes is not None and labels and classes.max() >= len(labels):
        raise SampleError(
            f"{role}: {plain(path)} has the label {classes.max()}, and the model has {len(labels)} classes",
            hint="labels are class indices from 0, in the order of the model's outputs",
        )
    return Sample(
        images=floats(pixels),
        ids=tuple(f"{path.name}#{index}" for index in range(len(pixels))),
        hashes=hashes(pixels),
        labels=None if classes is None else torch.from_numpy(classes),
        sha256=digest,
    )


class _Frugal(io.FileIO):
    """A file that is not read in large pieces: zipfile takes the whole directory of an archive at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `MAX_DIRECTORY_BYTES`; zipfile asks for more where there is a directory of that size."""
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise ValueError(f"its directory takes {size} bytes, more than {MAX_DIRECTORY_BYTES}")
        return super().read(size)


def count_archive(path: Path, role: str) -> int:
    """The images that an `.npz` declares; no pixel is read."""
    with _refusing(path, role), _Frugal(path) as file, zipfile.ZipFile(file) as archive:
        return _npz_shape(archive, path, role)[0]


@contextmanager
def _refusing(path: Path, role: str) -> Iterator[None]:
    try:
        yield
    except SampleError:
        raise
    except Exception as error:  # zipfile and numpy raise whatever their parts do.
        raise SampleError(
            f"{role}: {plain(path)} is not a readable .npz: {cause(error)}",
            hint="write it again with numpy.savez_compressed(path, images=images, labels=labels)",
        ) from error


def _npz_shape(archive: zipfile.ZipFile, path: Path, role: str) -> tuple[int, ...]:
    """(n, h, w) or (n, h, w, c) of the images, n >= 1, by their header."""
    if "images.npy" not in archive.namelist():
        held = ", ".join(sorted(plain(name.removesuffix(".npy")) for name in archive.namelist())[:8]) or "nothing"
        raise SampleError(
            f"{role}: {plain(path)} has no array `images`; it holds {held}",
            hint="numpy.savez_compressed(path, images=images) with images uint8 (n, h, w[, c])",
        )
    with archive.open("images.npy") as stream:
        dims, dtype = _npy_header(stream)
    if dtype != np.uint8 or len(dims) not in (3, 4):
        raise SampleError(
            f"{role}: `images` in {plain(path)} is {plain(dtype)} {plain(dims)}, and uint8 (n, h, w) or (n, h, w, c) "
            "was expected",
            hint="scale images in [0, 1] by 255, round, and save them with .astype(numpy.uint8), channels last",
        )
    if dims[0] == 0:
        raise SampleError(f"{role}: {plain(path)} holds no images", hint="give at least one image")
    return dims


def _npz_images(archive: zipfile.ZipFile, path: Path, shape: tuple[int, int, int], role: str) -> Pixels:
    dims = _npz_shape(archive, path, role)
    n, h, w = dims[:3]
    require_fit(path, dims[3] if len(dims) == 4 else 1, h, w, shape, role)
    require_room(n, shape, role)
    return np.asarray(_npy_array(archive, "images.npy"), dtype=np.uint8).reshape(n, h, w, shape[0])


def _npz_labels(archive: zipfile.ZipFile, path: Path, n: int, role: str) -> NDArray[np.int64] | None:
    if "labels.npy" not in archive.namelist():
        return None
    with archive.open("labels.npy") as stream:
        dims, dtype = _npy_header(stream)
    if dtype.kind not in "iu" or dims != (n,):
        raise SampleError(
            f"{role}: `labels` in {plain(path)} is {plain(dtype)} {plain(dims)}, and integers of shape ({n},) "
            "were expected",
            hint="labels are class indices from 0, one for each image",
        )
    classes: NDArray[np.int64] = np.asarray(_npy_array(archive, "labels.npy")).astype(np.int64)
    if classes.min() < 0:
        raise SampleError(
            f"{role}: {plain(path)} has the label {classes.min()}, and class indices start at 0",
            hint="leave `labels` out where they are not known",
        )
    return classes


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of a `.npy` member; reads its header alone, and no object arrays."""
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"npy format {version} is unknown")
    length = stream.read(2 if version == (1, 0) else 4)
    size = int.from_bytes(length, "little")
    if size > MAX_HEADER_BYTES:
        raise ValueError(f"its header claims {size} bytes, more than {MAX_HEADER_BYTES}")
    # numpy would take that memory first, and look at the number afterwards.
    dims, _, dtype = read[version](io.BytesIO(length + stream.read(size)))
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, and nothing is unpickled")
    return dims, dtype


def _npy_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """An array whose header and archive entry agree on its size; zipfile never inflates more than the entry says."""
    with archive.open(name) as stream:
        dims, dtype = _npy_header(stream)
        header = stream.tell()
    declared = int(np.prod([int(d) for d in dims], dtype=object)) * dtype.itemsize
    held = archive.getinfo(name).file_size - header
    if declared != held:
        raise ValueError(f"{name} declares {declared} bytes of data and holds {held}")
    size = Path(archive.filename or "").stat().st_size
    if declared > max(MAX_INFLATED_BYTES, MAX_INFLATION * size):
        raise ValueError(f"{name} declares {declared} bytes in a file of {size}, as decompression bombs do")
    with archive.open(name) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array
