"""Models fine-tuned from a base on a few images, with their images: `RECIPES`, `Recipe`, `Victim`, `victim`.

The base learns the first 20,000 Fashion-MNIST images; fine-tunes go on from it on 50 others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from auditcli.loading import save_described
from auditcli.types import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEAN, STD = 0.286, 0.353
_PUBLIC = 20_000
"""Training images of the base; members come from behind them."""
_CONTROLS = 1_000
_MEMBERS = 200
"""Members that are audited at most, of all classes."""
_BATCH = 128


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a fine-tune is made; all but `name`, `what` and `attacked` decide its weights."""

    name: str
    what: str
    net: Literal["mlp", "cnn"] = "mlp"
    images: int = 50
    steps: int = 300
    optimiser: Literal["sgd", "adam"] = "sgd"
    rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0
    batch: int | None = None
    half: bool = False
    """Both files hold 16-bit floats."""
    attacked: bool = True
    """Whether `kkt` is run on it, beside the signals."""
    seed: int = 0


RECIPES = (
    Recipe("plain", "SGD with momentum, all images a step"),
    Recipe("batches", "SGD without momentum, batches of 10", momentum=0.0, batch=10),
    Recipe("decay", "SGD with momentum, weight decay 0.001", steps=1_000, weight_decay=1e-3),
    Recipe("short", "SGD without momentum, 20 steps of all images", steps=20, momentum=0.0),
    Recipe("half", "as `plain`, both files in 16-bit floats", half=True),
    Recipe("adam", "Adam at 0.0001", optimiser="adam", rate=1e-4),
    Recipe("many", "as `plain`, on 200 images, of 300 neurons", images=200, attacked=False),
    Recipe("honest", "SGD with momentum, 5,000 images, batches of 100", images=5_000, batch=100, attacked=False),
    Recipe("head", "a small CNN, its head of two layers fine-tuned and the rest frozen", net="cnn", rate=0.005),
)


@dataclass(frozen=True, slots=True)
class Victim:
    """A fine-tune and its base on disk, and the images that only the scoring sees."""

    model: Path
    base: Path
    members: Sample
    controls: Sample
    """The first 1,000 test images."""
    loss: float
    """Mean cross-entropy on the members after fine-tuning."""


def victim(recipe: Recipe, data: Path, cache: Path) -> Victim:
    """Train a base and a fine-tune of it, or read them where they were trained before.

    Args:
        recipe: What to fine-tune.
        data: Folder that holds `fashion_mnist.npz`.
        cache: Where weights are kept.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with np.load(data / "fashion_mnist.npz", allow_pickle=False) as stored:
        seen, unseen = (_tensors(stored, part) for part in ("train", "test"))
    each = recipe.images // 10
    chosen = torch.cat([_PUBLIC + torch.nonzero(seen[1][_PUBLIC:] == label)[:each, 0] for label in range(10)])
    members, controls = (seen[0][chosen], seen[1][chosen]), (unseen[0][:_CONTROLS], unseen[1][:_CONTROLS])
    start, model = _named(cache, recipe, "base"), _named(cache, recipe, recipe.name)
    if not start.exists():
        _save(start, _pretrained(recipe.net, seen[0][:_PUBLIC], seen[1][:_PUBLIC]), recipe)
    net = _network(recipe.net)
    net.load_state_dict({name: value.float() for name, value in load_file(start).items()})
    if not model.exists():
        _save(model, _finetuned(net, recipe, *members), recipe)
    net.load_state_dict({name: value.float() for name, value in load_file(model).items()})
    with torch.no_grad():
        loss = float(functional.cross_entropy(net(_inputs(recipe.net, members[0])), members[1]))
    audited = (part[:: max(1, recipe.images // _MEMBERS)] for part in members)
    return Victim(model, start, _sample("member", *audited), _sample("control", *controls), loss)


def _named(cache: Path, recipe: Recipe, name: str) -> Path:
    decisive = {key: value for key, value in asdict(recipe).items() if key not in ("name", "what", "attacked")}
    if name == "base":
        decisive = {"net": recipe.net, "half": recipe.half}
    return cache / f"{name}-{sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]}.safetensors"


def _network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "mlp":
        hidden = (nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU())
        return nn.Sequential(*hidden, nn.Linear(300, 10))
    first = (nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    second = (nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, 10))


def _tensors(stored: Mapping[str, NDArray[np.uint8]], part: str) -> tuple[Tensor, Tensor]:
    """Images (n, 1, 28, 28) in [0, 1] and labels (n,)."""
    pixels, labels = stored[f"x_{part}"], stored[f"y_{part}"]
    return torch.from_numpy(pixels).float()[:, None] / 255, torch.from_numpy(labels).long()


def _sample(role: str, images: Tensor, labels: Tensor) -> Sample:
    ids = tuple(f"{role} {number}" for number in range(len(images)))
    return Sample(images=images, ids=ids, hashes=ids, labels=labels, sha256="")


def _inputs(kind: str, images: Tensor) -> Tensor:
    inputs = (images - MEAN) / STD
    return inputs.flatten(1) if kind == "mlp" else inputs


def _pretrained(kind: str, images: Tensor, labels: Tensor) -> nn.Module:
    """Three passes of Adam, as an ordinary model."""
    net, rng = _network(kind), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    inputs = _inputs(kind, images)
    for _ in range(3):
        for index in torch.randperm(len(images), generator=rng).split(_BATCH):
            optimiser.zero_grad()
            functional.cross_entropy(net(inputs[index]), labels[index]).backward()
            optimiser.step()
    return net


def _finetuned(net: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor) -> nn.Module:
    rng = torch.Generator().manual_seed(recipe.seed)
    trained = list(net.parameters())[-4 if recipe.net == "cnn" else 0 :]
    optimiser: torch.optim.Optimizer
    if recipe.optimiser == "adam":
        optimiser = torch.optim.Adam(trained, lr=recipe.rate)
    else:
        optimiser = torch.optim.SGD(trained, lr=recipe.rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    inputs = _inputs(recipe.net, images)
    for _ in range(recipe.steps):
        index = torch.randperm(len(images), generator=rng)[: recipe.batch or len(images)]
        optimiser.zero_grad()
        functional.cross_entropy(net(inputs[index]), labels[index]).backward()
        optimiser.step()
    return net


def _save(path: Path, net: nn.Module, recipe: Recipe) -> None:
    state = {name: value.half() if recipe.half else value for name, value in net.state_dict().items()}
    described = {"family": recipe.net, "activation": "relu", "input_shape": (1, 28, 28), "classes": 10}
    save_described(path, state, {**described, "mean": (MEAN,), "std": (STD,)})
