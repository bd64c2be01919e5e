"""What a template is (`Template`), what it returns, and how the templates in this folder are found (`discover`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from types import ModuleType
from typing import TYPE_CHECKING

from auditcli import plugins
from auditcli.types import BinarisedStack, DenseStack, Family, Format, Profile

if TYPE_CHECKING:
    from torch import nn

    from auditcli.families._dossier import Dossier


class Rank(IntEnum):
    """How a template knows what a checkpoint is. Lower ranks are asked first, and the first that knows is believed."""

    STATED = 0
    """The user names code of their own that builds it."""
    DECLARED = 1
    """The file says it: a graph, or a configuration."""
    NAMED = 2
    """Names and shapes of all weights are those of a published architecture."""
    VALUED = 3
    """The numbers of the weights are of a kind that only one sort of network has."""
    SHAPED = 4
    """Names and shapes fit an architecture with open sizes."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a checkpoint does not fit a template."""

    why: str
    explained: float
    """Share of the tensors that would fit, in [0, 1]; the nearest template is named to the user."""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """What a template builds: the network behind the normalisation."""

    net: nn.Module
    """Normalised images (n, c, h, w) -> logits (n, outputs)."""
    dense: DenseStack | None = None
    binarised: BinarisedStack | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """One way to recognise and build networks.

    `recognise` returns a `Mismatch` where the checkpoint is something else, and raises `OpenQuestion` where it fits but
    leaves something open. `build` is called with the profile that `recognise` returned.
    """

    name: str
    rank: Rank
    formats: frozenset[Format]
    """Checkpoints of other formats are never shown to it."""
    recognise: Callable[[Dossier], Profile | Mismatch]
    build: Callable[[Dossier, Profile], Built]
    family: Family | None = None
    """Of everything it recognises; None where that depends on the checkpoint."""


def discover(modules: Iterable[ModuleType] | None = None) -> tuple[Template, ...]:
    """The templates of all public modules of this folder, by rank and name.

    Raises:
        TypeError: a module that does not hold exactly one `Template`, by name.
    """
    found = plugins.discover("auditcli.families", Template, modules=modules)
    return tuple(sorted(found, key=lambda template: (template.rank, template.name)))
