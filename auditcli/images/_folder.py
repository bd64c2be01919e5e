"""A folder of image files, whose sub-folders are labels: `read_folder`, `count_folder`."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from auditcli.errors import SampleError
from auditcli.images._picture import SUFFIXES, read_picture
from auditcli.images._pixels import floats, hashes, plain, require_room
from auditcli.types import Sample

MAX_ENTRIES = 1_000_000
"""Files of a folder that are looked through."""


def read_folder(folder: Path, shape: tuple[int, int, int], labels: Sequence[str], role: str) -> Sample:
    files = _some_files(folder, role)
    require_room(len(files), shape, role)
    names = tuple(file.relative_to(folder).as_posix() for file in files)
    classes = _folder_labels(folder, files, labels, role)
    c, h, w = shape
    pixels = np.empty((len(files), h, w, c), dtype=np.uint8)
    for index, file in enumerate(files):
        pixels[index] = read_picture(file, shape, role)
    digests = hashes(pixels)
    lines = "".join(f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True))
    return Sample(
        images=floats(pixels),
        ids=names,
        hashes=digests,
        labels=None if classes is None else torch.tensor(classes, dtype=torch.int64),
        sha256=hashlib.sha256(lines.encode()).hexdigest(),
    )


def count_folder(folder: Path, role: str) -> int:
    """The image files of a folder, by their names; none is opened."""
    return len(_some_files(folder, role))


def _some_files(folder: Path, role: str) -> list[Path]:
    files = list(_image_files(folder, role))
    if not files:
        raise SampleError(
            f"{role}: {plain(folder)} holds no images",
            hint=f"put image files there ({', '.join(s[1:] for s in SUFFIXES)}), or one sub-folder for each label",
        )
    return files


def _image_files(folder: Path, role: str) -> Iterator[Path]:
    """Image files below a folder in natural order; hidden files and other suffixes are passed over."""
    root = folder.resolve()
    for file in sorted(_entries(folder, role), key=lambda file: _natural(file.relative_to(folder).as_posix())):
        is_image = file.suffix.lower() in SUFFIXES
        if file.is_symlink() and (file.is_dir() or (is_image and not file.resolve().is_relative_to(root))):
            raise SampleError(
                f"{role}: {plain(file)} is a symbolic link to a folder or out of the folder, and is not followed",
                hint="copy the images into the folder (cp -rL), so that the report's hashes name what was read",
            )
        if is_image and file.is_file():
            yield file


def _entries(folder: Path, role: str) -> Iterator[Path]:
    """Images and links below a folder in any order; hidden ones and other files are passed over, and counted."""
    seen, waiting = 0, [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                seen += 1
                if seen > MAX_ENTRIES:
                    raise SampleError(
                        f"{role}: {plain(folder)} holds more than {MAX_ENTRIES} files",
                        hint="give a folder with the images alone, or an .npz with some of them, drawn at random",
                    )
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.is_symlink() or Path(entry.name).suffix.lower() in SUFFIXES:
                    yield Path(entry.path)


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """A sorting key under which `2.png` comes before `10.png`; the name itself settles ties such as `01` and `1`."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return (*((int(part), "") if part.isdecimal() else (-1, part) for part in parts), (-1, name))


def _folder_labels(folder: Path, files: Sequence[Path], labels: Sequence[str], role: str) -> list[int] | None:
    """Class of each file by the first folder below `folder`: by class name, by number, else by sorted order."""
    parents = [parts[0] if len(parts := file.relative_to(folder).parts) > 1 else "" for file in files]
    names = sorted(set(parents), key=_natural)
    if names == [""]:
        return None
    if "" in names:
        raise SampleError(
            f"{role}: {plain(folder)} holds images both beside and inside its label folders",
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
            f"{role}: the label folder {plain(stranger)!r} is no class of the model",
            hint=f"rename it to one of {', '.join(labels[:10])}, or number all the folders from 0",
        )
    return {name: index for index, name in enumerate(names)}
