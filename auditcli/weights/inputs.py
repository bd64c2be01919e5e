"""From pixels to what the first layer reads. Public names: `flat_inputs`, `flat_normalisation`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import DenseStack, Normalisation, Profile


def flat_inputs(dense: DenseStack, normalisation: Normalisation, images: Tensor) -> Tensor:
    """Images (n, c, h, w) in [0, 1] as flat inputs (n, d) of the first layer, in the precision of its weights."""
    mean, std = (
        torch.tensor(values, device=images.device)[:, None, None] for values in (normalisation.mean, normalisation.std)
    )
    return ((images - mean) / std).flatten(1).to(dense.weights[0].dtype)


def flat_normalisation(profile: Profile, like: Tensor) -> tuple[Tensor, Tensor]:
    """The mean image, which the network reads as zeros, and the standard deviation of each pixel, (d,) both.

    Args:
        profile: Of the target.
        like: Something of the device and the precision that is wanted.
    """
    channels, height, width = profile.input_shape
    mean, std = (
        torch.tensor(values, dtype=like.dtype, device=like.device).expand(channels).repeat_interleave(height * width)
        for values in (profile.normalisation.mean, profile.normalisation.std)
    )
    return mean, std
