"""Victims of network inversion, trained here, with their images: `Subject`, `Victim`, `victim`.

The networks and their training are those of the zoo; members are all that a victim was trained on, and its controls are
as many others from the same pool, with the same number of each class.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache as remembered
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from zoo_images import Images, draw, load_pool
from zoo_networks import Block, description, network
from zoo_recipes import DataSet, Recipe
from zoo_training import Fold, logits, loss, train

from auditcli.auditing import load
from auditcli.loading import save_described
from auditcli.types import Target


@dataclass(frozen=True, slots=True)
class Subject:
    """What is trained: a recipe of the zoo, and dropout, which the zoo has not."""

    recipe: Recipe
    dropout: float = 0.0
    """In training, behind every activation, and behind every block of a transformer."""

    @property
    def key(self) -> str:
        """Names the trained weights."""
        return sha256(json.dumps([self.recipe.key, self.dropout]).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Victim:
    """A trained network, its members and its controls."""

    target: Target
    members: Images
    controls: Images
    stated: dict[str, float | None]
    """`loss` and `accuracy` on the members, `test` accuracy on other images, `epsilon` where there is noise."""


def victim(subject: Subject, data: Path, cache: Path) -> Victim:
    """Train a victim, or read it where it was trained before.

    Args:
        subject: What to train.
        data: Folder of the data sets.
        cache: Folder of the trained weights.
    """
    path = cache / f"{subject.key}.safetensors"
    stated = path.with_suffix(".json")
    parts = draw(subject.recipe, _pool(subject.recipe.data, data))
    others = [parts.controls, parts.strangers, parts.validation, parts.test]
    if not stated.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        net, said = _trained(subject, parts.training, parts.validation, parts.test)
        save_described(path, net.state_dict(), description(subject.recipe))
        stated.write_text(json.dumps({**said, "subject": asdict(subject)}, indent=1) + "\n")
    pool = Images(torch.cat([part.pixels for part in others]), torch.cat([part.labels for part in others]))
    controls = pool.take(alike(parts.training.labels, pool.labels))
    return Victim(load(path, device="cpu"), parts.training, controls, json.loads(stated.read_text()))


def alike(wanted: Tensor, labels: Tensor) -> Tensor:
    """The first places in `labels` that hold as many of each class as `wanted` does.

    Raises:
        ValueError: there are too few of a class.
    """
    places = []
    for label, count in zip(*wanted.unique(return_counts=True), strict=True):
        found = (labels == label).nonzero()[:, 0][: int(count)]
        if len(found) < int(count):
            raise ValueError(f"{int(count)} images of class {int(label)} are wanted, there are {len(found)}")
        places.append(found)
    return torch.cat(places)


@remembered
def _pool(data: DataSet, folder: Path) -> Images:
    return load_pool(data, folder)


def _trained(
    subject: Subject, members: Images, validation: Images, test: Images
) -> tuple[nn.Module, dict[str, float | None]]:
    recipe = subject.recipe
    net = network(recipe)
    hooks = [
        module.register_forward_hook(_Drop(subject.dropout))
        for module in net.modules()
        if subject.dropout and isinstance(module, nn.ReLU | Block)
    ]
    folds = [Fold(images.inputs(recipe.data), images.labels) for images in (members, validation, test)]
    trained = train(net, recipe.training, folds[0], folds[1], recipe.data, recipe.seed)
    for hook in hooks:
        hook.remove()
    near, far = (logits(trained.net, fold.inputs) for fold in (folds[0], folds[2]))
    return trained.net, {
        "loss": float(loss(near, folds[0].labels).mean()),
        "accuracy": _accuracy(near, folds[0].labels),
        "test": _accuracy(far, folds[2].labels),
        "epsilon": trained.epsilon,
    }


class _Drop:
    """A forward hook that drops out in training."""

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, module: nn.Module, _: object, output: Tensor) -> Tensor:
        return functional.dropout(output, self.share, module.training)


def _accuracy(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(dim=1) == labels).double().mean())


def short(data: DataSet) -> str:
    """A data set's name in a table."""
    return {DataSet.MNIST: "MNIST", DataSet.FASHION: "Fashion-MNIST", DataSet.CIFAR: "CIFAR-10"}[data]
