"""Targets of a few dozen weights, for the tests of attacks, signals and weights."""

from dataclasses import replace
from itertools import pairwise

import torch
from torch import nn

from auditcli.families._binary import BinaryLinear, BinaryScores, Sign, integers
from auditcli.families._pixels import FromPixels
from auditcli.types import DenseStack, Family, Head, Normalisation, Profile, Target, Trait

DENSE_TRAITS = frozenset({Trait.DENSE, Trait.FIRST_LAYER_LINEAR})
ACTIVATIONS = {
    "identity": nn.Identity(),
    "relu": nn.ReLU(),
    "leaky_relu(0.2)": nn.LeakyReLU(0.2),
    "leaky_relu": nn.LeakyReLU(0.01),
    "relu6": nn.ReLU6(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU(approximate="tanh"),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "hardswish": nn.Hardswish(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "softplus": nn.Softplus(),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def dense_stack(*widths, activation="relu", seed=0, dtype=torch.float32, bias=True):
    """A random perceptron of these widths, input and output included."""
    rng = generator(seed)
    layers = [
        (torch.randn(out, into, generator=rng).to(dtype) / into**0.5, torch.randn(out, generator=rng).to(dtype) * 0.1)
        for into, out in pairwise(widths)
    ]
    return DenseStack(tuple(w for w, _ in layers), tuple(b if bias else None for _, b in layers), activation)


def forward(dense, first):
    """Logits of what the first linear layer gave, by torch's own modules."""
    z = first
    for weight, bias in zip(dense.weights[1:], dense.biases[1:], strict=True):
        z = nn.functional.linear(ACTIVATIONS[dense.activation](z), weight, bias)
    return z


class _Standardise(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, images):
        return (images - self.mean) / self.std


def dense_target(dense, shape=(1, 8, 8), mean=0.3, std=0.5):
    """The target of a dense stack."""
    modules = [_Standardise(mean, std), nn.Flatten()]
    for weight, bias in zip(dense.weights, dense.biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
        linear.weight.data = weight.clone()
        if bias is not None:
            linear.bias.data = bias.clone()
        modules += [linear, ACTIVATIONS[dense.activation]]
    module = nn.Sequential(*modules[:-1])
    outputs = len(dense.weights[-1])
    return _target(module, Family.MLP, shape, outputs, DENSE_TRAITS, mean, std, dense)


def cnn_target(outputs=3, seed=0):
    """A convolution with batch norm."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, outputs),
        )
    return _target(module, Family.CNN, (1, 8, 8), outputs, frozenset({Trait.BATCH_NORM}), 0.0, 1.0, None)


def convolution_target(outputs=3, seed=0, side=8, channels=4, kernel=3, stride=1, first_std=None):
    """A homogeneous network whose first layer is a convolution, the only one with biases."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        places = ((side - kernel) // stride + 1) ** 2
        first = nn.Conv2d(1, channels, kernel, stride)
        last = (nn.ReLU(), nn.Flatten(), nn.Linear(channels * places, outputs, bias=False))
        if first_std is not None:
            for parameter in first.parameters():
                nn.init.normal_(parameter, std=first_std)
    traits = frozenset({Trait.FIRST_LAYER_CONVOLUTION, Trait.HOMOGENEOUS})
    module = nn.Sequential(_Standardise(0.3, 0.5), first, *last)
    return _target(module, Family.CNN, (1, side, side), outputs, traits, 0.3, 0.5, None)


def binarised_target(*widths, side=8, seed=0, offsets=None):
    """A random network of signs on grey images; `widths` are those behind the pixels."""
    rng = generator(seed)
    modules = [nn.Flatten(), Sign()]
    for into, out in pairwise((side * side, *widths[:-1])):
        signs = torch.where(torch.rand(out, into, generator=rng) < 0.5, 1.0, -1.0)
        modules += [BinaryLinear(signs, torch.randint(-2, 3, (out,), generator=rng)), Sign()]
    signs = torch.where(torch.rand(widths[-1], widths[-2], generator=rng) < 0.5, 1.0, -1.0)
    scales = torch.rand(widths[-1], generator=rng) + 0.5
    shift = torch.zeros(widths[-1]) if offsets is None else torch.tensor(offsets)
    module = FromPixels(
        nn.Sequential(*modules, BinaryScores(signs, scales, shift)), Normalisation((0.5,), (0.5,)), log_softmax=False
    )
    traits = frozenset({Trait.BINARISED})
    target = _target(module, Family.BNN, (1, side, side), widths[-1], traits, 0.5, 0.5, None)
    return replace(target, binarised=integers(module.net))


class _Attention(nn.Module):
    """Patches, one block of attention with a shortcut, their mean, and a linear layer."""

    def __init__(self, outputs, width=8):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, outputs)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(tokens)).chunk(3, dim=2)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.head((tokens + mixed).mean(dim=1))


def vit_target(outputs=3, seed=0):
    """A transformer of one block on patches of 4 x 4."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = _Attention(outputs)
    return _target(module, Family.VIT, (1, 8, 8), outputs, frozenset(), 0.0, 1.0, None)


def headed_target(dense, side=12, seed=0):
    """A random convolution, fixed, below a dense stack that reads its 144 features."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = nn.Sequential(nn.Conv2d(1, 16, 5, stride=3, padding=1), nn.Tanh(), nn.AdaptiveAvgPool2d(3))
    backbone = nn.Sequential(backbone, nn.Flatten()).requires_grad_(False)
    modules = []
    for weight, bias in zip(dense.weights, dense.biases, strict=True):
        linear = nn.Linear(weight.shape[1], len(weight))
        linear.weight.data, linear.bias.data = weight.clone(), bias.clone()
        modules += [linear, ACTIVATIONS[dense.activation]]
    # As `build` wraps a network, so that `families.rebuilt` can cut a copy.
    module = FromPixels(nn.Sequential(backbone, *modules[:-1]), Normalisation((0.0,), (1.0,)), log_softmax=False)
    traits, shape = frozenset({Trait.HEAD}), (1, side, side)
    target = _target(module, Family.CNN, shape, len(dense.weights[-1]), traits, 0.0, 1.0, None)
    return replace(target, head=Head(backbone, dense))


def _target(module, family, shape, outputs, traits, mean, std, dense):
    module.eval().requires_grad_(False)
    profile = Profile(
        family=family,
        architecture="tiny",
        input_shape=shape,
        classes=max(2, outputs),
        outputs=outputs,
        parameters=sum(p.numel() for p in module.parameters()),
        normalisation=Normalisation((mean,), (std,)),
        traits=traits,
        layers=(),
        identified_by="made so",
    )
    return Target(module, profile, dense)


def smooth_images(n, side, seed=0):
    """Images (n, 1, side, side) in [0, 1], smooth and with contrast."""
    coarse = torch.rand(n, 1, 3, 3, generator=generator(seed))
    images = nn.functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return (images - low) / (high - low)


def stationary(images, outputs=1, seed=0, widths=(100,), activation="gelu", mean=0.3, std=0.5, decay=0.01):
    """A perceptron whose first layer is trained on these images until the KKT condition holds.

    Its loss has a weight decay on the first layer alone and is minimised to rest, where that layer is
    `sum_i lambda_i delta_i [x_i, 1]^T` with the lambda the loss makes. Two classes, in turn, as in `Sides.balanced`.

    Returns:
        The dense stack and its target.
    """
    inputs = ((images - mean) / std).flatten(1).double()
    extended = torch.cat([inputs, torch.ones(len(images), 1, dtype=torch.float64)], dim=1)
    signs = 2.0 * (torch.arange(len(images)) % 2) - 1
    sizes = (inputs.shape[1], *widths, outputs)
    start = dense_stack(*sizes, activation=activation, seed=seed, dtype=torch.float64)
    layer = torch.cat([start.weights[0], start.biases[0][:, None]], dim=1).mul_(0.1).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [layer], max_iter=2000, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        logits = forward(start, extended @ layer.T)
        margins = signs * (logits[:, 0] if outputs == 1 else logits[:, 1] - logits[:, 0])
        value = nn.functional.softplus(-margins).sum() + decay / 2 * layer.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    first = layer.detach().float()
    stack = DenseStack(
        (first[:, :-1].contiguous(), *(w.float() for w in start.weights[1:])),
        (first[:, -1].contiguous(), *(b.float() for b in start.biases[1:])),
        activation,
    )
    return stack, dense_target(stack, tuple(images.shape[1:]), mean, std)
