"""The shape of the images of a sample, from the first header alone: `shape_of`."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

from PIL import Image

from auditcli.images._archive import _Frugal, _npy_header
from auditcli.images._folder import _image_files
from auditcli.images._picture import SUFFIXES


def shape_of(path: Path, *, role: str) -> tuple[int, int, int] | None:
    """Channels, height and width of the first image; None where there is none that can be read.

    Raises:
        SampleError: a folder that is refused.
    """
    if path.is_dir():
        file = next(iter(_image_files(path, role)), None)
        return None if file is None else _of_picture(file)
    try:
        with _Frugal(path) as stream, zipfile.ZipFile(stream) as archive, archive.open("images.npy") as images:
            dims, _ = _npy_header(images)
    except Exception:  # zipfile and numpy raise whatever their parts do; who reads the images says what is wrong.
        return None
    if len(dims) not in {3, 4}:
        return None
    return (int(dims[3]) if len(dims) == 4 else 1, int(dims[1]), int(dims[2]))


def _of_picture(file: Path) -> tuple[int, int, int] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=sorted(set(SUFFIXES.values()))) as image:
                return (1 if image.mode in {"1", "L"} else 3, image.height, image.width)
    except Exception:  # Pillow raises whatever its parts do.
        return None
