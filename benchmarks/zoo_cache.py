"""Victims on disk, each trained once: `Cache`, `Victim`.

A victim is a folder that appears whole or not at all, so that an interrupted run goes on where it stopped:
`victims/NAME-KEY/{model.safetensors, members.npz, controls.npz, strangers.npz, victim.json}`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import nn
from zoo_images import Draw, Images, draw, for_backbones, load_pool, save
from zoo_networks import convolutions, description, network
from zoo_recipes import DataSet, Head, Recipe, Training
from zoo_training import Fold, Trained, logits, loss, train

from auditcli.loading import save_described

MODEL, STATED = "model.safetensors", "victim.json"
SAMPLES = ("members", "strangers")
_BACKBONE_EPOCHS = 5
_MEASURED = 1000
"""Accuracy and loss on training images are of the first so many."""


@dataclass(frozen=True, slots=True)
class Victim:
    """A trained victim on disk."""

    recipe: Recipe
    folder: Path
    stated: dict[str, Any]
    """What was measured when it was trained."""

    @property
    def model(self) -> Path:
        """Its weights."""
        return self.folder / MODEL

    def images(self, sample: str) -> Path:
        """`members`, `strangers` or `controls`."""
        return self.folder / f"{sample}.npz"


class Cache:
    """A folder of victims and backbones."""

    def __init__(self, folder: Path, data: Path) -> None:
        """Args: `folder` is made where absent; `data` holds the `.npz` files."""
        self.folder, self.data = folder, data
        self._pool: tuple[DataSet, Images] | None = None

    def known(self, recipe: Recipe) -> Victim | None:
        """The victim, if it was trained before."""
        folder = self._place(recipe)
        stated = folder / STATED
        return Victim(recipe, folder, json.loads(stated.read_text(encoding="utf-8"))) if stated.is_file() else None

    def victim(self, recipe: Recipe) -> Victim:
        """The victim, trained now if it was not before.

        Raises:
            FileNotFoundError: its data set is not there.
            ValueError: the data set is too small.
        """
        return self.known(recipe) or self._train(recipe)

    def _place(self, recipe: Recipe) -> Path:
        return self.folder / "victims" / f"{recipe.name}-{recipe.key}"

    def _train(self, recipe: Recipe) -> Victim:
        parts, base = draw(recipe, self._images(recipe.data)), self._base(recipe)
        began = time.monotonic()
        folds = {name: _fold(getattr(parts, name), recipe, base) for name in ("training", "validation", "test")}
        net = network(recipe)
        trained = train(net, recipe.training, folds["training"], folds["validation"], recipe.data, recipe.seed)
        measured = _measured(trained, folds["training"], folds["test"], time.monotonic() - began)
        whole = nn.Sequential(*base, *trained.net) if isinstance(trained.net, nn.Sequential) and base else trained.net
        self._write(recipe, parts, whole, measured)
        return Victim(recipe, self._place(recipe), measured)

    def _write(self, recipe: Recipe, parts: Draw, net: nn.Module, measured: dict[str, Any]) -> None:
        place = self._place(recipe)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            folder = Path(temporary) / "victim"
            folder.mkdir()
            save_described(folder / MODEL, net.state_dict(), description(recipe))
            save(folder / "members.npz", parts.training.take(slice(recipe.members)))
            for name in ("controls", "strangers"):
                save(folder / f"{name}.npz", getattr(parts, name))
            text = json.dumps({"recipe": asdict(recipe), **measured}, indent=2)
            (folder / STATED).write_text(text + "\n", encoding="utf-8")
            shutil.move(folder, place)

    def _images(self, data: DataSet) -> Images:
        """The pool; the one used last stays in memory."""
        if self._pool is None or self._pool[0] is not data:
            self._pool = (data, load_pool(data, self.data))
        return self._pool[1]

    def _base(self, recipe: Recipe) -> list[nn.Module]:
        """The frozen layers below a head; none for a network that is trained as a whole."""
        if not isinstance(recipe.net, Head):
            return []
        net, data = recipe.net.backbone, recipe.data
        layers = [*convolutions(net, data.shape[0]), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        path = self.folder / "backbones" / f"{data}-{'-'.join(map(str, net.channels))}.safetensors"
        whole = nn.Sequential(*layers, nn.Linear(net.channels[-1], 10))
        if path.is_file():
            whole.load_state_dict(load_file(path))
        else:
            self._train_backbone(whole, data, path)
        return list(whole.eval())[:-1]

    def _train_backbone(self, whole: nn.Sequential, data: DataSet, path: Path) -> None:
        torch.manual_seed(0)
        for module in whole:
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.reset_parameters()
        images = for_backbones(self._images(data))
        fold = Fold(images.inputs(data), images.labels)
        steps = -(-len(images) // 128) * _BACKBONE_EPOCHS
        train(whole, Training(steps, "adam", 1e-3, batch=128, drops=(0.8,), augment=True), fold, fold, data, seed=0)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        save_file(whole.state_dict(), partial)
        partial.replace(path)


def _fold(images: Images, recipe: Recipe, base: list[nn.Module]) -> Fold:
    """Images as the trained part of the network reads them."""
    inputs = images.inputs(recipe.data)
    return Fold(logits(nn.Sequential(*base).eval(), inputs) if base else inputs, images.labels)


def _measured(trained: Trained, training: Fold, test: Fold, seconds: float) -> dict[str, Any]:
    """How well it knows what it was trained on, and what it never saw."""
    near = Fold(training.inputs[:_MEASURED], training.labels[:_MEASURED])
    outputs = [logits(trained.net, fold.inputs) for fold in (near, test)]
    losses = [loss(out, fold.labels) for out, fold in zip(outputs, (near, test), strict=True)]
    accuracy = [
        float((_predicted(out) == fold.labels).float().mean()) for out, fold in zip(outputs, (near, test), strict=True)
    ]
    seen = [1] * len(near.labels) + [0] * len(test.labels)
    return {
        "train_accuracy": accuracy[0],
        "test_accuracy": accuracy[1],
        "train_loss": float(losses[0].mean()),
        "test_loss": float(losses[1].mean()),
        "loss_auc": float(roc_auc_score(seen, -torch.cat(losses).numpy())),
        "steps": trained.steps,
        "epsilon": trained.epsilon,
        "seconds": seconds,
    }


def _predicted(outputs: torch.Tensor) -> torch.Tensor:
    return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(dim=1)
