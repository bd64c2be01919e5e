"""One explicit pass forward and back through a dense network, behind its first linear layer.

Public names: `Pass`, `backward`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from auditcli.weights.activation import activate, smooth_step

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import DenseStack


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass forward and one back leave at every linear layer."""

    inputs: tuple[Tensor, ...]
    """(n, in) of each layer but the first."""
    outputs: tuple[Tensor, ...]
    """(n, out) of each layer, before the activation; the last are the logits."""
    gradients: tuple[Tensor, ...]
    """(n, out) of what is differentiated, with respect to these outputs."""
    arriving: tuple[Tensor, ...]
    """(n, out) the same behind the activation of each layer but the last."""
    steps: tuple[Tensor, ...]
    """(n, out) smoothed step of that activation."""


def backward(dense: DenseStack, first: Tensor, pull: Callable[[Tensor], Tensor], *, sharpness: float) -> Pass:
    """One pass forward from the output of the first linear layer, and one back to it; it can be differentiated.

    Args:
        dense: The network.
        first: (n, h) output of the first linear layer, before the activation.
        pull: Logits (n, outputs) to the gradient at the logits of what is differentiated.
        sharpness: Of the smoothed step of a ReLU, see `margin_gradients`.
    """
    inputs: list[Tensor] = []
    outputs = [first]
    for weight, bias in zip(dense.weights[1:], dense.biases[1:], strict=True):
        inputs.append(activate(dense.activation, outputs[-1]))
        outputs.append(nn.functional.linear(inputs[-1], weight, bias))
    gradients = [pull(outputs[-1])]
    arriving: list[Tensor] = []
    steps: list[Tensor] = []
    for weight, z in zip(reversed(dense.weights[1:]), reversed(outputs[:-1]), strict=True):
        arriving.append(gradients[-1] @ weight)
        steps.append(smooth_step(dense.activation, z, sharpness))
        gradients.append(arriving[-1] * steps[-1])
    turned = (tuple(reversed(found)) for found in (gradients, arriving, steps))
    return Pass(tuple(inputs), tuple(outputs), *turned)
