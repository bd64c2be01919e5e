"""The whole first layer, where its rows are too few to span the training inputs. Public name: `whole`."""

from __future__ import annotations

import torch

from auditcli.types import DenseStack, WeightSpan


def whole(dense: DenseStack) -> WeightSpan:
    """The first layer `A = [W1 b1]` in the place of its span: every direction of the inputs, all of one weight.

    The rows of A are combinations of training inputs, whatever the network. That the inputs are also combinations of
    the rows takes as many rows as inputs, so that it fails where A has a row for each class and no more.
    """
    weight, bias = dense.weights[0], dense.biases[0]
    column = torch.zeros_like(weight[:, :1]) if bias is None else bias[:, None]
    matrix = torch.cat([weight, column], dim=1)
    size = matrix.shape[1]
    return WeightSpan(
        basis=torch.eye(size, dtype=weight.dtype, device=weight.device),
        values=torch.ones(size, dtype=weight.dtype, device=weight.device),
        image=matrix,
        written=matrix,
        rank=min(matrix.shape),
        edge=0.0,
    )
