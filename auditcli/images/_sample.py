"""A sample, from wherever it comes: `read_sample`, `count_images`, `require_disjoint`, `duplicates`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auditcli.errors import SampleError
from auditcli.images._archive import count_archive, read_archive
from auditcli.images._folder import count_folder, read_folder
from auditcli.images._pixels import plain
from auditcli.types import Sample


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
        return read_folder(path, input_shape, labels, role)
    if path.suffix.lower() == ".npz" and path.is_file():
        return read_archive(path, input_shape, labels, role)
    raise _neither(path, role)


def count_images(path: Path, *, role: str) -> int:
    """How many images a sample holds, without a model and without reading a pixel.

    Args:
        path: As for `read_sample`.
        role: `members` or `controls`, for messages.

    Returns:
        n >= 1; image files by their suffix, or what the header of an `.npz` declares.

    Raises:
        SampleError: Nothing to count, or something that `read_sample` would refuse unseen.
    """
    if path.is_dir():
        return count_folder(path, role)
    if path.suffix.lower() == ".npz" and path.is_file():
        return count_archive(path, role)
    raise _neither(path, role)


def _neither(path: Path, role: str) -> SampleError:
    found = "is neither a folder nor an .npz file" if path.exists() else "does not exist"
    return SampleError(
        f"{role}: {plain(path)} {found}",
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
            f"member {plain(member)} and control {plain(control)} are the same image{more}",
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
