"""The family of a network of another library, by the tensors it holds: `kind_of`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from auditcli.types import Family

if TYPE_CHECKING:
    from torch import Tensor

# Queries, keys and values, alone or joined, as transformers and timm name them.
_ATTENTION = re.compile(
    r"(?:^|[._])(?:q|kv|k|qk|qv|qkvs?|q_lin|query|queries\w*|to_q\w*|[qk]_proj|qkv_proj\w*|in_proj_weight|c_attn"
    r"|projection_query|query_key_value|relative_position_bias_table|rel_pos_[hw]|rpb)(?:[._]|$)"
)
_LOCAL = frozenset({3, 5, 7, 9, 11})
"""Kernel sizes of convolutions that overlap; patch embeddings have even or larger ones."""


def kind_of(tensors: Mapping[str, Tensor]) -> Family:
    """The family, as far as names and shapes show it.

    Attention makes a transformer, and a hybrid together with two or more overlapping convolutions; convolutions without
    attention make a CNN. What has neither mixes patches by linear layers, or is an MLP where there are no patches.
    """
    attention = any(_ATTENTION.search(name) for name in tensors)
    kernels = [tuple(tensor.shape[2:]) for tensor in tensors.values() if tensor.ndim == 4]
    local = sum(prod(kernel) > 1 and set(kernel) <= _LOCAL | {1} for kernel in kernels)
    if attention:
        return Family.HYBRID if local >= 2 else Family.VIT
    if local >= 2:
        return Family.CNN
    return Family.MIXER if kernels else Family.MLP
