"""What a family is (`Template`), what it returns, and how the families in this folder are found (`discover`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from auditcli import plugins
from auditcli.types import DenseStack, Family, Profile

if TYPE_CHECKING:
    from torch import nn

    from auditcli.families._dossier import Dossier


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a checkpoint is not of a family."""

    why: str
    explained: float
    """Share of the tensors that would fit the family, in [0, 1]; the nearest family is named to the user."""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """What a family builds: the network behind the normalisation."""

    net: nn.Module
    """Normalised images (n, c, h, w) -> logits (n, outputs)."""
    dense: DenseStack | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A family of architectures.

    `recognise` returns a `Mismatch` where the checkpoint is something else, and raises `UnknownModel` where it is of
    this family but leaves a question open. `build` is called with the profile that `recognise` returned.
    """

    family: Family
    recognise: Callable[[Dossier], Profile | Mismatch]
    build: Callable[[Dossier, Profile], Built]
    fallback: bool = False
    """Asked only when no other family recognises the checkpoint."""


def discover(modules: Iterable[ModuleType] | None = None) -> tuple[Template, ...]:
    """The templates of all public modules of this folder, fallbacks last.

    Raises:
        TypeError: a module that does not hold exactly one `Template`, by name.
    """
    found = plugins.discover("auditcli.families", Template, modules=modules)
    return tuple(sorted(found, key=lambda template: (template.fallback, template.family)))
