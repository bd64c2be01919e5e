"""A network cut before its last fully connected layers: `detached`, `Features`.

Where a network was trained by transfer learning, the layers before the cut are the frozen backbone and those behind it
the head. Whether that is how it was trained is not in a file; the cut exists all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import enable_reentrant_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from auditcli.families._chain import TOLERANCE, disagreement, last_chains
from auditcli.families._dense import head
from auditcli.families._marks import PRODUCTS, tensors_in
from auditcli.families._traits import family_of
from auditcli.types import Family, Head

if TYPE_CHECKING:
    from torch import Tensor, nn

    from auditcli.families._pixels import FromPixels
    from auditcli.families._trace import Trace

_CONTRASTS = (0.3, 1.0, 10.0)
"""Of the images on which a cut is verified, so different that most activations show."""


@dataclass(frozen=True, slots=True)
class Features:
    """What one linear layer of a model reads, whoever wrote the model."""

    module: nn.Module
    weight: Tensor = field(repr=False)
    """Of the layer, (out, features), in the memory where the model itself has it."""

    def __call__(self, images: Tensor) -> Tensor:
        """Features (n, f) of images (n, c, h, w)."""
        return self.with_outputs(images)[0]

    def with_outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, f) of images (n, c, h, w), and what the model returns for them.

        Raises:
            ValueError: the layer does not run once, on one vector an image.
        """
        with _Reader(self.weight) as reader:
            outputs: Tensor = self.module(images)
        shapes = [tuple(read.shape) for read in reader.read]
        if shapes != [(len(images), self.weight.shape[1])]:
            raise ValueError(f"a layer reads {shapes} for {len(images)} images; one vector an image was expected")
        return reader.read[0], outputs


class _Reader(TorchDispatchMode):
    """Notes what is multiplied by a weight, told by its memory: a transposed view of it is still the weight."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weight = weight
        self.read: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled, and torch would import its compiler for seconds to say so."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__.split(".")[0] in PRODUCTS:
            operands = [tensor for tensor in tensors_in(args) if tensor.ndim == 2]
            if len(operands) > 1 and self._is_weight(operands[-1]):
                # An activation may write over it before the network returns.
                with enable_reentrant_dispatch():  # or no derivative would reach what was read
                    self.read.append(operands[-2].clone())
        return func(*args, **(kwargs or {}))

    def _is_weight(self, tensor: Tensor) -> bool:
        return tensor.data_ptr() == self.weight.data_ptr() and tensor.numel() == self.weight.numel()


def detached(module: FromPixels, seen: Trace) -> Head | None:
    """The linear layers at the end of a network, with one activation between them, on one vector of features an image.

    Args:
        module: In eval mode.
        seen: Trace of its network on `noise`.

    Returns:
        As many last layers as can be, verified against the network on images of three contrasts; None where it does
        not end in such a layer, or holds no other kind: then the features would be pixels, or hidden units.
    """
    chains = last_chains(seen)
    if not chains or family_of(seen)[0] is Family.MLP:
        return None
    features = Features(module, chains[0].layers[0].weight)
    contrasts = torch.tensor(_CONTRASTS, device=module.mean.device).view(-1, 1, 1, 1)
    with torch.no_grad():
        try:
            read, outputs = features.with_outputs(contrasts * module.std * seen.images + module.mean)
        except ValueError:
            return None
        fitting = [chain for chain in chains if _returns(head(chain).eval()(read), outputs)]
    # Activations that no number tells apart are the same function there.
    dense = fitting[0].stack() if fitting else None
    return None if dense is None else Head(features, dense)


def _returns(logits: Tensor, outputs: Tensor) -> bool:
    """Whether a network returns these logits, or their log-probabilities."""
    return any(disagreement(each, outputs) <= TOLERANCE for each in (logits, logits.log_softmax(1)))
