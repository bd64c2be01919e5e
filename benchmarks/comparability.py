"""What the checks of members against controls catch: `python benchmarks/comparability.py --data DIR`.

Prints the tables of docs/comparability.md: near copies found and different images called copies, differences in kind,
false alarms, and how large a difference in the mix of classes is found. Images are drawn at random from the training
part of each data set.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import chi2_contingency

from auditcli.comparability import blind, vet
from auditcli.types import Sample

DATA_SETS = ("mnist", "fashion_mnist", "cifar10")
MEMBERS, CONTROLS = 100, 400
LEVELS = (0.001, 0.01, 0.05, 0.5)

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Change = Callable[[Pixels], Pixels]


@dataclass(frozen=True, slots=True)
class Pool:
    """A data set in its official parts."""

    name: str
    images: Pixels
    labels: Labels
    test_images: Pixels
    test_labels: Labels

    def drawn(self, seed: int, *sizes: int) -> Iterator[tuple[Pixels, Labels]]:
        """Disjoint random parts of the training part."""
        order = np.random.default_rng(seed).permutation(len(self.images))
        for part in np.split(order[: sum(sizes)], np.cumsum(sizes)[:-1]):
            yield self.images[part], self.labels[part]


def main() -> None:
    """Prints the tables."""
    arguments = _arguments()
    tables: dict[str, Callable[[Sequence[Pool]], Iterator[str]]] = {
        "copies": copies,
        "kinds": kinds,
        "alarms": lambda pools: alarms(pools, arguments.draws),
        "classes": lambda _: classes(arguments.draws),
    }
    pools = [_pool(arguments.data, name) for name in DATA_SETS]
    for name in arguments.only or tables:
        began, used = time.monotonic(), time.process_time()
        for row in tables[name](pools):
            print(row, flush=True)
        print(f"\n{name}: {time.monotonic() - began:.0f} s, {time.process_time() - used:.0f} s of processor time\n")


def copies(pools: Sequence[Pool]) -> Iterator[str]:
    """Near copies found of 300, and pairs of different images called copies."""
    yield _row("near copies", *(pool.name for pool in pools))
    yield _row("---", *("---:" for _ in pools))
    apart = [_left_out(*(part for part, _ in pool.drawn(1, 2_000, 2_000))) for pool in pools]
    yield _row("pairs of 2,000 x 2,000 different images", *(len(pairs) for pairs in apart))
    small = [
        sum(len(_left_out(*(part for part, _ in pool.drawn(seed, 10, 10)))) for seed in range(150)) for pool in pools
    ]
    yield _row("the same, 150 times 10 x 10", *small)
    for name, change in _COPIES.items():
        yield _row(f"found of 300, {name}", *(_found(pool, change) for pool in pools))


def _found(pool: Pool, change: Change) -> int:
    """Of 500 members, 300 of them with a copy among 1,000 controls, those that leave with it."""
    (members, _), (controls, _) = pool.drawn(2, 500, 700)
    pairs = _left_out(members, np.concatenate([change(members[:300]), controls]))
    return len({(i, i) for i in range(300)} & pairs)


def _left_out(members: Pixels, controls: Pixels) -> set[tuple[int, int]]:
    """Pairs of a member and its nearest near copy among the controls; exact repeats are left out before."""
    seen = {image.tobytes() for image in members}
    strangers = np.array([image.tobytes() not in seen for image in controls])
    kept = np.flatnonzero(strangers)
    vetted = vet(_sample(members), _sample(controls[kept]))
    near = [out for out in vetted.left_out if out.why == "near copy" and out.role == "member"]
    return {(int(out.id), int(kept[int(out.like)])) for out in near}


def kinds(pools: Sequence[Pool]) -> Iterator[str]:
    """The p-value of the blind classifier, controls prepared in several ways."""
    yield _row("controls", *(pool.name for pool in pools))
    yield _row("---", *("---:" for _ in pools))
    for name, prepared in _CONTROLS.items():
        yield _row(name, *(_p_value(pool, prepared) for pool in pools))


def _p_value(pool: Pool, prepared: Callable[[Pool, Pixels, Labels], tuple[Pixels, Labels | None]]) -> str:
    (members, labels), (controls, others) = pool.drawn(1, MEMBERS, CONTROLS)
    images, known = prepared(pool, controls, others)
    found = blind(_sample(members, None if known is None else labels), _sample(images, known), seed=0)
    return f"{found.test.p_value:.2g}"


def alarms(pools: Sequence[Pool], draws: int) -> Iterator[str]:
    """How often random parts of one collection are told apart."""
    yield _row(f"false alarms of {draws}", *(f"p <= {level}" for level in LEVELS))
    yield _row("---", *("---:" for _ in LEVELS))
    for pool in pools:
        p_values = []
        for seed in range(draws):
            members, controls = pool.drawn(10 + seed, 30, 60)
            p_values.append(blind(_sample(*members), _sample(*controls), seed=seed).test.p_value)
        yield _row(pool.name, *(sum(p <= level for p in p_values) for level in LEVELS))


def classes(draws: int) -> Iterator[str]:
    """How often another mix of ten classes is told apart, images being alike; and by the classes alone."""
    yield _row("five of ten classes", f"members, controls, of {draws}", "found", "chi-square alone")
    yield _row("---", "---", "---:", "---:")
    for name, weight, m in (("half as many", 0.5, 100), ("half as many", 0.5, 400), ("a quarter", 0.25, 100)):
        told = zip(*(_mixes(weight, m, CONTROLS, seed) for seed in range(draws)), strict=True)
        yield _row(name, f"{m}, {CONTROLS}", *(sum(p < LEVELS[0] for p in p_values) for p_values in told))


def _mixes(weight: float, m: int, k: int, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    weights = np.repeat([1.0, weight], 5)
    mixes = rng.integers(0, 10, m), rng.choice(10, k, p=weights / weights.sum())
    # Noise of four pixels: nothing else to tell by, and little to compute.
    parts = [_sample(rng.integers(0, 256, (len(mix), 2, 2), dtype=np.uint8), mix) for mix in mixes]
    counts = np.stack([np.bincount(mix, minlength=10) for mix in mixes])
    by_counts = chi2_contingency(counts[:, counts.any(axis=0)]).pvalue
    return blind(parts[0], parts[1], seed=seed).test.p_value, float(by_counts)


# ---- images ---------------------------------------------------------------------------------------------------------


def _sample(images: Pixels, labels: Labels | None = None) -> Sample:
    """As the product reads it, with a number in place of a name."""
    pixels = images if images.ndim == 4 else images[..., None]
    return Sample(
        images=torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255,
        ids=tuple(map(str, range(len(images)))),
        hashes=tuple(sha256(image.tobytes()).hexdigest() for image in images),
        labels=None if labels is None else torch.from_numpy(labels),
        sha256="",
    )


def _each(change: Callable[[Image.Image], Image.Image]) -> Change:
    return lambda images: np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def _jpeg(quality: int) -> Change:
    def change(picture: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return _each(change)


def _resized(side: int) -> Change:
    bilinear = Image.Resampling.BILINEAR
    return _each(lambda picture: picture.resize((side, side), bilinear).resize(picture.size, bilinear))


def _scaled(factor: float, plus: float = 0.0) -> Change:
    return lambda images: np.clip(images * factor + plus, 0, 255).round().astype(np.uint8)


def _unlabelled(change: Change) -> Callable[[Pool, Pixels, Labels], tuple[Pixels, None]]:
    return lambda _, images, labels: (change(images), None)


def _of_test_part(pool: Pool, images: Pixels, labels: Labels) -> tuple[Pixels, Labels]:
    index = np.random.default_rng(3).permutation(len(pool.test_images))[: len(images)]
    return pool.test_images[index], pool.test_labels[index]


def _rarer(_: Pool, images: Pixels, labels: Labels) -> tuple[Pixels, Labels]:
    """Every second image of classes 5 to 9 is dropped."""
    kept = (labels < 5) | (np.arange(len(labels)) % 2 == 0)
    return images[kept], labels[kept]


_COPIES: dict[str, Change] = {
    **{f"JPEG of quality {quality}": _jpeg(quality) for quality in (50, 75, 95)},
    "brighter by 5%": _scaled(1.05, 3),
    "shifted by a pixel": lambda images: np.roll(images, (1, -1), (1, 2)),
}
_CONTROLS: dict[str, Callable[[Pool, Pixels, Labels], tuple[Pixels, Labels | None]]] = {
    "as members": lambda _, images, labels: (images, labels),
    "official test part": _of_test_part,
    "JPEG of quality 90": _unlabelled(_jpeg(90)),
    "brighter by 2%": _unlabelled(_scaled(1.02)),
    "brighter by 5 levels": _unlabelled(_scaled(1, 5)),
    "resized to 48 pixels a side and back": _unlabelled(_resized(48)),
    "half as many of five classes": _rarer,
}


# ---- the command ----------------------------------------------------------------------------------------------------


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _pool(folder: Path, name: str) -> Pool:
    with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
        parts = [stored[key] for key in ("x_train", "y_train", "x_test", "y_test")]
    return Pool(name, parts[0], parts[1].astype(np.int64), parts[2], parts[3].astype(np.int64))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {', '.join(DATA_SETS)} as .npz files")
    parser.add_argument("--only", nargs="+", choices=("copies", "kinds", "alarms", "classes"), help="all unless given")
    parser.add_argument("--draws", type=int, default=10, help="of false alarms and of mixes of classes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
