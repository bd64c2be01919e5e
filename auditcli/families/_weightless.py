"""Parts without weights that published networks share: `Shortcut`, `global_pool` and how it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier


class Shortcut(nn.Module):
    """What stands beside a block and has no weights: the input itself, or the input made to fit.

    `pad` adds channels of zeros in front and behind (as common code for CIFAR-10 does), `pad-end` behind alone (as He
    et al. 2015, option A, is also read); with stride s, every s-th pixel is kept. `none` leaves the shortcut out.
    """

    def __init__(self, kind: str, channels: int, outer: int, stride: int) -> None:
        super().__init__()
        missing = outer - channels
        front = 0 if kind == "pad-end" else missing // 2
        self.padding = (0, 0, 0, 0, front, missing - front)
        self.kind, self.stride = kind, stride

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, outer, h / stride, w / stride), or a single zero."""
        if self.kind == "none":
            return x.new_zeros(())
        kept = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(kept, self.padding) if any(self.padding) else kept


def global_pool(kind: str) -> nn.Module:
    """Average (`avg`) or maximum (`max`) over height and width: (n, c, h, w) -> (n, c)."""
    return nn.Sequential(nn.AdaptiveMaxPool2d(1) if kind == "max" else nn.AdaptiveAvgPool2d(1), nn.Flatten())


def settled_pool(dossier: Dossier) -> str:
    """How height and width are pooled before the classifier: as stated, else by average, listed as an assumption."""
    what, why = "pooling before the classifier", "customary; weights show that height and width are pooled, not how"
    kind: str = dossier.settle("global_pool", "avg", what, why=why, alternatives=("max",))
    return kind
