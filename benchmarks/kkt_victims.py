"""Networks trained here in a form known to leak, with their images: `RECIPES`, `Recipe`, `Victim`, `victim`.

Each is an MLP whose first layer starts small and has the only biases, as in Haim et al. 2022 (arXiv:2206.07758). Full
batch, momentum and a weight decay bring it near rest in a minute or two; without the decay that takes days.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditcli.auditing import load
from auditcli.errors import SampleError
from auditcli.loading import save_described
from auditcli.types import DenseStack, Family, Normalisation, Profile, Target, Trait

_CONTROLS = 400


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a victim is made of; its hash names the cached weights."""

    file: str
    """Data set, below the folder of `--data`."""
    sides: tuple[tuple[int, ...], ...]
    """Classes of the data set that make up each class of the victim."""
    images: int
    """Trained on the first so many training images, as many of each class."""
    mean: float
    std: float
    """The network reads `(pixels - mean) / std`."""
    hidden: tuple[int, ...] = (500, 500)
    first_std: float = 1e-4
    """Standard deviation of the first layer's initial weights and biases; the others keep torch's default."""
    steps: int = 8_000
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-3
    drops: tuple[float, ...] = (0.7, 0.9)
    """Shares of the steps after which the learning rate falls to a fifth."""
    seed: int = 0

    @property
    def key(self) -> str:
        """Names the recipe in the cache."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


_EACH = tuple((digit,) for digit in range(10))

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "mnist": Recipe("mnist.npz", ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9)), images=50, mean=0.1307, std=0.3081),
        "cifar": Recipe("cifar10.npz", ((0, 1, 8, 9), (2, 3, 4, 5, 6, 7)), images=50, mean=0.473, std=0.25),
        "fashion": Recipe("fashion_mnist.npz", _EACH, images=100, mean=0.286, std=0.353),
    }
)


@dataclass(frozen=True, slots=True)
class Victim:
    """A trained network and the images that only the scoring sees."""

    target: Target
    members: Tensor
    """(m, c, h, w) in [0, 1], all that it was trained on."""
    labels: Tensor
    """(m,) int64 class of each member."""
    controls: Tensor
    """(400, c, h, w) in [0, 1], the first test images of these classes, as many of each."""
    loss: float
    """Mean cross-entropy on the members."""
    alignment: float
    """How well the KKT condition holds, see `alignment`."""


def victim(recipe: Recipe, data: Path, cache: Path) -> Victim:
    """Train a victim, or read it where it was trained before.

    Args:
        recipe: What to train.
        data: Folder of `.npz` files with `x_train`, `y_train`, `x_test`, `y_test`; uint8 (n, h, w) or (n, h, w, c).
        cache: Where trained weights are kept.

    Raises:
        SampleError: the data set is not there, or too small.
    """
    members, labels = images_of(data / recipe.file, "train", recipe.sides, recipe.images)
    controls, _ = images_of(data / recipe.file, "test", recipe.sides, _CONTROLS)
    path = cache / f"{Path(recipe.file).stem}-{recipe.key}.safetensors"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        net = train(recipe, members, labels)
        channels, height, width = members.shape[1:]
        described = {
            "family": "mlp",
            "activation": "relu",
            "input_shape": (channels, height, width),
            "classes": len(recipe.sides),
            "mean": (recipe.mean,),
            "std": (recipe.std,),
        }
        save_described(path, net.state_dict(), described)
    target = load(path, device="cpu")
    with torch.no_grad():
        loss = float(cross_entropy(target(members), labels))
    return Victim(target, members, labels, controls, loss, alignment(target, members, labels))


def train(recipe: Recipe, members: Tensor, labels: Tensor) -> nn.Module:
    """The network of the recipe after its steps on all members at once.

    Args:
        recipe: What to train.
        members: (m, c, h, w) in [0, 1].
        labels: (m,) int64.
    """
    torch.manual_seed(recipe.seed)
    outputs = 1 if len(recipe.sides) == 2 else len(recipe.sides)
    net = _network((members[0].numel(), *recipe.hidden, outputs), recipe.first_std)
    inputs = (members - recipe.mean) / recipe.std
    optimiser = torch.optim.SGD(
        net.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    milestones = [round(share * recipe.steps) for share in recipe.drops]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.2)
    for _ in range(recipe.steps):
        optimiser.zero_grad()
        cross_entropy(net(inputs), labels).backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits (n, classes), or (n, 1) where there are two classes."""
    if logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))
    return functional.cross_entropy(logits, labels)


def alignment(target: Target, members: Tensor, labels: Tensor) -> float:
    """Cosine between the first layer and the descent direction of the loss there, in [-1, 1].

    Near 1 the layer is a positive combination of the members' margin gradients, which is what both attacks assume.
    """
    if target.dense is None:
        raise TypeError("a victim is a dense network")
    weights = [weight.detach().clone().requires_grad_() for weight in target.dense.weights]
    mean, std = target.profile.normalisation.mean[0], target.profile.normalisation.std[0]
    z = ((members - mean) / std).flatten(1)
    for number, (weight, bias) in enumerate(zip(weights, target.dense.biases, strict=True)):
        z = functional.linear(z.relu() if number else z, weight, bias)
    (gradient,) = torch.autograd.grad(cross_entropy(z, labels), weights[:1])
    return float(functional.cosine_similarity(-gradient.flatten(), weights[0].detach().flatten(), dim=0))


def _network(widths: tuple[int, ...], first_std: float) -> nn.Module:
    layers: list[nn.Module] = []
    for number, (wide, narrow) in enumerate(pairwise(widths)):
        layers += [nn.Linear(wide, narrow, bias=number == 0), nn.ReLU()]
    for parameter in layers[0].parameters():
        nn.init.normal_(parameter, std=first_std)
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def dense_target(dense: DenseStack, shape: tuple[int, int, int], normalisation: Normalisation) -> Target:
    """A target of these layers, without a file."""
    profile = Profile(
        family=Family.MLP,
        architecture="-".join(str(weight.shape[1]) for weight in dense.weights) + f"-{len(dense.weights[-1])}, relu",
        input_shape=shape,
        classes=max(2, len(dense.weights[-1])),
        outputs=len(dense.weights[-1]),
        parameters=sum(weight.numel() for weight in dense.weights),
        normalisation=normalisation,
        traits=frozenset({Trait.DENSE, Trait.FIRST_LAYER_LINEAR}),
        layers=(),
        identified_by="made so",
    )
    return Target(_Stack(dense, normalisation), profile, dense)


class _Stack(nn.Module):
    """Images -> logits of a dense ReLU network."""

    def __init__(self, dense: DenseStack, normalisation: Normalisation) -> None:
        super().__init__()
        self._dense, self._normalisation = dense, normalisation

    def forward(self, images: Tensor) -> Tensor:
        mean, std = (
            torch.tensor(values, device=images.device)[:, None, None]
            for values in (self._normalisation.mean, self._normalisation.std)
        )
        z = ((images - mean) / std).flatten(1)
        for number, (weight, bias) in enumerate(zip(self._dense.weights, self._dense.biases, strict=True)):
            z = functional.linear(z.relu() if number else z, weight, bias)
        return z


def images_of(path: Path, part: str, sides: tuple[tuple[int, ...], ...], count: int) -> tuple[Tensor, Tensor]:
    """The first images of each side, (count, c, h, w) in [0, 1], and their sides (count,)."""
    if not path.is_file():
        raise SampleError(f"no data set {path.name} in {path.parent}", hint="--data FOLDER with the .npz files")
    with np.load(path, allow_pickle=False) as stored:
        pixels, classes = stored[f"x_{part}"], stored[f"y_{part}"]
    each = count // len(sides)
    chosen = [np.flatnonzero(np.isin(classes, side))[:each] for side in sides]
    if min(len(one) for one in chosen) < each:
        raise SampleError(f"{path.name} has fewer than {each} {part} images of a class", hint="a whole data set")
    labels = torch.arange(len(sides)).repeat_interleave(each)
    images = torch.from_numpy(pixels[np.concatenate(chosen)]).float() / 255
    return (images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)).contiguous(), labels
