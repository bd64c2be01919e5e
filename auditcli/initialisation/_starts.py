"""Where an attack may begin. Public names: `Start`, `own`, `held_out`, `near`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auditcli.initialisation._result import Kind

if TYPE_CHECKING:
    from auditcli.types import Sample, Target


@dataclass(frozen=True, slots=True)
class Start:
    """Images to begin from, or the attack's own."""

    name: str
    kind: Kind
    images: Tensor | None = None
    """(k, c, h, w) in [0, 1]; None for the attack's own."""
    classes: Tensor | None = None
    """(k,) int64 class of each."""
    noise: float = 0.0
    """Standard deviation of the noise that is added to them, in pixel units."""

    def drawn(self, n: int, classes: int, rng: torch.Generator) -> Tensor | None:
        """N of the images with their noise, the i-th of class i modulo the classes where there is one.

        An attack guesses as many candidates of each class as of any other, in turn, and images of another class than
        the candidate that begins from them would be pushed away from what they are. Images are used again where they
        are too few.

        Args:
            n: Images wanted.
            classes: Of the model.
            rng: Of the noise, drawn on the CPU.
        """
        if self.images is None or self.classes is None:
            return None
        # A class without an image borrows those of all.
        everyone = torch.arange(len(self.images))
        groups = [torch.nonzero(self.classes == label).flatten() for label in range(classes)]
        groups = [group if len(group) else everyone for group in groups]
        index = torch.stack([groups[i % classes][i // classes % len(groups[i % classes])] for i in range(n)])
        images = self.images[index]
        return (images + self.noise * torch.randn(images.shape, generator=rng)).clamp(0, 1)


def own() -> Start:
    """The attack's own random images."""
    return Start("noise", Kind.OWN)


def held_out(sample: Sample, target: Target) -> Start:
    """Real images that the model never saw."""
    return Start("held-out images", Kind.HELD_OUT, sample.images, _classes(sample, target))


def near(sample: Sample, target: Target, noise: float) -> Start:
    """Images that are believed to be training images, with noise of this standard deviation in pixel units."""
    return Start(f"near, noise {noise:g}", Kind.NEAR, sample.images, _classes(sample, target), noise)


def _classes(sample: Sample, target: Target) -> Tensor:
    """Labels where the sample has them, else what the model says."""
    if sample.labels is not None:
        return sample.labels
    device = target.device
    with torch.no_grad():
        logits = target(sample.images.to(device)).cpu()
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)
