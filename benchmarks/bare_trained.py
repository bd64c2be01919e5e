"""Do images choose rightly what bare weights leave open? Small models trained on real data, and held-out images.

    python benchmarks/bare_trained.py --data DIR [--only TEXT] [--seeds N] [--images N]

Each model is trained for a minute at most on 8,000 images, saved bare under names that show nothing, and resolved with
test images as controls: once with labels, once without. The outcomes:

    right           the original, to 1e-3 of the logits
    question        images do not decide; the answers are listed
    default stays   not the original; what differs was not chosen, is listed, and images are said not to tell it
    WRONG CHOICE    images chose something that is not so: must not happen

DIR holds `mnist.npz`, `fashion_mnist.npz` and `cifar10.npz` with `x_train`, `y_train`, `x_test`, `y_test`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bare_case import Functional
from bare_convnets import lenet
from bare_transformers import FusedAttention, HandBlock, HandVit, TorchVit
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from auditcli.errors import OpenQuestion
from auditcli.families import NORMALISATION, Options, build
from auditcli.hypotheses import resolve
from auditcli.loading import load

TRAINED_ON, BATCH, RATE = 8000, 64, 1e-3
EXACT = 1e-3
Act = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Trained:
    """A model to train, and what its weights will not show."""

    name: str
    make: Callable[[], nn.Module]
    data: str
    truth: Mapping[str, str] = field(default_factory=dict)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    epochs: int = 3
    augmented: bool = False
    """Shifted by up to two pixels while training, which the recorded statistics include."""


def models() -> list[Trained]:
    """All of them."""
    fashion, digits, photos = "fashion_mnist", "mnist", "cifar10"
    pooled = {"strides": "1", "pool": "max", "paddings": "1", "final": "flatten"}
    strided = {"strides": "2", "pool": "none", "paddings": "1", "final": "flatten"}
    five = {"strides": "1", "paddings": "2/0", "final": "flatten"}
    seen = {NORMALISATION: "0.1307/0.3081"}
    return [
        Trained("MLP, relu", perceptron(functional.relu), fashion, {"activation": "relu"}),
        Trained("MLP, gelu", perceptron(functional.gelu), fashion, {"activation": "gelu"}),
        Trained("MLP, silu", perceptron(functional.silu), fashion, {"activation": "silu"}),
        Trained("MLP, tanh", perceptron(torch.tanh), fashion, {"activation": "tanh"}),
        Trained("MLP, sigmoid", perceptron(torch.sigmoid), fashion, {"activation": "sigmoid"}),
        Trained("MLP, batch norm, relu", perceptron(functional.relu, norm=True), fashion, {"activation": "relu"}),
        Trained(
            "MLP, batch norm, silu, normalised",
            perceptron(functional.silu, norm=True),
            digits,
            {"activation": "silu", "norm": "before", **seen},
            mean=(0.1307,),
            std=(0.3081,),
        ),
        Trained("CNN, relu, pooled", convolutional(functional.relu), fashion, {"activation": "relu", **pooled}),
        Trained(
            "CNN, batch norm before, relu, pooled",
            convolutional(functional.relu, place="before"),
            fashion,
            {"activation": "relu", "norm": "before", **pooled},
        ),
        Trained(
            "CNN, batch norm before, relu, pooled, shifted images",
            convolutional(functional.relu, place="before"),
            fashion,
            {"activation": "relu", "norm": "before", **pooled},
            augmented=True,
        ),
        Trained(
            "CNN, batch norm before, gelu, stride 2",
            convolutional(functional.gelu, place="before", stride=2),
            fashion,
            {"activation": "gelu", "norm": "before", **strided},
        ),
        Trained(
            "CNN, batch norm after, tanh, pooled",
            convolutional(torch.tanh, place="after"),
            fashion,
            {"activation": "tanh", "norm": "after", **pooled},
        ),
        Trained(
            "CNN, batch norm after, silu, stride 2, colour, normalised",
            convolutional(functional.silu, place="after", stride=2, channels=3),
            photos,
            {"activation": "silu", "norm": "after", NORMALISATION: "0.5/0.5", **strided},
            mean=(0.5,),
            std=(0.5,),
        ),
        Trained(
            "CNN, batch norm before, relu, pooled, averaged, colour",
            convolutional(functional.relu, place="before", channels=3, averaged=True),
            photos,
            {"activation": "relu", "norm": "before", **pooled, "final": "average"},
        ),
        Trained(
            "LeNet, relu, max pool",
            digits_net(functional.relu, functional.max_pool2d),
            fashion,
            {**five, "pool": "max"},
        ),
        Trained(
            "LeNet, tanh, average pool",
            digits_net(torch.tanh, functional.avg_pool2d),
            digits,
            {"activation": "tanh", **five, "pool": "avg"},
        ),
        Trained(
            "TransformerEncoder, 4 heads, norm first, gelu",
            lambda: TorchVit(cls="cls_token", pre=True, act="gelu", width=32, heads=4, final=True),
            digits,
            {"heads": "4", "block_norm": "before", "activation": "gelu"},
            epochs=5,
        ),
        Trained(
            "TransformerEncoder, 4 heads, norm after, relu, mean",
            lambda: TorchVit(width=32, heads=4),
            digits,
            {"heads": "4", "block_norm": "after", "activation": "relu"},
            epochs=5,
        ),
        Trained(
            "ViT by hand, 4 heads, gelu",
            lambda: HandVit(vit_block, width=32, side=28, patch=7, channels=1),
            digits,
            {"heads": "4", "block_norm": "before", "activation": "gelu"},
            epochs=5,
        ),
    ]


def vit_block() -> nn.Module:
    """A block of width 32 with names of timm's."""
    return HandBlock(32, FusedAttention(32, 4, "qkv proj"), norms="norm1 norm2", eps=1e-5, mlp="mlp")


def perceptron(act: Act, *, norm: bool = False) -> Callable[[], nn.Module]:
    """784-100-50-10."""

    def run(net: Any, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for index in (1, 2):
            x = getattr(net, f"fc{index}")(x)
            x = act(getattr(net, f"bn{index}")(x) if norm else x)
        out: Tensor = net.get_submodule("fc3")(x)
        return out

    def make() -> nn.Module:
        norms = {"bn1": nn.BatchNorm1d(100), "bn2": nn.BatchNorm1d(50)} if norm else {}
        return Functional(run, fc1=nn.Linear(784, 100), fc2=nn.Linear(100, 50), fc3=nn.Linear(50, 10), **norms)

    return make


def convolutional(
    act: Act, *, place: str = "", stride: int = 1, channels: int = 1, averaged: bool = False
) -> Callable[[], nn.Module]:
    """Two convolutions of stride 2, or pooled, and a linear layer, under attribute names."""

    def run(net: Any, x: Tensor) -> Tensor:
        for index in (1, 2):
            x = getattr(net, f"conv{index}")(x)
            norm = getattr(net, f"bn{index}") if place else nn.Identity()
            x = norm(act(x)) if place == "after" else act(norm(x))
            x = functional.max_pool2d(x, 2) if stride == 1 else x
        out: Tensor = net.get_submodule("fc")(x.mean((2, 3)) if averaged else x.flatten(1))
        return out

    def make() -> nn.Module:
        norms = {"bn1": nn.BatchNorm2d(12), "bn2": nn.BatchNorm2d(24)} if place else {}
        size = 1 if averaged else {1: 49, 3: 64}[channels]
        first, second = nn.Conv2d(channels, 12, 3, stride, 1), nn.Conv2d(12, 24, 3, stride, 1)
        return Functional(run, conv1=first, conv2=second, fc=nn.Linear(24 * size, 10), **norms)

    return make


def digits_net(act: Act, pool: Callable[..., Tensor]) -> Callable[[], nn.Module]:
    """LeNet-5 on 28 x 28."""

    def make() -> nn.Module:
        convs = {"conv1": nn.Conv2d(1, 6, 5, padding=2), "conv2": nn.Conv2d(6, 16, 5)}
        linears = {"fc1": nn.Linear(400, 120), "fc2": nn.Linear(120, 84), "fc3": nn.Linear(84, 10)}
        return Functional(lenet(act, pool), **convs, **linears)

    return make


def trained(model: Trained, images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """The model after its epochs of Adam."""
    torch.manual_seed(seed)
    net, rng = model.make(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), RATE)
    for _ in range(model.epochs):
        for drawn in torch.randperm(len(images), generator=rng).split(BATCH):
            batch = images[drawn]
            if model.augmented:
                shift = torch.randint(-2, 3, (2,), generator=rng)
                batch = batch.roll((int(shift[0]), int(shift[1])), (2, 3))
            optimiser.zero_grad()
            functional.cross_entropy(net(normalised(model, batch)), labels[drawn]).backward()
            optimiser.step()
    return net.eval()


def normalised(model: Trained, images: Tensor) -> Tensor:
    """What the network reads of pixels in [0, 1]."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (model.mean, model.std))
    return (images - mean) / std


def outcome(model: Trained, net: nn.Module, folder: Path, pixels: Tensor, controls: Path) -> str:
    """What images make of the weights of a trained model."""
    path = folder / "model.safetensors"
    save_file({name: tensor.clone() for name, tensor in net.state_dict().items()}, path)
    checkpoint = load(path)
    try:
        profile, options = resolve(checkpoint, Options(), controls=controls)
    except OpenQuestion as question:
        return f"question, {len(question.candidates)} answers"
    target = build(checkpoint, profile, options)
    with torch.no_grad():
        wanted = net(normalised(model, pixels))
        off = (target(pixels) - wanted).abs().max().item() / max(1.0, wanted.abs().max().item())
    wrong = [key for key, value in model.truth.items() if key in options.chosen and options.chosen[key].value != value]
    if wrong:
        return f"WRONG CHOICE of {', '.join(wrong)}"
    chosen = ", ".join(f"{key}={options.chosen[key].value}" for key in model.truth if key in options.chosen)
    return ("right" if off <= EXACT else "default stays") + (f" ({chosen})" if chosen else "")


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; exit 1 where images chose wrongly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", default="", help="models whose name holds this text")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", type=int, default=500, help="controls, of the test images")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    counts = Counter[str]()
    print("| model | data | seed | with labels | without | seconds |\n| --- | --- | ---: | --- | --- | ---: |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in (model for model in models() if given.only.casefold() in model.name.casefold()):
            with np.load(given.data / f"{model.data}.npz") as held:
                images, labels = _pixels(held["x_train"][:TRAINED_ON]), torch.from_numpy(held["y_train"][:TRAINED_ON])
                shown, classes = held["x_test"][: given.images], held["y_test"][: given.images]
            np.savez(folder / "labelled.npz", images=shown, labels=classes)
            np.savez(folder / "unlabelled.npz", images=shown)
            for seed in range(given.seeds):
                net, began = trained(model, images, labels, seed), time.monotonic()
                found = [
                    outcome(model, net, folder, _pixels(shown[:64]), folder / f"{kind}.npz")
                    for kind in ("labelled", "unlabelled")
                ]
                counts.update(each.split(" (")[0].split(",")[0].split(" of ")[0] for each in found)
                seconds = time.monotonic() - began
                print(f"| {model.name} | {model.data} | {seed} | {found[0]} | {found[1]} | {seconds:.0f} |", flush=True)
    print("\n" + ", ".join(f"{count} {word}" for word, count in counts.most_common()))
    return int(counts["WRONG CHOICE"] > 0)


def _pixels(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    """(n, c, h, w) in [0, 1]."""
    floats = torch.from_numpy(images).float() / 255
    return floats[:, None] if floats.ndim == 3 else floats.permute(0, 3, 1, 2).contiguous()


if __name__ == "__main__":
    sys.exit(main())
