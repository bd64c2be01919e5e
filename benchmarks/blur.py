"""Does a blurred reconstruction still tell which training image it is? Measured for an attacker who holds candidates.

    OMP_NUM_THREADS=1 python benchmarks/blur.py [--seed 0]

Audits the shipped leaky MLP, blurs the reconstructions of its gallery in several ways, and ranks all members and
controls by their distance to each. Expected: sharp ones are all nearest to their own member,
and few of those that are blurred as by default.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from auditcli import audit
from auditcli.images import read_sample
from auditcli.report.blur import BLOCKS, LEVELS, blurred
from auditcli.resources import resource

GRID = ((6, 256), (6, 8), (6, 4), (5, 4), (4, 256), (4, 8), (4, 4), (4, 3), (4, 2), (3, 4), (3, 3), (3, 2), (2, 4))
"""Blocks a side, and greys."""
Pixels = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pair:
    """A reconstruction of the gallery, and which candidate it is of."""

    png: bytes
    member: int


def pairs(seed: int) -> tuple[list[Pair], list[Image.Image]]:
    """The gallery of one audit, and all candidates: members, then controls."""
    files = resource("fixtures", "mlp-leaky", "members.npz"), resource("fixtures", "controls.npz")
    model = resource("fixtures", "mlp-leaky", "model.safetensors")
    report = audit(model, reference=files[0], controls=files[1], seed=seed, names=True, reconstructions="sharp")
    samples = [read_sample(file, report.model.input_shape, role="members") for file in files]
    ids = [id for sample in samples for id in sample.ids]
    images = [image for sample in samples for image in sample.images[:, 0].mul(255).round().byte().numpy()]
    found = [
        Pair(report.pictures[item.reconstruction.file], ids.index(item.member_id))
        for item in report.gallery
        if item.reconstruction is not None and item.member_id is not None
    ]
    return found, [Image.fromarray(image) for image in images]


def means(image: Image.Image, blocks: int) -> Pixels:
    """What the attacker makes of a picture: the mean of each block, in [0, 1]."""
    return np.asarray(image.resize((blocks, blocks), Image.Resampling.BOX), dtype=np.float64).ravel() / 255


def ranks(found: list[Pair], candidates: list[Image.Image], blocks: int, levels: int) -> dict[str, list[float]]:
    """Rank of the true member by three attackers, 1 being the nearest; ties count half."""
    own = np.stack([means(image, blocks) for image in candidates])
    rounded = np.round(own * (levels - 1)) / (levels - 1)
    result: dict[str, list[float]] = {"distance": [], "distance after rounding": [], "correlation": []}
    for pair in found:
        png = blurred(pair.png, blocks=blocks, levels=levels)
        shown = means(Image.open(BytesIO(png or b"")), blocks)
        for name, distances in (
            ("distance", ((own - shown) ** 2).sum(1)),
            ("distance after rounding", ((rounded - shown) ** 2).sum(1)),
            ("correlation", -correlation(own, shown)),
        ):
            true = distances[pair.member]
            result[name].append(float(1 + (distances < true).sum() + ((distances == true).sum() - 1) / 2))
    return result


def correlation(own: Pixels, shown: Pixels) -> Pixels:
    """(n,) of the candidates with what is shown; 0 where one of them has a single grey."""
    centred, seen = own - own.mean(1, keepdims=True), shown - shown.mean()
    lengths = np.linalg.norm(centred, axis=1) * np.linalg.norm(seen)
    return np.where(lengths > 1e-12, centred @ seen / np.maximum(lengths, 1e-12), 0)


def main() -> None:
    """Audit, then print one line for each way to blur, each figure that of the attacker who does best by it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    found, candidates = pairs(parser.parse_args().seed)
    side = candidates[0].size[0]
    print(f"{len(found)} reconstructions, {len(candidates)} candidates; chance: median rank {len(candidates) // 2}\n")
    print("| blocks | greys | member is the nearest | among the ten nearest | median rank |")
    print("|---|---|---|---|---|")
    for blocks, levels in ((side, 256), *GRID):
        every = sharp(found, candidates) if blocks == side else ranks(found, candidates, blocks, levels)
        first = max(sum(place < 2 for place in places) for places in every.values())
        ten = max(sum(place <= 10 for place in places) for places in every.values())
        middle = min(float(np.median(places)) for places in every.values())
        marked = " (default)" if (blocks, levels) == (BLOCKS, LEVELS) else ""
        name = "sharp" if blocks == side else f"{blocks} x {blocks}{marked}"
        print(f"| {name} | {levels} | {first} | {ten} | {middle:g} |")


def sharp(found: list[Pair], candidates: list[Image.Image]) -> dict[str, list[float]]:
    """Ranks without any blurring."""
    own = np.stack([np.asarray(image, dtype=np.float64).ravel() for image in candidates])
    distances = [
        ((own - np.asarray(Image.open(BytesIO(pair.png)), dtype=np.float64).ravel()) ** 2).sum(1) for pair in found
    ]
    places = [float(1 + (d < d[pair.member]).sum()) for d, pair in zip(distances, found, strict=True)]
    return {"distance": places}


if __name__ == "__main__":
    main()
