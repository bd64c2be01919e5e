"""What a fine-tune wrote into its first layer: the layer less what is left of the public base model's.

Public names: `base_of`, `first_layer`, `written`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditcli.errors import AttackError

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.types import DenseStack, Target

_SKETCH = 512
"""Rows that are kept to find the factor: eigenvalues of a larger matrix cost minutes."""


def base_of(target: Target) -> DenseStack | None:
    """The linear layers that those of a target started from: of its head where it has one, else of all of it.

    None without a base, or where their first layers differ in size, as where a fine-tune has other classes than its
    base and no layer but the last.
    """
    if target.base is None:
        return None
    stacks = [one.dense if one.head is None else one.head.dense for one in (target, target.base)]
    shapes = [None if stack is None else stack.weights[0].shape for stack in stacks]
    return stacks[1] if shapes[0] == shapes[1] else None


def first_layer(dense: DenseStack) -> Tensor:
    """`A = [W1 b1]`, (h, d + 1) in float64; a layer without a bias has a column of zeros."""
    weight, bias = dense.weights[0], dense.biases[0]
    column = torch.zeros_like(weight[:, :1]) if bias is None else bias[:, None]
    return torch.cat([weight, column], dim=1).double()


def written(dense: DenseStack, base: DenseStack | None = None) -> Tensor:
    """What training added to the first layer, as far as that is known.

    Steps of gradient descent, with momentum and weight decay or without, leave `A = c A_base + sum_i u_i [x_i, 1]^T`
    over training inputs x_i, so `A - c A_base` has no more rank than there are training images, and no noise but
    rounding. The file does not hold c, which is below 1 where weight decay was used.

    Args:
        dense: The network.
        base: The network that its training started from, with a first layer of the same size; None where it is not
            known, or was random.

    Returns:
        (h, d + 1) float64: `A - c A_base`, or A without a base.

    Raises:
        AttackError: the first layer is that of the base.
    """
    after = first_layer(dense)
    if base is None:
        return after
    before = first_layer(base)
    change = after - _left(after, before) * before
    # As many eigenvalues are 1 as neurons were left alone, so that c is 1 where all were.
    if not float(change.abs().max()) > torch.finfo(dense.weights[0].dtype).eps * float(before.abs().max()):
        raise AttackError(
            "the first layer is that of the base model: nothing was written into it",
            hint="name the model that this one was fine-tuned from, or leave --base out",
        )
    return change


def _left(after: Tensor, before: Tensor) -> float:
    """The factor c of `after = c before + (something of low rank)`.

    `after before^+` is c times the identity and something of the same low rank, so that all its eigenvalues are c but
    for as many as there are training images: their median is c while these are fewer than half of the rows.
    """
    if len(before) > before.shape[1]:
        after, before = after.T, before.T
    if len(before) > _SKETCH:
        # Sums of rows at random keep the form; drawn by their own generator, so that the answer is always the same.
        mixing = torch.randn(_SKETCH, len(before), generator=torch.Generator().manual_seed(0), dtype=before.dtype)
        after, before = mixing.to(before.device) @ after, mixing.to(before.device) @ before
    gram = before @ before.T
    ridge = torch.finfo(gram.dtype).eps * gram.diagonal().max().clamp_min(torch.finfo(gram.dtype).tiny)
    gram = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    product = torch.linalg.solve(gram, before @ after.T)
    return float(torch.linalg.eigvals(product.cpu()).real.median())
