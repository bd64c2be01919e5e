"""Gradients of the margin with respect to the weights, one an image. Public names: `Gradients`, `margin_gradients`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from auditcli.membership._logits import chosen, margins, per_class

if TYPE_CHECKING:
    from torch import Tensor, nn

    from auditcli.membership._signal import Query

Margin = Callable[[dict[str, "Tensor"], "Tensor", "Tensor"], "Tensor"]
"""Weights, one image and its class -> margin."""

_NUMBERS = 2**24
"""Most numbers in the gradients of one batch."""
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Gradients:
    """What one batch of b images gives."""

    margins: Tensor
    """(b,) of the class each image is scored by."""
    by_name: Mapping[str, Tensor]
    """For each trained tensor of the module, (b, *shape)."""


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a module that training moves, by name and detached."""
    return {name: value.detach() for name, value in module.named_parameters() if value.is_floating_point()}


def margin_gradients(query: Query) -> Iterator[Gradients]:
    """Margins of the queried images and their gradients with respect to all weights, batch by batch.

    Batch norm and the like are in eval mode, so that images do not see each other. The images of a batch go through
    the network together by `torch.vmap`; a network that it cannot follow is asked about one image at a time.

    Args:
        query: Of any classifier; without labels the predicted class stands for them.

    Yields:
        One batch after the other, in the order of the images.

    Raises:
        AttackError: the time is up.
    """
    module, weights = query.target.module, weights_of(query.target.module)
    size = sum(value.numel() for value in weights.values())
    at_once = max(1, min(_BATCH, _NUMBERS // max(1, size)))

    def margin(values: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = per_class(functional_call(module, values, (image[None],)))
        return margins(logits, label[None])[0]

    together = at_once > 1
    # The fast kernels of attention know no vmap, and its slower ways around missing rules are announced by warnings.
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for images, labels in query.batches(at_once):
            with torch.no_grad():
                classes = chosen(per_class(query.target(images)), labels)
            if together:
                try:
                    found = _together(margin, weights, images, classes)
                except (RuntimeError, ValueError, TypeError, NotImplementedError):
                    together = False
            yield found if together else _singly(margin, weights, images, classes)


def _together(margin: Margin, weights: dict[str, Tensor], images: Tensor, classes: Tensor) -> Gradients:
    by_name, values = vmap(grad_and_value(margin), in_dims=(None, 0, 0))(weights, images, classes)
    return Gradients(values.detach(), {name: value.detach() for name, value in by_name.items()})


def _singly(margin: Margin, weights: dict[str, Tensor], images: Tensor, classes: Tensor) -> Gradients:
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    values, gradients = [], []
    with torch.enable_grad():
        for image, label in zip(images, classes, strict=True):
            value = margin(leaves, image, label)
            gradients.append(torch.autograd.grad(value, list(leaves.values()), materialize_grads=True))
            values.append(value.detach())
    stacked = [torch.stack(each) for each in zip(*gradients, strict=True)]
    return Gradients(torch.stack(values), dict(zip(leaves, stacked, strict=True)))
