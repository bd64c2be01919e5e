"""Small networks of every family as people write them, for the tests of what is said about a network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


class Sign(torch.autograd.Function):
    """Plus or minus one, with the gradient passed straight through."""

    @staticmethod
    def forward(_, x):
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(_, gradient):
        return gradient


class Binarise(nn.Module):
    def forward(self, x):
        return Sign.apply(x)


class BinaryLinear(nn.Linear):
    """Latent weights that are made plus or minus one when they are used."""

    def forward(self, x):
        return nn.functional.linear(x, Sign.apply(self.weight), self.bias)


class Residual(nn.Module):
    """A shortcut around a network."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Attention(nn.Module):
    """Self-attention by hand, with heads."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, tokens, width = x.shape
        query, key, value = self.qkv(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).reshape(n, tokens, width))


class Patches(nn.Module):
    """Tokens (n, p, d) of an image, cut by a convolution."""

    def __init__(self, channels, width, size, side):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, size, size)
        self.positions = nn.Parameter(torch.randn(1, (side // size) ** 2, width))

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2) + self.positions


class Rearranged(nn.Module):
    """The same without a convolution: pixels are put in order, and a linear layer reads each patch."""

    def __init__(self, channels, width, size):
        super().__init__()
        self.size, self.proj = size, nn.Linear(channels * size**2, width)

    def forward(self, x):
        n, c, h, w = x.shape
        s = self.size
        x = x.reshape(n, c, h // s, s, w // s, s).permute(0, 2, 4, 1, 3, 5).reshape(n, (h // s) * (w // s), c * s * s)
        return self.proj(x)


class Turned(nn.Module):
    """A network on the other axis of the tokens."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


class Tokens(nn.Module):
    def forward(self, x):
        return x.flatten(2).transpose(1, 2)


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(1)


class SqueezeExcite(nn.Module):
    """Gates of channels by a sigmoid: no attention over places."""

    def __init__(self, channels):
        super().__init__()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid())

    def forward(self, x):
        return x * self.gate(x)


class Encoder(nn.Module):
    """torch's own transformer layers, with the fast path that evaluation takes."""

    def __init__(self, width, heads):
        super().__init__()
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, heads, 2 * width, batch_first=True), 2, enable_nested_tensor=False
        )

    def forward(self, x):
        return self.layers(x)


def _mlp_block(width):
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


def _mixer(tokens, width, patches):
    mixed = nn.Sequential(nn.Linear(tokens, 12), nn.GELU(), nn.Linear(12, tokens))
    return nn.Sequential(
        patches, Residual(Turned(mixed)), Residual(_mlp_block(width)), nn.LayerNorm(width), Mean(), nn.Linear(width, 5)
    )


def _vit(stem, mixing, width=8):
    return nn.Sequential(stem, Residual(mixing), Residual(_mlp_block(width)), nn.LayerNorm(width), Mean())


def _resnet():
    def conv(into, out, stride=1):
        return nn.Sequential(nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out))

    block = nn.Sequential(conv(8, 8), nn.ReLU(inplace=True), conv(8, 8))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    return nn.Sequential(conv(3, 8), nn.ReLU(inplace=True), Residual(block), nn.ReLU(inplace=True), *head)


def _stem(width):
    return nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), Tokens())


def _bnn():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(3 * 8 * 8, 16),
        nn.BatchNorm1d(16),
        Binarise(),
        BinaryLinear(16, 12, bias=False),
        nn.BatchNorm1d(12),
        Binarise(),
        nn.Linear(12, 5),
    )


NETWORKS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "one linear layer": ("mlp", lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5))),
    "three linear layers": (
        "mlp",
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(192, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(inplace=True), nn.Linear(7, 5)
        ),
    ),
    "linear layers with a shortcut": (
        "mlp",
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 9), Residual(nn.Linear(9, 9)), nn.Linear(9, 5)),
    ),
    "lenet": (
        "cnn",
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()),
            nn.Linear(54, 12),
            nn.Tanh(),
            nn.Linear(12, 5),
        ),
    ),
    "resnet": ("cnn", _resnet),
    "squeeze and excitation": (
        "cnn",
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), SqueezeExcite(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
        ),
    ),
    "convmixer": (
        "cnn",
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 8, 2, 2), nn.GELU(), Residual(nn.Conv2d(8, 8, 3, padding=1, groups=8)), nn.Conv2d(8, 8, 1)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
        ),
    ),
    "attention by hand": ("vit", lambda: _vit(Patches(3, 8, 2, 8), Attention(8, 2)).append(nn.Linear(8, 5))),
    "torch's encoder": ("vit", lambda: _vit(Patches(3, 8, 4, 8), Encoder(8, 2)).append(nn.Linear(8, 5))),
    "attention on rearranged patches": (
        "vit",
        lambda: _vit(Rearranged(3, 8, 2), Attention(8, 2)).append(nn.Linear(8, 5)),
    ),
    "attention behind convolutions": ("hybrid", lambda: _vit(_stem(8), Attention(8, 4)).append(nn.Linear(8, 5))),
    "mixer": ("mixer", lambda: _mixer(16, 8, Patches(3, 8, 2, 8))),
    "mixer with as many tokens as features": ("mixer", lambda: _mixer(16, 16, Patches(3, 16, 2, 8))),
    "mixer on rearranged patches": ("mixer", lambda: _mixer(16, 8, Rearranged(3, 8, 2))),
    "mixer by convolutions over tokens": (
        "mixer",
        lambda: nn.Sequential(
            *(Patches(3, 8, 2, 8), Residual(nn.Sequential(nn.Conv1d(16, 12, 1), nn.GELU(), nn.Conv1d(12, 16, 1)))),
            *(Residual(_mlp_block(8)), Mean(), nn.Linear(8, 5)),
        ),
    ),
    "binarised": ("bnn", _bnn),
}
"""Family, and how to make one for images of 3 x 8 x 8 and five classes."""


def made(name: str, seed: int = 0) -> nn.Module:
    """One of the networks, its parameters and statistics random, as after training."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = NETWORKS[name][1]()
        for key, tensor in net.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif key.endswith("running_mean"):
                tensor.add_(torch.randn_like(tensor) * 0.3)
    return net.eval()
