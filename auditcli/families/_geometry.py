"""Strides, paddings and pooling of a plain CNN: stated, or the only conventional choice that fits (`solve`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditcli.families._dossier import Dossier

_LISTED = 4


@dataclass(frozen=True, slots=True)
class Geometry:
    """What convolution weights do not show; one entry a convolution."""

    strides: tuple[int, ...]
    paddings: tuple[int, ...]
    pool: tuple[str, ...]
    """`none`, `max` or `avg` (2 x 2) behind the activation."""
    final: str
    """`flatten`, or `average` over height and width, before the linear layers."""

    def flags(self) -> dict[str, str]:
        """The `--assume` values that state this geometry."""
        return {
            "strides": _short(self.strides),
            "paddings": _short(self.paddings),
            "pool": _short(self.pool),
            "final": self.final,
        }


def solve(
    dossier: Dossier, kernels: Sequence[tuple[int, ...]], input_shape: tuple[int, int, int], features: int
) -> Geometry:
    """The geometry with which the convolutions return what the first linear layer reads.

    Args:
        dossier: Takes what is stated, and notes what is assumed.
        kernels: Shapes (out, in, height, width) in order.
        input_shape: Channels, height, width.
        features: Width of the first linear layer.

    Raises:
        UnknownModel: no conventional geometry fits, or more than one; the hint names flags that decide.
    """
    stated = {key: _each(dossier, key, dossier.stated(key), len(kernels)) for key in ("strides", "paddings", "pool")}
    final: str | None = dossier.stated("final")
    fitting = [
        geometry
        for geometry in _conventional(stated, final, kernels)
        if _fits(geometry, kernels, input_shape, features)
    ]
    shape = "x".join(map(str, input_shape))
    if not fitting:
        raise dossier.open_question(
            f"no conventional strides, padding and pooling turn {shape} into the {features} values of the first linear "
            "layer",
            "--input-shape C,H,W, or --assume strides=.. --assume paddings=.. --assume pool=.. --assume final=..",
        )
    if len(fitting) > 1:
        listed = "; or ".join(_difference(geometry, fitting) for geometry in fitting[:_LISTED])
        more = f"; and {len(fitting) - _LISTED} more" if len(fitting) > _LISTED else ""
        raise dossier.open_question(
            f"{len(fitting)} conventional geometries fit an input of {shape}, and weights do not show which",
            listed + more,
        )
    for key, value in fitting[0].flags().items():
        if (final if key == "final" else stated[key]) is None:
            why = f"the only conventional choice that fits {shape} and {features} features"
            dossier.assume(key, value, why=why, flag=f"--assume {key}=...")
    return fitting[0]


def _each(dossier: Dossier, key: str, value: Any, count: int) -> tuple[Any, ...] | None:
    """A stated list, one entry a convolution; a single entry stands for all."""
    if value is None:
        return None
    if len(value) not in {1, count}:
        raise dossier.open_question(f"{len(value)} {key} for {count} convolutions", f"--assume {key}=A/B/..., one each")
    return tuple(value) * (count if len(value) == 1 else 1)


def _conventional(
    stated: dict[str, tuple[Any, ...] | None], final: str | None, kernels: Sequence[tuple[int, ...]]
) -> list[Geometry]:
    count = len(kernels)
    strides = [stated["strides"]] if stated["strides"] else [(1,) * count, (2,) * count, (1, *(2,) * (count - 1))]
    same = tuple(kernel[2] // 2 for kernel in kernels)
    paddings = [stated["paddings"]] if stated["paddings"] else [same, (0,) * count]
    alternating = tuple("max" if index % 2 else "none" for index in range(count))
    pools = [stated["pool"]] if stated["pool"] else [("none",) * count, ("max",) * count, alternating]
    finals = [final] if final else ["flatten", "average"]
    geometries = (Geometry(*choice) for choice in product(strides, paddings, pools, finals))
    return list(dict.fromkeys(geometries))


def _fits(
    geometry: Geometry, kernels: Sequence[tuple[int, ...]], input_shape: tuple[int, int, int], features: int
) -> bool:
    height, width = input_shape[1:]
    for kernel, stride, padding, pool in zip(kernels, geometry.strides, geometry.paddings, geometry.pool, strict=True):
        height = (height + 2 * padding - kernel[2]) // stride + 1
        width = (width + 2 * padding - kernel[3]) // stride + 1
        if pool != "none":
            height, width = height // 2, width // 2
        if min(height, width) < 1:
            return False
    channels = kernels[-1][0]
    if geometry.final == "average":
        # Over a single pixel the average changes nothing: that is the flattened case.
        return features == channels and height * width > 1
    return features == channels * height * width


def _difference(geometry: Geometry, others: Sequence[Geometry]) -> str:
    """The flags in which the candidates differ, as this one has them."""
    differing = [key for key in geometry.flags() if len({other.flags()[key] for other in others}) > 1]
    return " ".join(f"--assume {key}={geometry.flags()[key]}" for key in differing)


def _short(values: Sequence[object]) -> str:
    return str(values[0]) if len(set(values)) == 1 else "/".join(map(str, values))
