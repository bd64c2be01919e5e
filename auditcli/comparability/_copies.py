"""Repeats and near copies leave both samples: `vet`, `without`."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from auditcli.errors import SampleError
from auditcli.types import LeftOut, Sample

SIDE = 32
"""Images are compared at this many pixels a side at most."""
QUALITY = 50
"""A near copy is no further from an image than JPEG at this quality takes the image from itself ..."""
SLACK = 1.1
"""... times this, since two encoders, or two encodings, differ."""
FLOOR = 0.05
"""Or than this, where JPEG changes next to nothing: a slightly brightened copy has been clipped."""
RATIO = 0.5
"""And it is at most this many times as far as the image's third nearest other image."""
RATIO_SHIFTED = 0.25
"""The same for copies shifted by a pixel, which are looked for in nine places."""
NEIGHBOUR = 3
"""The neighbour compared with: not the nearest, so that up to two further copies of an image hide none."""
CHUNK = 2_000_000
"""Pairs compared at a time: four bytes each, and a few such arrays."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Vetted:
    """Two samples without repeats, and without near copies of each other."""

    members: Sample
    controls: Sample
    left_out: tuple[LeftOut, ...]
    """Members first, each in the order of its sample."""


def vet(members: Sample, controls: Sample) -> Vetted:
    """Leave out what counts twice, and what is a member and a control at once.

    *Repeats*: of images of one sample with the same pixels the first stays. *Near copies*: where a member and a control
    show the same picture (saved again as JPEG of quality 50 or better, slightly brightened, shifted by a pixel), the
    model was trained on the control too, as good as, and **both** leave. Leaving out the control alone would be a rule
    that looks at which is which: members would keep the kind of picture of which copies circulate, and controls would
    lose it. A rule that treats both alike keeps samples exchangeable that were. Near copies inside one sample stay.

    Two images are at distance sqrt(1 - r^2), r being the correlation of their pixels, which no change of brightness or
    contrast moves. They are near copies if it is at most `SLACK` times what JPEG of quality 50 makes of the one or the
    other, *and* at most `RATIO` times the distance to the third nearest image of both samples, for either: digits and
    clothes have look-alikes nearer than such a JPEG, but then they have several. An image of one colour has no near
    copies.

    Args:
        members: m images (m, c, h, w) in [0, 1].
        controls: k images of the same shape; none has exactly the pixels of a member (`images.require_disjoint`).

    Returns:
        The samples, themselves where nothing leaves them, and what was left out. A sample that lost images has a new
        `sha256`, that of the lines `hash  id` of those that stay.

    Raises:
        SampleError: Nothing is left of a sample.
    """
    kept, repeats = zip(*(_distinct(sample) for sample in (members, controls)), strict=True)
    pairs = _near_copies(*(_pixels(sample) for sample in kept))
    results, left = [], []
    for side, (role, sample) in enumerate((("member", kept[0]), ("control", kept[1]))):
        like = {pair[side]: pair[1 - side] for pair in reversed(pairs)}
        other = kept[1 - side].ids
        copies = [LeftOut(sample.ids[i], role, other[like[i]], "near copy") for i in sorted(like)]
        order = {name: i for i, name in enumerate((members, controls)[side].ids)}
        left += sorted([*(LeftOut(a, role, b, "repeat") for a, b in repeats[side]), *copies], key=lambda x: order[x.id])
        results.append(_keep(sample, [i for i in range(len(sample)) if i not in like]))
        if not len(results[-1]):
            raise SampleError(
                f"all {len(sample)} {role}s are near copies of images of the other sample, e.g. {copies[0].id} of "
                f"{copies[0].like}",
                hint="members and controls must be different pictures; give controls that the model never saw",
            )
    return Vetted(results[0], results[1], tuple(left))


def without(sample: Sample, ids: Container[str]) -> Sample:
    """The sample as `vet` returns it where these images leave it; itself where none does."""
    return _keep(sample, [i for i, name in enumerate(sample.ids) if name not in ids])


def _distinct(sample: Sample) -> tuple[Sample, list[tuple[str, str]]]:
    first: dict[str, int] = {}
    repeats = []
    for i, digest in enumerate(sample.hashes):
        if first.setdefault(digest, i) != i:
            repeats.append((sample.ids[i], sample.ids[first[digest]]))
    return _keep(sample, list(first.values())), repeats


def _keep(sample: Sample, index: list[int]) -> Sample:
    if len(index) == len(sample):
        return sample
    ids, hashes = (tuple(values[i] for i in index) for values in (sample.ids, sample.hashes))
    lines = "".join(f"{digest}  {name}\n" for digest, name in zip(hashes, ids, strict=True))
    return replace(
        sample,
        images=sample.images[index],
        ids=ids,
        hashes=hashes,
        labels=None if sample.labels is None else sample.labels[index],
        sha256=sha256(lines.encode()).hexdigest(),
    )


def _pixels(sample: Sample) -> NDArray[np.uint8]:
    """(n, h, w, c)."""
    levels = (sample.images.detach().cpu() * 255).round().clamp(0, 255).byte()
    return levels.permute(0, 2, 3, 1).numpy()


def _near_copies(members: NDArray[np.uint8], controls: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Pairs (member, control), the nearest pair of a member first."""
    small = [_small(images) for images in (members, controls)]
    whole = np.concatenate([_unit(images) for images in small])
    limit = np.maximum(FLOOR, SLACK * np.concatenate([_loss(images) for images in (members, controls)]))
    beyond = _to_neighbour(whole)
    m = len(members)
    found: dict[tuple[int, int], float] = {}
    for at, distances in _distances(whole[:m], whole[m:]):
        _collect(found, at, distances, limit, beyond, RATIO, m)
    if max(members.shape[1:3]) <= SIDE and min(members.shape[1:3]) > 8:
        for left, right in _shifted(*small):
            for at, distances in _distances(left, right):
                _collect(found, at, distances, limit, beyond, RATIO_SHIFTED, m)
    by_member = defaultdict(list)
    for (i, j), distance in found.items():
        by_member[i].append((distance, j))
    return [(i, j) for i in sorted(by_member) for _, j in sorted(by_member[i])]


def _collect(
    found: dict[tuple[int, int], float],
    at: int,
    distance: Vectors,
    limit: Vectors,
    beyond: Vectors,
    ratio: float,
    m: int,
) -> None:
    rows = slice(at, at + len(distance))
    near = np.maximum(limit[rows, None], limit[None, m:])
    np.minimum(near, ratio * beyond[rows, None], out=near)
    np.minimum(near, ratio * beyond[None, m:], out=near)
    for i, j in zip(*np.nonzero(distance <= near), strict=True):
        pair, value = (at + int(i), int(j)), float(distance[i, j])
        found[pair] = min(value, found.get(pair, value))


def _distances(left: Vectors, right: Vectors) -> Iterator[tuple[int, Vectors]]:
    """Rows of the matrix of distances, in chunks, with the index of the first; opposite images are at 1."""
    step = max(1, CHUNK // len(right))
    for at in range(0, len(left), step):
        cosine = np.clip(left[at : at + step] @ right.T, 0, 1)
        yield at, np.sqrt(np.maximum(0, 1 - cosine**2))


def _to_neighbour(vectors: Vectors) -> Vectors:
    """(n,) distance to the third nearest other image; 1, the furthest there is, where there are no three."""
    found = np.ones(len(vectors), dtype=np.float32)
    if len(vectors) > NEIGHBOUR:
        for at, distances in _distances(vectors, vectors):
            # An image is its own nearest, or as near as its nearest.
            found[at : at + len(distances)] = np.partition(distances, NEIGHBOUR, axis=1)[:, NEIGHBOUR]
    return found


def _shifted(members: Vectors, controls: Vectors) -> Iterator[tuple[Vectors, Vectors]]:
    """The insides of members, and of controls moved by a pixel in each of eight ways."""
    h, w = members.shape[1:3]
    inside = _unit(members[:, 1:-1, 1:-1])
    for y in range(3):
        for x in range(3):
            if (y, x) != (1, 1):
                yield inside, _unit(controls[:, y : y + h - 2, x : x + w - 2])


def _small(images: NDArray[np.uint8]) -> Vectors:
    """(n, h', w', c) in [0, 1], no side above `SIDE`."""
    n, h, w, c = images.shape
    if max(h, w) <= SIDE:
        whole: Vectors = images.astype(np.float32) / np.float32(255)
        return whole
    shape = tuple(max(1, round(side * SIDE / max(h, w))) for side in (h, w))
    small = np.empty((n, *shape, c), dtype=np.float32)
    for i, image in enumerate(images):
        small[i] = _reduced(image, shape)
    return small


def _reduced(image: NDArray[np.uint8], shape: tuple[int, ...]) -> Vectors:
    pictures = [Image.fromarray(image[..., channel]) for channel in range(image.shape[-1])]
    size = (shape[1], shape[0])
    reduced = [np.asarray(picture.resize(size, Image.Resampling.BOX)) for picture in pictures]
    return np.stack(reduced, axis=-1).astype(np.float32) / np.float32(255)


def _unit(images: Vectors) -> Vectors:
    """(n, d) of mean 0 and length 1; zeros for an image of one colour."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    unit: Vectors = np.where(length > 1e-4, flat / np.maximum(length, 1e-4), 0).astype(np.float32)
    return unit


def _loss(images: NDArray[np.uint8]) -> Vectors:
    """(n,) distance of each image from what JPEG of quality 50 makes of it."""
    found = np.empty(len(images), dtype=np.float32)
    for i, image in enumerate(images):
        pair = _unit(_small(np.stack([image, _jpeg(image)])))
        found[i] = np.sqrt(max(0.0, 1 - float(np.clip(pair[0] @ pair[1], 0, 1)) ** 2))
    return found


def _jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Encoded and decoded; channels one by one where they are neither grey nor RGB."""
    if image.shape[-1] not in (1, 3):
        return np.concatenate([_jpeg(image[..., c : c + 1]) for c in range(image.shape[-1])], axis=-1)
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(stream)).reshape(image.shape)
