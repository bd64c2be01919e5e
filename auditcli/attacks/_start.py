"""Where the images of an attack begin: around the mean image, or at given images. Public name: `begin`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_TIE = 0.01
"""Share of the noise that is left around given images: restarts must differ, and an image must stay what it is."""


def begin(noise: Tensor, mean: Tensor, initial: Tensor | None) -> Tensor:
    """Starting images as offsets (r, n, d) from the mean image, in pixel units.

    Args:
        noise: (r, n, d) drawn on the CPU.
        mean: (d,) pixels of the mean image, on the device of the target.
        initial: At least n images (m, c, h, w) in [0, 1] to begin from, of which the first n are taken; or None.
    """
    noise = noise.to(mean)
    if initial is None:
        return noise
    return initial.to(mean).flatten(1)[: noise.shape[1]] - mean + _TIE * noise
