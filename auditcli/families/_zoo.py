"""Published models that a library builds by their name: `Exhibit`, `exhibit`. Nothing is downloaded."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from auditcli.errors import UnknownModel
from auditcli.families._blueprint import TooLarge, blueprint, complaint, differences, filled
from auditcli.families._names import readings
from auditcli.families._published import difference

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier
    from auditcli.families._publication import Publication

_INSTALL = {"timm": "pip install 'privaudit[timm]'", "torchvision": "pip install torchvision"}
_CHANNELS = 3
_SLOW_TO_DRAW = ("googlenet", "inception_v3")
"""Of torchvision: they draw initial weights for minutes unless told not to."""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A published model in the sizes of the weights."""

    built_by: str
    """The library, with the version that is installed."""
    make: Callable[[], nn.Module]
    state: Mapping[str, Tensor]
    """Its weights under its own names."""
    blueprint: nn.Module
    """On the `meta` device."""
    channels: int
    side: int
    """Height and width of its images."""

    def load(self) -> nn.Module:
        """The network with every weight from the state dict."""
        return filled(self.make, self.state)


def exhibit(dossier: Dossier, found: Publication) -> Exhibit | str:
    """The published model in the number of classes, channels and image size of the weights, or what differs.

    Raises:
        UnknownModel: the library that builds it cannot be imported.
    """
    library, create = _creator(dossier, found)
    stated = dossier.input_shape()
    sides = (found.input_shape[-1], *(found.sides if stated is None else stated[1:2]))
    why = ""
    for state in readings(dossier.tensors):
        for side in dict.fromkeys(sides):
            fitted = _fitted(create, state, found, side)
            if isinstance(fitted, Exhibit):
                return replace(fitted, built_by=library)
            why = why or fitted
    return why


def _fitted(
    create: Callable[..., nn.Module], state: Mapping[str, Tensor], found: Publication, side: int
) -> Exhibit | str:
    keywords: dict[str, Any] = {} if side == found.input_shape[-1] else {"img_size": side}
    try:
        plain = blueprint(lambda: create(**keywords), state)
        keywords |= _sizes(plain, state)
        net = blueprint(lambda: create(**keywords), state)
    except (TypeError, ValueError, RuntimeError, AssertionError, TooLarge) as error:
        return f"{found.name} cannot be built for it: {complaint(error)}"
    counted = {**_counters(net), **state}
    if any(differences(net, counted).values()):
        expected = net.state_dict()
        return difference(expected, state, classifier=list(expected)[-1].rpartition(".")[0])
    return Exhibit("", lambda: create(**keywords), counted, net, keywords.get("in_chans", _CHANNELS), side)


def _sizes(net: nn.Module, state: Mapping[str, Tensor]) -> dict[str, int]:
    """Classes and channels in which the weights differ from the network as published."""
    found = {}
    for name, published in net.state_dict().items():
        here = state.get(name)
        if here is None or here.shape == published.shape or not name.endswith("weight") or here.ndim != published.ndim:
            continue
        if here.ndim == 4 and here.shape[0] == published.shape[0] and published.shape[1] == _CHANNELS:
            found["in_chans"] = here.shape[1]
        elif here.ndim in {2, 4} and here.shape[1:] == published.shape[1:]:
            found["num_classes"] = here.shape[0]
    return found


def _counters(net: nn.Module) -> dict[str, Tensor]:
    """Of batch norms: many files leave them out."""
    return {
        name: torch.zeros((), dtype=torch.long) for name in net.state_dict() if name.endswith("num_batches_tracked")
    }


def _creator(dossier: Dossier, found: Publication) -> tuple[str, Callable[..., nn.Module]]:
    """The first library that can be imported, with its version, and how it builds the model."""
    problems = []
    for library, version in found.libraries:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module: Any = importlib.import_module(library)
        except Exception as error:  # A torchvision of another torch raises RuntimeError, a missing one ImportError.
            problems.append(f"{library} (this index knows {version}) cannot be imported: {complaint(error)}")
            continue
        return f"{library} {module.__version__}", _maker(library, module, found.name)
    raise UnknownModel(
        f"{dossier.checkpoint.name}: names and shapes of the weights are those of {found.title}, and {problems[0]}",
        hint=" or ".join(_INSTALL[library] for library, _ in found.libraries),
    )


def _maker(library: str, module: Any, name: str) -> Callable[..., nn.Module]:
    if library == "timm":
        return lambda **keywords: module.create_model(name, pretrained=False, **keywords)
    drawn = {"init_weights": False} if name in _SLOW_TO_DRAW else {}
    return lambda **keywords: module.models.get_model(name, weights=None, **drawn, **keywords)
