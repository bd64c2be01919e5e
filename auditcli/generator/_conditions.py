"""What a generator is asked for: a vector and a matrix that both mean a class. Public name: `Conditions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SPREAD = 3.0
"""Standard deviation of the Gaussian behind a vector: at ten classes the largest entry is 0.66 on average, and 0.32 at
the 1 of a standard normal, where KL and CE ask for different things."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What n images are conditioned on.

    Reference:
        Suhail and Sethi, arXiv:2502.00760: an N-dimensional Gaussian through a softmax, whose argmax is the label, and
        an N x N matrix with the row and the column of the class set.
    """

    vectors: Tensor
    """(n, classes), each row a distribution over the classes."""
    labels: Tensor
    """(n,) int64, the argmax of each row."""

    @classmethod
    def draw(cls, n: int, classes: int, rng: torch.Generator, *, spread: float = SPREAD, first: int = 0) -> Conditions:
        """Conditions for n images, balanced over the classes in turn: 0, 1, ..., 0, 1, ...

        Args:
            n: At least 1.
            classes: N, at least 2.
            rng: Of the Gaussian.
            spread: Its standard deviation; the larger, the more certain the target is asked to be.
            first: Of how many images the turns went on before, so that batches smaller than N miss no class.
        """
        return cls.of(torch.arange(first, first + n) % classes, classes, rng, spread=spread)

    @classmethod
    def of(
        cls, labels: Tensor | Sequence[int], classes: int, rng: torch.Generator, *, spread: float = SPREAD
    ) -> Conditions:
        """Conditions with these labels (n,), each in [0, classes).

        A Gaussian vector whose largest entry changes places with that of the label has the distribution of a Gaussian
        vector with its argmax there, so that balance costs no randomness.
        """
        labels = torch.as_tensor(labels, dtype=torch.int64)
        drawn = torch.randn(len(labels), classes, generator=rng) * spread
        rows, top = torch.arange(len(labels)), drawn.argmax(dim=1)
        largest, other = drawn[rows, top], drawn[rows, labels]
        drawn[rows, top] = other
        drawn[rows, labels] = largest
        return cls(drawn.softmax(dim=1), labels)

    @property
    def classes(self) -> int:
        """N."""
        return self.vectors.shape[1]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Conditions:
        """The same on a device."""
        return Conditions(self.vectors.to(device), self.labels.to(device))

    def matrices(self, size: tuple[int, int]) -> Tensor:
        """The hot matrices (n, 1, *size): ones in the row and in the column of the class, zeros elsewhere.

        At a size of N x N they are those of the paper; at another, class y has row `y * height // N` and so on, for
        images with fewer pixels a side than there are classes.
        """
        height, width = size
        rows = torch.arange(height, device=self.labels.device) == (self.labels * height // self.classes)[:, None]
        columns = torch.arange(width, device=self.labels.device) == (self.labels * width // self.classes)[:, None]
        return (rows[:, :, None] | columns[:, None, :]).to(self.vectors.dtype)[:, None]
