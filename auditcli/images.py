"""Reads the images an auditor holds: a folder of image files or an `.npz`, exactly as they are.

Public names: `read_sample`, `require_disjoint`, `duplicates`.

Nothing is resized, cropped or converted: an image that does not fit the model is an error, because a silent resize
would change what "similar to a training image" means. Nothing is unpickled, and every size is read from a header and
checked before memory is taken for it.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from auditcli.errors import SampleError
from auditcli.types import Sample

SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""Image files that are read, and the Pillow plug-ins that may open them (some others start programs)."""
CHANNELS = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "LAB": 3, "HSV": 3}
MAX_FILE_BYTES = 256 * 2**20
"""Of one image file."""
MAX_PIXEL_BYTES = 8 * 2**30
"""Of a whole sample, as float32."""
MAX_INFLATION = 1032
"""Bytes that one byte of deflate can stand for; an archive that promises more is lying."""

UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError, SyntaxError),
    *(OSError, ValueError, TypeError, OverflowError, RuntimeError, EOFError, MemoryError),
)
"""What zipfile, numpy and Pillow raise on damaged or forged files."""

Pixels = NDArray[np.uint8]


def read_sample(path: Path, input_shape: tuple[int, int, int], labels: Sequence[str] = (), *, role: str) -> Sample:
    """Read members or controls.

    Args:
        path: A folder of images (png, jpg, bmp, webp, tiff, first frame of gif), whose sub-folders, if any, are labels;
            or an `.npz` with `images` uint8 (n, h, w[, c]) and optional integer `labels` (n,). Folders are read in
            natural order (`2.png` before `10.png`).
        input_shape: (c, h, w) the model takes; every image must have exactly this shape.
        labels: The model's class names, where known; label folders are looked up among them.
        role: `members` or `controls`, for messages.

    Returns:
        Images (n, c, h, w) float32 in [0, 1], n >= 1. A hash is the sha256 of the uint8 pixels in (h, w, c) order, so
        that a PNG and the same picture in an `.npz` agree; `sha256` is that of the `.npz`, or of the lines
        `hash  id` of a folder.

    Raises:
        SampleError: Nothing to read, too much of it, something unreadable, or an image of another shape.
    """
    if path.is_dir():
        return _read_folder(path, input_shape, labels, role)
    if path.suffix.lower() == ".npz" and path.is_file():
        return _read_npz(path, input_shape, labels, role)
    found = "is neither a folder nor an .npz file" if path.exists() else "does not exist"
    raise SampleError(
        f"{role}: {path} {found}",
        hint="give a folder of images, or an .npz with images uint8 (n, h, w[, c]) and optional labels",
    )


def require_disjoint(members: Sample, controls: Sample) -> None:
    """Check that no member is also a control: a control must never have been trained on.

    Raises:
        SampleError: An image is in both; names the first pair and the number of all.
    """
    by_hash = dict(zip(controls.hashes, controls.ids, strict=True))
    both = [
        (name, by_hash[digest]) for name, digest in zip(members.ids, members.hashes, strict=True) if digest in by_hash
    ]
    if both:
        member, control = both[0]
        more = f" (and {len(both) - 1} more pairs)" if len(both) > 1 else ""
        raise SampleError(
            f"member {member} and control {control} are the same image{more}",
            hint="--controls takes only images that the model never saw in training; remove these from one side",
        )


def duplicates(sample: Sample) -> tuple[tuple[str, str], ...]:
    """The images of a sample that repeat an earlier one, as (id, id of the earlier one); they are kept."""
    first: dict[str, str] = {}
    return tuple(
        (name, first[digest])
        for name, digest in zip(sample.ids, sample.hashes, strict=True)
        if first.setdefault(digest, name) != name
    )


# ---- folders --------------------------------------------------------------------------------------------------------


def _read_folder(folder: Path, shape: tuple[int, int, int], labels: Sequence[str], role: str) -> Sample:
    files = list(_image_files(folder, role))
    if not files:
        raise SampleError(
            f"{role}: {folder} holds no images",
            hint=f"put image files there ({', '.join(s[1:] for s in SUFFIXES)}), or one sub-folder for each label",
        )
    _require_room(len(files), shape, role)
    names = tuple(file.relative_to(folder).as_posix() for file in files)
    classes = _folder_labels(folder, files, labels, role)
    c, h, w = shape
    pixels = np.empty((len(files), h, w, c), dtype=np.uint8)
    for index, file in enumerate(files):
        pixels[index] = _read_image(file, shape, role)
    hashes = _hashes(pixels)
    lines = "".join(f"{digest}  {name}\n" for digest, name in zip(hashes, names, strict=True))
    return Sample(
        images=_floats(pixels),
        ids=names,
        hashes=hashes,
        labels=None if classes is None else torch.tensor(classes, dtype=torch.int64),
        sha256=hashlib.sha256(lines.encode()).hexdigest(),
    )


def _image_files(folder: Path, role: str) -> Iterator[Path]:
    """Image files below a folder in natural order; hidden files and other suffixes are passed over."""
    root = folder.resolve()
    for file in sorted(folder.rglob("*"), key=lambda file: _natural(file.relative_to(folder).as_posix())):
        if any(part.startswith(".") for part in file.relative_to(folder).parts):
            continue
        is_image = file.suffix.lower() in SUFFIXES
        if file.is_symlink() and (file.is_dir() or (is_image and not file.resolve().is_relative_to(root))):
            raise SampleError(
                f"{role}: {file} is a symbolic link to a folder or out of the folder, and is not followed",
                hint="copy the images into the folder (cp -rL), so that the report's hashes name what was read",
            )
        if is_image and file.is_file():
            yield file


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """A sorting key under which `2.png` comes before `10.png`; the name itself settles ties such as `01` and `1`."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return (*((int(part), "") if part.isdecimal() else (-1, part) for part in parts), (-1, name))


def _read_image(file: Path, shape: tuple[int, int, int], role: str) -> Pixels:
    """The pixels (h, w, c) of one file; its header must fit before it is decoded."""
    c, h, w = shape
    if file.stat().st_size > MAX_FILE_BYTES:
        raise SampleError(
            f"{role}: {file} has {file.stat().st_size} bytes, more than the {MAX_FILE_BYTES} read from one image",
            hint=f"the model takes images of {w}x{h}; prepare the file at that size",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=sorted(set(SUFFIXES.values()))) as image:
                _require_fit(file, _channels(image, c), image.height, image.width, shape, role)
                return _decoded(image, c)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise SampleError(
            f"{role}: {file} is refused as a decompression bomb: {error}",
            hint=f"the model takes images of {w}x{h}; prepare the file at that size",
        ) from error
    except UnidentifiedImageError as error:
        raise SampleError(
            f"{role}: {file} is not an image that can be read", hint="remove the file, or convert it to PNG"
        ) from error
    except UNREADABLE as error:
        raise SampleError(
            f"{role}: {file} cannot be decoded: {_cause(error)}", hint="remove the file, or convert it to PNG"
        ) from error


def _channels(image: Image.Image, wanted: int) -> int:
    """Channels of an image as stored; a palette counts as colour unless all its colours are grey and grey is wanted."""
    if image.mode == "P" and "transparency" not in image.info:
        return 1 if wanted == 1 and _is_grey(image.getpalette() or []) else 3
    if image.mode in ("P", "PA"):
        return 4
    if image.mode not in CHANNELS:
        raise ValueError(f"its pixels are of mode {image.mode}, and 8-bit grey or RGB was expected")
    return CHANNELS[image.mode]


def _is_grey(palette: Sequence[int]) -> bool:
    return all(r == g == b for r, g, b in zip(palette[::3], palette[1::3], palette[2::3], strict=True))


def _decoded(image: Image.Image, channels: int) -> Pixels:
    """Pixels (h, w, c) uint8; only conversions that keep every value (bits, palettes) are made."""
    if image.mode in ("1", "P"):
        image = image.convert("L" if channels == 1 else "RGB")
    if image.mode not in ("L", "RGB"):
        raise ValueError(f"its pixels are of mode {image.mode}, and 8-bit grey or RGB was expected")
    return np.asarray(image, dtype=np.uint8).reshape(image.height, image.width, channels)


def _folder_labels(folder: Path, files: Sequence[Path], labels: Sequence[str], role: str) -> list[int] | None:
    """Class of each file by the first folder below `folder`: by class name, by number, else by sorted order."""
    parents = [parts[0] if len(parts := file.relative_to(folder).parts) > 1 else "" for file in files]
    names = sorted(set(parents), key=_natural)
    if names == [""]:
        return None
    if "" in names:
        raise SampleError(
            f"{role}: {folder} holds images both beside and inside its label folders",
            hint="put every image into a label folder, or all of them directly into the folder",
        )
    index = _classes(names, labels, role)
    return [index[parent] for parent in parents]


def _classes(names: Sequence[str], labels: Sequence[str], role: str) -> dict[str, int]:
    known = {label.casefold(): index for index, label in enumerate(labels)}
    if all(name.casefold() in known for name in names):
        return {name: known[name.casefold()] for name in names}
    if all(re.fullmatch(r"[0-9]{1,9}", name) for name in names):
        return {name: int(name) for name in names}
    if any(name.casefold() in known for name in names):
        stranger = next(name for name in names if name.casefold() not in known)
        raise SampleError(
            f"{role}: the label folder {stranger!r} is no class of the model",
            hint=f"rename it to one of {', '.join(labels[:10])}, or number all the folders from 0",
        )
    return {name: index for index, name in enumerate(names)}


# ---- npz ------------------------------------------------------------------------------------------------------------


def _read_npz(path: Path, shape: tuple[int, int, int], labels: Sequence[str], role: str) -> Sample:
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = _npz_images(archive, path, shape, role)
            classes = _npz_labels(archive, path, len(pixels), role)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except UNREADABLE as error:
        raise SampleError(
            f"{role}: {path} is not a readable .npz: {_cause(error)}",
            hint="write it again with numpy.savez_compressed(path, images=images, labels=labels)",
        ) from error
    if classes is not None and labels and classes.max() >= len(labels):
        raise SampleError(
            f"{role}: {path} has the label {classes.max()}, and the model has {len(labels)} classes",
            hint="labels are class indices from 0, in the order of the model's outputs",
        )
    return Sample(
        images=_floats(pixels),
        ids=tuple(f"{path.name}#{index}" for index in range(len(pixels))),
        hashes=_hashes(pixels),
        labels=None if classes is None else torch.from_numpy(classes),
        sha256=digest,
    )


def _npz_images(archive: zipfile.ZipFile, path: Path, shape: tuple[int, int, int], role: str) -> Pixels:
    if "images.npy" not in archive.namelist():
        held = ", ".join(sorted(name.removesuffix(".npy") for name in archive.namelist())[:8]) or "nothing"
        raise SampleError(
            f"{role}: {path} has no array `images`; it holds {held}",
            hint="numpy.savez_compressed(path, images=images) with images uint8 (n, h, w[, c])",
        )
    with archive.open("images.npy") as stream:
        dims, dtype = _npy_header(stream)
    if dtype != np.uint8 or len(dims) not in (3, 4):
        raise SampleError(
            f"{role}: `images` in {path} is {dtype} {dims}, and uint8 (n, h, w) or (n, h, w, c) was expected",
            hint="scale images in [0, 1] by 255, round, and save them with .astype(numpy.uint8), channels last",
        )
    n, h, w = dims[:3]
    if n == 0:
        raise SampleError(f"{role}: {path} holds no images", hint="give at least one image")
    _require_fit(path, dims[3] if len(dims) == 4 else 1, h, w, shape, role)
    _require_room(n, shape, role)
    return np.asarray(_npy_array(archive, "images.npy"), dtype=np.uint8).reshape(n, h, w, shape[0])


def _npz_labels(archive: zipfile.ZipFile, path: Path, n: int, role: str) -> NDArray[np.int64] | None:
    if "labels.npy" not in archive.namelist():
        return None
    with archive.open("labels.npy") as stream:
        dims, dtype = _npy_header(stream)
    if dtype.kind not in "iu" or dims != (n,):
        raise SampleError(
            f"{role}: `labels` in {path} is {dtype} {dims}, and integers of shape ({n},) were expected",
            hint="labels are class indices from 0, one for each image",
        )
    classes: NDArray[np.int64] = np.asarray(_npy_array(archive, "labels.npy")).astype(np.int64)
    if classes.min() < 0:
        raise SampleError(
            f"{role}: {path} has the label {classes.min()}, and class indices start at 0",
            hint="leave `labels` out where they are not known",
        )
    return classes


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of a `.npy` member; reads its header alone, and no object arrays."""
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"npy format {version} is unknown")
    dims, _, dtype = read[version](stream)
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
    if declared > MAX_INFLATION * Path(archive.filename or "").stat().st_size:
        raise ValueError(f"{name} declares {declared} bytes, more than the whole file can hold")
    with archive.open(name) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


# ---- both -----------------------------------------------------------------------------------------------------------


def _require_fit(path: Path, c: int, h: int, w: int, shape: tuple[int, int, int], role: str) -> None:
    if (c, h, w) == shape:
        return
    colour = {1: "grey", 3: "RGB"}
    found, wanted = (
        f"{width}x{height} {colour.get(channels, f'with {channels} channels')}"
        for channels, height, width in ((c, h, w), shape)
    )
    space = {1: " -colorspace Gray", 3: " -type TrueColor -alpha off"}.get(shape[0], "")
    raise SampleError(
        f"{role}: {path} is {found}, and the model takes {wanted} (width x height)",
        hint=f"prepare the images as for training, e.g. magick mogrify -resize '{shape[2]}x{shape[1]}!'{space}; "
        f"or --input-shape {c},{h},{w} if the model takes these",
    )


def _cause(error: BaseException) -> str:
    """The first line of what a library says: numpy goes on to recommend pickles."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _require_room(n: int, shape: tuple[int, int, int], role: str) -> None:
    needed = 4 * n * shape[0] * shape[1] * shape[2]
    if needed > MAX_PIXEL_BYTES:
        most = MAX_PIXEL_BYTES * n // needed
        raise SampleError(
            f"{role}: {n} images need {needed / 2**30:.1f} GiB, and at most {MAX_PIXEL_BYTES / 2**30:.0f} GiB are read",
            hint=f"give at most {most} of them, drawn at random",
        )


def _hashes(pixels: Pixels) -> tuple[str, ...]:
    return tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in pixels)


def _floats(pixels: Pixels) -> torch.Tensor:
    """(n, c, h, w) float32 in [0, 1] of uint8 (n, h, w, c)."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float().div_(255)
