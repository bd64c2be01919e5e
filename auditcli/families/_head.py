"""The linear layers at the end of a published network, one or a sequence: `Head`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from auditcli.families._activations import activation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_WIDEST_GAP = 3


@dataclass(frozen=True, slots=True)
class Head:
    """One linear layer, or several in an `nn.Sequential` with an activation (and dropout) between them."""

    name: str
    layers: tuple[tuple[int, int], ...]
    """Place in the sequence and width of each linear layer; a single layer that is no sequence has place -1."""
    inputs: int
    """What the first layer reads; 0 where there is none."""
    bias: bool

    @property
    def outputs(self) -> int:
        """Of the last layer."""
        return self.layers[-1][1]

    def module(self, inputs: int, act: str) -> nn.Module:
        """Features (n, inputs) -> logits (n, outputs).

        Places that hold no weights are those of dropout, and, between two layers, of one activation.
        """
        if self.layers[0][0] < 0:
            return nn.Linear(inputs, self.outputs, bias=self.bias)
        modules: list[nn.Module] = [nn.Identity() for _ in range(self.layers[-1][0] + 1)]
        for place, width in self.layers:
            modules[place] = nn.Linear(inputs, width, bias=self.bias)
            inputs = width
        for (place, _), (after, _) in pairwise(self.layers):
            if after - place > 1:
                modules[place + 1] = activation(act)
        return nn.Sequential(*modules)


def head(state: Mapping[str, Tensor], name: str) -> Head | None:
    """The head of that name; of one output where it is missing, so that a comparison can say so.

    None where a layer is empty, or their places are no sequence of linear layers, activations and dropout.
    """
    single = state.get(f"{name}.weight")
    places = {
        int(place): tensor
        for key, tensor in state.items()
        if key.startswith(f"{name}.") and key.endswith(".weight")
        if (place := key.removeprefix(f"{name}.").removesuffix(".weight")).isdecimal() and len(place) < 3
    }
    layers = sorted(places.items()) if single is None else [(-1, single)]
    if any(tensor.ndim != 2 or not tensor.numel() for _, tensor in layers):
        return None
    if layers and layers[0][0] > _WIDEST_GAP - 1:
        return None
    if any(after - before > _WIDEST_GAP for (before, _), (after, _) in pairwise(layers)):
        return None
    if not layers:
        return Head(name, ((-1, 1),), 0, bias=True)
    bias = any(key.startswith(f"{name}.") and key.endswith(".bias") for key in state)
    return Head(name, tuple((place, len(tensor)) for place, tensor in layers), layers[0][1].shape[1], bias)
