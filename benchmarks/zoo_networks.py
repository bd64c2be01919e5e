"""Networks of the zoo and what their files say about them: `network`, `description`, `VisionTransformer`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from zoo_recipes import Cnn, Head, Mlp, Recipe, Vit


class Block(nn.Module):
    """Attention and an MLP, each behind a layer norm and beside a shortcut; names as timm has them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 2 * width), "fc2": nn.Linear(2 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (n, t, width) -> tokens."""
        n, t, width = x.shape
        q, k, v = self.attn["qkv"](self.norm1(x)).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, width)
        x = x + self.attn["proj"](mixed)
        hidden: Tensor = self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))
        return x + hidden


class VisionTransformer(nn.Module):
    """As Dosovitskiy et al. 2021, arXiv:2010.11929v2, section 3.1, with names as timm has them."""

    def __init__(self, net: Vit, shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        channels, height, width = shape
        tokens = (height // net.patch) * (width // net.patch) + 1
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, net.width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, tokens, net.width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(channels, net.width, net.patch, net.patch)})
        self.blocks = nn.Sequential(*(Block(net.width, net.heads) for _ in range(net.depth)))
        self.norm = nn.LayerNorm(net.width, eps=1e-6)
        self.head = nn.Linear(net.width, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, c, h, w) -> logits (n, outputs)."""
        patches = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1) + self.pos_embed
        logits: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return logits


def network(recipe: Recipe) -> nn.Module:
    """The recipe's network with its initial weights, for normalised images (n, c, h, w); of a `Head` no backbone."""
    torch.manual_seed(recipe.seed)
    channels, height, width = recipe.data.shape
    match recipe.net:
        case Mlp(hidden, first_std):
            dense = linears((channels * height * width, *hidden, recipe.outputs), first_std)
            return nn.Sequential(nn.Flatten(), *dense)
        case Head(hidden, backbone, first_std):
            return nn.Sequential(*linears((backbone.channels[-1], *hidden, recipe.outputs), first_std))
        case Cnn(widths):
            spots = (height // 2 ** len(widths)) * (width // 2 ** len(widths))
            features = convolutions(recipe.net, channels)
            return nn.Sequential(*features, nn.Flatten(), nn.Linear(widths[-1] * spots, recipe.outputs))
        case Vit():
            return VisionTransformer(recipe.net, recipe.data.shape, recipe.outputs)


def linears(widths: tuple[int, ...], first_std: float | None = None) -> list[nn.Module]:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    if first_std is not None:
        for parameter in layers[0].parameters():
            nn.init.normal_(parameter, std=first_std)
    return layers[:-1]


def convolutions(net: Cnn, channels: int) -> list[nn.Module]:
    """The layers of a `Cnn` below its linear ones, for images of so many channels."""
    layers: list[nn.Module] = []
    for wide, narrow in pairwise((channels, *net.channels)):
        norm = [nn.BatchNorm2d(narrow)] if net.norm else []
        layers += [nn.Conv2d(wide, narrow, 3, padding=1), *norm, nn.ReLU(), nn.MaxPool2d(2)]
    return layers


def description(recipe: Recipe) -> dict[str, Any]:
    """All that the product would otherwise assume."""
    mean, std = recipe.data.scale
    said: dict[str, Any] = {
        "family": "cnn" if isinstance(recipe.net, Head) else recipe.family,
        "activation": "gelu" if isinstance(recipe.net, Vit) else "relu",
        "input_shape": recipe.data.shape,
        "classes": max(2, recipe.outputs),
        "mean": (mean,),
        "std": (std,),
    }
    match recipe.net:
        case Cnn():
            said |= _geometry(recipe.net, "flatten")
        case Head(backbone=backbone):
            said |= _geometry(backbone, "average")
        case Vit(heads=heads):
            said |= {"heads": heads, "final": "cls", "block_norm": "before", "eps": 1e-6}
    return said


def _geometry(net: Cnn, final: str) -> dict[str, Any]:
    ones = (1,) * len(net.channels)
    said = {"strides": ones, "paddings": ones, "pool": ("max",) * len(ones), "final": final}
    return said | ({"norm": "before", "eps": 1e-5} if net.norm else {})
