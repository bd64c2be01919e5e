"""How hard an audit tries: what `--profile` stands for. Public names: `Effort`, `EFFORTS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from auditcli.types import Budget

ProfileName = Literal["quick", "standard", "deep"]


@dataclass(frozen=True, slots=True)
class Effort:
    """Limits that make an audit reproducible; its seconds are only a ceiling above them."""

    steps: int
    candidates: int
    restarts: int
    shuffles: int
    """Shuffled copies of the weights in the permutation test; the least p-value is `1 / (shuffles + 1)`."""
    shuffle_steps: int
    """Steps of each run of that test, on the true weights and on the shuffled ones."""

    def budget(self, seconds: float) -> Budget:
        """The budget of one attack with a ceiling of `seconds`."""
        return Budget(steps=self.steps, seconds=seconds, candidates=self.candidates, restarts=self.restarts)

    def trial(self, seconds: float) -> Budget:
        """The budget of one run of the permutation test: one restart of few steps."""
        return Budget(steps=self.shuffle_steps, seconds=seconds, candidates=self.candidates, restarts=1)


EFFORTS: Mapping[str, Effort] = MappingProxyType(
    {
        "quick": Effort(steps=800, candidates=96, restarts=2, shuffles=19, shuffle_steps=60),
        "standard": Effort(steps=1200, candidates=128, restarts=2, shuffles=19, shuffle_steps=120),
        "deep": Effort(steps=4000, candidates=512, restarts=6, shuffles=99, shuffle_steps=300),
    }
)
