"""A vision transformer as a module, with the names of `_tokens`: `TokenNet`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from auditcli.families._activations import activation

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Style:
    """What the weights of a vision transformer do not show."""

    heads: int
    activation: str
    eps: float
    """Of layer norm."""
    norm_first: bool
    """Whether norms stand before attention and MLP, inside the shortcut; else behind the sum."""
    final: str
    """What the head reads: `cls`, `average` or `flatten`."""
    sinusoidal: bool
    channels_last: bool
    """Of the pixels of a patch, where a linear layer reads them."""
    patch: tuple[int, int]


class Block(nn.Module):
    """Attention and MLP, each with a layer norm and beside a shortcut."""

    def __init__(self, state: Mapping[str, Tensor], prefix: str, style: Style) -> None:
        super().__init__()
        self.heads, self.norm_first = style.heads, style.norm_first
        self.norm1, self.norm2 = (_norm(state, f"{prefix}.norm{index}", style.eps) for index in (1, 2))
        self.qkv, self.proj, self.fc1, self.fc2 = (
            _linear(state, f"{prefix}.{name}") for name in ("qkv", "proj", "fc1", "fc2")
        )
        self.act = activation(style.activation)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (n, t, d) -> (n, t, d)."""
        if self.norm_first:
            x = x + self._attention(self.norm1(x))
            return x + self._mlp(self.norm2(x))
        x = self.norm1(x + self._attention(x))
        out: Tensor = self.norm2(x + self._mlp(x))
        return out

    def _mlp(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out

    def _attention(self, x: Tensor) -> Tensor:
        # Spelled out: the fused kernels have no second derivative, which attacks on gradients need.
        n, tokens, width = x.shape
        qkv = self.qkv(x).view(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        weights = (query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(-1)
        out: Tensor = self.proj((weights @ value).transpose(1, 2).reshape(n, tokens, width))
        return out


class Patches(nn.Module):
    """Cuts images into patches and projects each: a convolution whose stride is its kernel, or a linear layer."""

    def __init__(self, state: Mapping[str, Tensor], style: Style) -> None:
        super().__init__()
        self.weight = nn.Parameter(state["patch.weight"])
        self.bias = nn.Parameter(state["patch.bias"]) if "patch.bias" in state else None
        self.sides, self.channels_last = style.patch, style.channels_last

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, c, h, w) -> tokens (n, t, d)."""
        if self.weight.ndim == 4:
            return functional.conv2d(x, self.weight, self.bias, stride=self.sides).flatten(2).transpose(1, 2)
        cut = functional.unfold(x, self.sides, stride=self.sides).transpose(1, 2)
        if self.channels_last:
            cut = cut.unflatten(2, (x.shape[1], -1)).transpose(2, 3).flatten(2)
        return functional.linear(cut, self.weight, self.bias)


class TokenNet(nn.Module):
    """A vision transformer sized after a state dict on the `meta` device."""

    def __init__(self, state: Mapping[str, Tensor], depth: int, style: Style) -> None:
        super().__init__()
        self.style = style
        self.patch = Patches(state, style)
        self.cls = nn.Parameter(state["cls"]) if "cls" in state else None
        self.pos = nn.Parameter(state["pos"]) if "pos" in state else None
        self.blocks = nn.Sequential(*(Block(state, f"blocks.{index}", style) for index in range(depth)))
        self.norm = _norm(state, "norm", style.eps) if "norm.weight" in state else nn.Identity()
        self.head_norm = _norm(state, "head_norm", style.eps) if "head_norm.weight" in state else nn.Identity()
        self.head = _linear(state, "head")

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (n, c, h, w) -> logits (n, classes)."""
        x = self.patch(x)
        patches = x.shape[1]
        alone = self.pos is not None and self.pos.shape[1] == patches
        if alone or self.cls is None:
            x = self._placed(x)
        if self.cls is not None:
            x = torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1)
            x = x if alone else self._placed(x)
        x = self.norm(self.blocks(x))
        x = {"cls": lambda: x[:, 0], "average": lambda: x.mean(1), "flatten": lambda: x.flatten(1)}[self.style.final]()
        logits: Tensor = self.head(self.head_norm(x))
        return logits

    def _placed(self, x: Tensor) -> Tensor:
        """Tokens with their positions."""
        if self.pos is not None:
            return x + self.pos[:, : x.shape[1]]
        return x + sinusoids(x.shape[1], x.shape[2]).to(x) if self.style.sinusoidal else x


def sinusoids(tokens: int, width: int) -> Tensor:
    """Positions (1, tokens, width) of sines and cosines in turn.

    Reference:
        Vaswani et al. 2017, arXiv:1706.03762v7, section 3.5.
    """
    rates = 10000 ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(tokens)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[None, :, :width]


def _linear(state: Mapping[str, Tensor], name: str) -> nn.Linear:
    outputs, inputs = state[f"{name}.weight"].shape
    return nn.Linear(inputs, outputs, bias=f"{name}.bias" in state)


def _norm(state: Mapping[str, Tensor], name: str, eps: float) -> nn.LayerNorm:
    return nn.LayerNorm(len(state[f"{name}.weight"]), eps=eps, bias=f"{name}.bias" in state)
