"""Strides, paddings and pooling of a plain CNN: what fits, the conventional first (`solve`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditcli.families._patterns import kinds, paddings_like

if TYPE_CHECKING:
    from auditcli.families._dossier import Dossier

_LISTED = 4
_CANDIDATES = 64
"""At most so many answers to a question are listed for images to choose from."""
_STYLES = {"max": 0, "avg": 1, "max3s2p1": 1, "max3s2": 1}
"""What pooling is tried, and how much less usual it is."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A convolution and the place behind it."""

    kernel: tuple[int, int]
    width: int
    """Channels it returns."""
    pools: int | None = None
    """Modules behind it that can be pooling, with one an activation; None where names do not show it."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What convolution weights do not show; one entry a convolution."""

    strides: tuple[int, ...]
    paddings: tuple[int, ...]
    dilations: tuple[int, ...]
    pool: tuple[str, ...]
    """What follows the activation: `none`, `max` or `avg` (2 x 2), or such as `max3s2p1`."""
    final: str
    """`flatten`, or `average` over height and width, before the linear layers."""

    def flags(self) -> dict[str, str]:
        """The `--assume` values that state this geometry."""
        return {
            "strides": _short(self.strides),
            "paddings": _short(self.paddings),
            "dilations": _short(self.dilations),
            "pool": _short(self.pool),
            "final": self.final,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """A geometry that fits, and how unusual it is: 0 for what tutorials do."""

    geometry: Geometry
    rarity: int
    sides: tuple[int, int]
    """Height and width of the input it fits."""


def pooling(word: str) -> tuple[int, int, int]:
    """Kernel, stride and padding of a pooling word: 2, 2, 0 for `max`."""
    sizes = re.findall(r"\d+", word)
    kernel, stride, padding = (*map(int, sizes), *(0,) * (3 - len(sizes))) if sizes else (2, 2, 0)
    return kernel, stride, padding


def solve(
    dossier: Dossier, slots: Sequence[Slot], sides: Sequence[tuple[int, int]], features: int
) -> tuple[Geometry, tuple[int, int]]:
    """The geometry with which the convolutions return what the first linear layer reads, and the input's size.

    The least unusual that fits is taken where it is the only one of its kind, and listed as an assumption with the
    others that fit; else they are the candidates of a question.

    Args:
        dossier: Takes what is stated, and notes what is assumed.
        slots: In order.
        sides: Heights and widths of the input; one where it is stated, else the customary first.
        features: Width of the first linear layer.

    Raises:
        OpenQuestion: none fits, or more than one of the least unusual; the hint names flags that decide.
    """
    keys = ("strides", "paddings", "dilations", "pool")
    asked = {key: dossier.stated(key) for key in (*keys, "final")}
    known = {key: dossier.chosen(key) if value is None else value for key, value in asked.items()}
    stated = {key: _each(dossier, key, known[key], len(slots)) for key in keys}
    final: str | None = known["final"]
    fitting: list[Found] = []
    for size in sides:
        fitting = fitting or _fitting(slots, stated, final, size, features)
    shape = "x".join(map(str, sides[0]))
    if not fitting:
        raise dossier.open_question(
            f"no conventional strides, padding and pooling turn {shape} into the {features} values of the first linear "
            "layer",
            "--input-shape C,H,W, or --assume strides=.. --assume paddings=.. --assume pool=.. --assume final=..",
        )
    best = [found for found in fitting if found.rarity == fitting[0].rarity]
    if len(best) > 1:
        raise _several(dossier, fitting, len(best))
    chosen = best[0]
    for key, value in chosen.geometry.flags().items():
        if asked[key] is None and not (key == "dilations" and dossier.described):
            others = [found.geometry.flags()[key] for found in fitting[1:]]
            others += ["2"] if key == "dilations" and any(max(slot.kernel) > 1 for slot in slots) else []
            alternatives = [other for other in dict.fromkeys(others) if other != value]
            dossier.choose(key, value, key, why=_why(key, chosen, features), alternatives=alternatives[:_CANDIDATES])
    return chosen.geometry, chosen.sides


def _why(key: str, chosen: Found, features: int) -> str:
    if key == "dilations":
        return "customary; weights do not show it"
    usual = "the usual choice" if chosen.rarity == 0 else "the least unusual choice"
    zeros = ", with zeros at the borders" if key == "paddings" else ""
    return f"{usual} that turns {'x'.join(map(str, chosen.sides))} into {features} features{zeros}"


def _several(dossier: Dossier, fitting: Sequence[Found], count: int) -> Exception:
    flags = [found.geometry.flags() for found in fitting]
    differing = [key for key in flags[0] if len({each[key] for each in flags[:count]}) > 1]
    listed = "; or ".join(
        " ".join(f"--assume {key}={each[key]}" for key in differing) for each in flags[: min(count, _LISTED)]
    )
    more = f"; and {count - _LISTED} more" if count > _LISTED else ""
    size = "x".join(map(str, fitting[0].sides))
    return dossier.open_question(
        f"{count} conventional geometries fit an input of {size}, and weights do not show which",
        listed + more,
        flags[:_CANDIDATES],
    )


def _each(dossier: Dossier, key: str, value: Any, count: int) -> tuple[Any, ...] | None:
    """A stated list, one entry a convolution; a single entry stands for all."""
    if value is None:
        return None
    if len(value) not in {1, count}:
        raise dossier.open_question(f"{len(value)} {key} for {count} convolutions", f"--assume {key}=A/B/..., one each")
    return tuple(value) * (count if len(value) == 1 else 1)


def _fitting(
    slots: Sequence[Slot],
    stated: Mapping[str, tuple[Any, ...] | None],
    final: str | None,
    size: tuple[int, int],
    features: int,
) -> list[Found]:
    """All that fit, the least unusual first, each geometry once."""
    found: dict[Geometry, Found] = {}
    for geometry, rarity in _tried(slots, stated, final):
        if _fits(geometry, slots, size, features):
            known = found.get(geometry)
            if known is None or rarity < known.rarity:
                found[geometry] = Found(geometry, rarity, size)
    return sorted(found.values(), key=lambda one: one.rarity)


def _tried(
    slots: Sequence[Slot], stated: Mapping[str, tuple[Any, ...] | None], final: str | None
) -> Iterator[tuple[Geometry, int]]:
    """Geometries to try, with how unusual they are."""
    dilations = stated["dilations"] or (1,) * len(slots)
    finals = [final] if final else ["flatten", "average"]
    rooms = [slot.pools for slot in slots]
    for end in finals:
        # Averaging takes a module of its own behind the last convolution.
        last = None if rooms[-1] is None else rooms[-1] - (end == "average")
        if last is not None and last < 0 and not final:
            continue
        places = [*slots[:-1], Slot(slots[-1].kernel, slots[-1].width, None if last is None else max(0, last))]
        for downs, rarity in kinds([(place.kernel, place.width, place.pools) for place in places]):
            for strides, pool, style in _strides_and_pools(slots, downs, stated):
                for paddings, more in _paddings(slots, strides, dilations, stated, averaged=end == "average"):
                    yield Geometry(strides, paddings, dilations, pool, end), rarity + style + more


def _strides_and_pools(
    slots: Sequence[Slot], downs: Sequence[str], stated: Mapping[str, tuple[Any, ...] | None]
) -> Iterator[tuple[tuple[int, ...], tuple[str, ...], int]]:
    """Strides and pooling that a pattern stands for, where it agrees with what is stated."""
    strides = stated["strides"]
    pool = stated["pool"]
    drawn = tuple(2 if down == "stride" else 1 for down in downs)
    pooled = tuple(down == "pool" for down in downs)
    if strides is not None and pool is not None:
        yield strides, pool, 0
        return
    if strides is not None and any((a > 1) != (b > 1) for a, b in zip(strides, drawn, strict=True)):
        return
    if pool is not None and any((word != "none") != has for word, has in zip(pool, pooled, strict=True)):
        return
    styles = _STYLES if any(pooled) and pool is None else {"max": 0}
    for style, rarity in styles.items():
        words = pool or tuple(style if has else "none" for has in pooled)
        yield strides or drawn, words, rarity
        if strides is None and downs[0] == "stride" and min(slots[0].kernel) >= 4:
            # Patches, and the steps of half a kernel that large first kernels take.
            for step in {slots[0].kernel[0], slots[0].kernel[0] // 2} - {2}:
                rest = tuple(max(1, slot.kernel[0] // 2) for slot in slots[1:])
                yield (step, *drawn[1:]), words, rarity + 1
                yield (step, *rest), words, rarity + 2


def _paddings(
    slots: Sequence[Slot],
    strides: Sequence[int],
    dilations: Sequence[int],
    stated: Mapping[str, tuple[Any, ...] | None],
    *,
    averaged: bool,
) -> Iterator[tuple[tuple[int, ...], int]]:
    if stated["paddings"] is not None:
        yield stated["paddings"], 0
        return
    yield from paddings_like([slot.kernel[0] for slot in slots], strides, dilations, averaged=averaged)


def _fits(geometry: Geometry, slots: Sequence[Slot], size: tuple[int, int], features: int) -> bool:
    height, width = size
    for index, slot in enumerate(slots):
        stride, dilation = geometry.strides[index], geometry.dilations[index]
        height, width = (
            (side + 2 * geometry.paddings[index] - dilation * (kernel - 1) - 1) // stride + 1
            for side, kernel in zip((height, width), slot.kernel, strict=True)
        )
        if geometry.pool[index] != "none" and min(height, width) > 0:
            kernel, step, padding = pooling(geometry.pool[index])
            if 2 * padding > kernel:
                return False
            height, width = ((side + 2 * padding - kernel) // step + 1 for side in (height, width))
        if min(height, width) < 1:
            return False
    if geometry.final == "average":
        # Over a single pixel the average changes nothing: that is the flattened case.
        return features == slots[-1].width and height * width > 1
    return features == slots[-1].width * height * width


def _short(values: Sequence[object]) -> str:
    return str(values[0]) if len(set(values)) == 1 else "/".join(map(str, values))
