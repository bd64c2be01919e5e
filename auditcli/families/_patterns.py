"""Where people put strides, pooling and padding in a plain CNN, and how usual each way is: `kinds`, `paddings_like`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

Place = tuple[tuple[int, int], int, int | None]
"""Kernel (height, width), channels returned, and modules behind it that can be pooling (None: not known)."""

_ALL_OF = 5
"""Up to so many convolutions, irregular patterns are tried too."""


def kinds(places: Sequence[Place]) -> Iterator[tuple[tuple[str, ...], int]]:
    """What each convolution does, `plain`, `stride` or `pool`, with a rarity: 0 for what tutorials do.

    Names that show room for pooling, or none, count more than regularity.
    """
    count = len(places)
    regular = _regular([width for _, width, _ in places])
    tried: dict[tuple[str, ...], None] = {}
    for positions in regular:
        for kind in ("pool", "stride"):
            tried[_shown(tuple(kind if index in positions else "plain" for index in range(count)), places)] = None
            tried[tuple(kind if index in positions else "plain" for index in range(count))] = None
    if count <= _ALL_OF:
        tried |= dict.fromkeys(product(("plain", "pool", "stride"), repeat=count))
    for downs in tried:
        if all(room != 0 for (_, _, room), down in zip(places, downs, strict=True) if down == "pool"):
            yield downs, _rarity(downs, places, regular)


def _shown(downs: Sequence[str], places: Sequence[Place]) -> tuple[str, ...]:
    """With pooling where names show room for it, and none where they show that there is none."""
    return tuple(
        down if room is None else "pool" if room else ("plain" if down == "pool" else down)
        for down, (_, _, room) in zip(downs, places, strict=True)
    )


def _regular(widths: Sequence[int]) -> list[frozenset[int]]:
    """Positions at which networks make their maps smaller."""
    count = len(widths)
    ends = {index for index in range(count - 1) if widths[index + 1] != widths[index]}
    starts = {index + 1 for index in ends}
    choices = [
        set(range(count)),
        set(),
        {count - 1},
        {0},
        set(range(1, count, 2)),
        set(range(0, count, 2)),
        set(range(count - 1)),
        set(range(1, count)),
        ends,
        ends | {count - 1},
        starts,
        starts | {0},
    ]
    return list(dict.fromkeys(frozenset(choice) for choice in choices))


def _rarity(downs: Sequence[str], places: Sequence[Place], regular: Sequence[frozenset[int]]) -> int:
    rooms = [room for _, _, room in places]
    unused = sum(bool(room) and down != "pool" for room, down in zip(rooms, downs, strict=True))
    pointwise = sum(max(kernel) == 1 and down == "stride" for (kernel, _, _), down in zip(places, downs, strict=True))
    mixed = "pool" in downs and "stride" in downs
    irregular = 0
    for kind in ("pool", "stride"):
        positions = {index for index, down in enumerate(downs) if down == kind}
        shown = all(rooms[index] for index in positions) and not any(
            room for index, room in enumerate(rooms) if index not in positions
        )
        if positions and not shown and frozenset(positions) not in regular:
            irregular += 1
    return unused + pointwise + mixed + irregular


def paddings_like(
    kernels: Sequence[int], strides: Sequence[int], dilations: Sequence[int], *, averaged: bool
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Paddings that people use with these kernels, with a rarity.

    Where the maps are averaged, sizes say nothing of the padding, and what keeps them is the usual choice.
    """
    same = tuple((kernel - 1) * dilation // 2 for kernel, dilation in zip(kernels, dilations, strict=True))
    none = (0,) * len(kernels)
    yield same, 0
    if same == none:
        return
    yield none, int(averaged)
    # Patches are cut without padding; LeNet pads its first 5 x 5 alone, for digits of 28 x 28.
    patched = tuple(0 if kernel == stride else pad for kernel, stride, pad in zip(kernels, strides, same, strict=True))
    if patched != same:
        yield patched, 0
    if len(kernels) > 1:
        yield (same[0], *none[1:]), int(averaged or kernels[0] != 5)
