"""A hand-written classifier to be saved bare (`Case`), and how (`saved`)."""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

GREY, COLOUR = (1, 28, 28), (3, 32, 32)


@dataclass(frozen=True, slots=True)
class Case:
    """A module to be saved as a bare state dict."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    truth: Mapping[str, str] = field(default_factory=dict)
    """What its author would state by --assume, and what cannot be stated: a `graph` that is no row of layers, ..."""
    prefix: str = ""
    """Before every name, as nn.DataParallel puts it."""
    probabilities: bool = False
    """Whether it ends in a (log-)softmax: compared are log-probabilities."""


def saved(case: Case, seed: int = 0) -> tuple[nn.Module, dict[str, Tensor]]:
    """The module with random weights of trained size and random running statistics, and what its author would save."""
    torch.manual_seed(seed)
    module = case.make()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.fill_(100)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                tensor.normal_(0, 0.3)
            elif name.endswith(".pe"):
                continue
            elif tensor.ndim == 1:
                tensor.normal_(1.0 if _scales(module, name) else 0.0, 0.2)
            else:
                tensor.normal_(0, (1.5 / max(1, tensor[0].numel())) ** 0.5 if tensor.ndim in {2, 4} else 0.3)
    return module.eval(), {case.prefix + name: tensor.clone() for name, tensor in module.state_dict().items()}


def _scales(module: nn.Module, name: str) -> bool:
    owner, _, part = name.rpartition(".")
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
    return part == "weight" and isinstance(module.get_submodule(owner), norms)


class Functional(nn.Module):
    """Layers as attributes, and a forward function beside them."""

    def __init__(self, run: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, c, h, w) -> logits."""
        return self.run(self, x)
