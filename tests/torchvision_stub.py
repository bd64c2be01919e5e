"""timm without torchvision: `imported_timm` gives the library on machines whose torch no torchvision wheel fits.

timm imports a handful of names of torchvision and needs none of them to build or run a classifier. They stand in while
timm is imported, and are gone right after, so that nothing else takes them for the library. The product never does
this: who installs the extra has a torchvision that works.

    with imported_timm() as timm:
        model = timm.create_model("resnet18")
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from types import ModuleType

from torch import nn


class InterpolationMode(Enum):
    """The names that timm puts into tables."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


class FrozenBatchNorm2d(nn.Module):
    """A name for `isinstance`: no classifier that timm builds by default holds one."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()
        raise TypeError("the stub has no FrozenBatchNorm2d")


_DATASETS = ("CIFAR100", "CIFAR10", "MNIST", "KMNIST", "FashionMNIST", "ImageFolder")


@contextmanager
def imported_timm() -> Iterator[ModuleType]:
    """timm, imported under the stub; afterwards `import timm` fails as it does on a bare machine."""
    with _without("timm", "torchvision"):
        sys.modules.update(_modules())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                timm = importlib.import_module("timm")
        finally:
            _forget("torchvision")
        yield timm


@contextmanager
def _without(*packages: str) -> Iterator[None]:
    """Nothing of these packages is imported, before and after."""
    for package in packages:
        _forget(package)
    try:
        yield
    finally:
        for package in packages:
            _forget(package)


def _forget(package: str) -> None:
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]


def _modules() -> dict[str, ModuleType]:
    """The stub by module name."""
    functional = _module("transforms.functional", InterpolationMode=InterpolationMode)
    transforms = _module("transforms", ToTensor=object, InterpolationMode=InterpolationMode, functional=functional)
    datasets = _module("datasets", **dict.fromkeys(_DATASETS, object))
    misc = _module("ops.misc", FrozenBatchNorm2d=FrozenBatchNorm2d)
    ops = _module("ops", misc=misc)
    whole = _module("", transforms=transforms, datasets=datasets, ops=ops)
    return {module.__name__: module for module in (whole, transforms, functional, datasets, ops, misc)}


def _module(name: str, **names: object) -> ModuleType:
    module = ModuleType(f"torchvision.{name}".rstrip("."))
    module.__path__ = []
    vars(module).update(names)
    return module
