"""Networks of growing depth trained on the same sixty images: `Subject`, `NAMES`, `subject`.

The images are the members of the fixture `mlp-leaky`, distinctive ones of Fashion-MNIST, and so are the controls: half
are given to attacks to begin from, the other half score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch
from kkt_victims import Recipe, train
from torch import Tensor

from auditcli.auditing import load
from auditcli.images import read_sample
from auditcli.loading import save_described
from auditcli.resources import resource
from auditcli.types import Sample, Target

_CLASSES = 10
_MEAN, _STD = 0.286, 0.353
_HELD_OUT = 16
"""Controls of each class to begin from; the other 24 score."""
_HIDDEN: Mapping[str, tuple[int, ...]] = MappingProxyType({"affine": (), "one hidden layer": (300,)})
NAMES = (*_HIDDEN, "mlp-leaky")


@dataclass(frozen=True, slots=True)
class Subject:
    """A network, what it was trained on, and what it never saw."""

    target: Target
    members: Sample
    held_out: Sample
    """To begin from."""
    controls: Sample
    """To score with; none of them is among `held_out`."""


def subject(name: str, cache: Path) -> Subject:
    """The network of that name, trained here or read where it was trained before.

    Args:
        name: One of `NAMES`; `mlp-leaky` is the fixture itself.
        cache: Where trained weights are kept.
    """
    members = _sample(resource("fixtures", "mlp-leaky") / "members.npz")
    everyone = _sample(resource("fixtures", "controls.npz"))
    labels = _labels(everyone)
    place = torch.stack([(labels[:i] == label).sum() for i, label in enumerate(labels)])
    path = resource("fixtures", "mlp-leaky") / "model.safetensors" if name == "mlp-leaky" else _trained(name, cache)
    return Subject(
        load(path, device="cpu"), members, _part(everyone, place < _HELD_OUT), _part(everyone, place >= _HELD_OUT)
    )


def _trained(name: str, cache: Path) -> Path:
    sides = tuple((label,) for label in range(_CLASSES))
    recipe = Recipe("mlp-leaky", sides, images=60, mean=_MEAN, std=_STD, hidden=_HIDDEN[name])
    path = cache / f"{name.replace(' ', '-')}-{recipe.key}.safetensors"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        members = _sample(resource("fixtures", "mlp-leaky") / "members.npz")
        described = {
            "family": "mlp",
            "activation": "relu",
            "input_shape": (1, 28, 28),
            "classes": _CLASSES,
            "mean": (_MEAN,),
            "std": (_STD,),
        }
        save_described(path, train(recipe, members.images, _labels(members)).state_dict(), described)
    return path


def _sample(path: Path) -> Sample:
    return read_sample(path, (1, 28, 28), role="images")


def _labels(sample: Sample) -> Tensor:
    if sample.labels is None:
        raise TypeError("the images of the fixtures have labels")
    return sample.labels


def _part(sample: Sample, chosen: Tensor) -> Sample:
    index = torch.nonzero(chosen).flatten().tolist()
    return replace(
        sample,
        images=sample.images[index],
        ids=tuple(sample.ids[i] for i in index),
        hashes=tuple(sample.hashes[i] for i in index),
        labels=_labels(sample)[index],
    )
