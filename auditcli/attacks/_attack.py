"""What an attack is (`Attack`, made by `@attack`), and how those in this folder are found (`all_attacks`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from auditcli.attacks._setting import Setting, as_given
from auditcli.errors import UsageError
from auditcli.plugins import discover
from auditcli.types import Profile, Step, Trait

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from auditcli.types import Budget, Target

Steps = Callable[..., "Iterator[Step]"]
_DOOR = "initial"
"""The one parameter of an attack that takes images; it is no setting."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A technique that guesses training images from a target alone."""

    name: str
    summary: str
    paper: str
    requires: frozenset[Trait]
    steps: Steps
    """`steps(target, budget, rng, **settings)` yields guesses without end; the driver stops it."""
    settings: Mapping[str, Setting]
    """Its own settings, recorded in the report; the defaults unless `with_settings` changed them."""
    negative_control: bool = False
    """It never looks at the weights: any leak it finds is a fault of the calibration."""
    weighable: bool = False
    """Its candidates explain the first layer of a dense network, class by class as in `weights.Sides.balanced`, so that
    `evidence` can weigh what restarts agree on."""
    on_request: bool = False
    """It runs only where it is named: on most models it costs more than it shows."""
    accepts_initial: bool = False
    """It can begin from given images: `steps` has a keyword `initial`. No audit gives any, see `initialisation`."""

    def missing(self, profile: Profile) -> frozenset[Trait]:
        """What the attack needs and the model has not."""
        return self.requires - profile.traits

    def start(
        self, target: Target, budget: Budget, rng: torch.Generator, initial: Tensor | None = None
    ) -> Iterator[Step]:
        """Its steps with its settings, from images (n, c, h, w) in [0, 1] where some are given and it accepts them."""
        door = {} if initial is None else {_DOOR: initial}
        return self.steps(target, budget, rng, **self.settings, **door)

    def with_settings(self, **changed: Any) -> Attack:
        """The same attack with other settings, which are recorded like the defaults.

        Args:
            changed: Values of the type of the default, or such as text, e.g. `kl="0.5"`.

        Raises:
            UsageError: it has no setting of that name, or the value is not of its type.
        """
        if unknown := changed.keys() - self.settings.keys():
            raise UsageError(
                f"{self.name} has no setting {', '.join(sorted(unknown))}",
                hint=f"it has {', '.join(self.settings)}" if self.settings else "it has no settings at all",
            )
        values = {name: as_given(f"{self.name}.{name}", self.settings[name], value) for name, value in changed.items()}
        return replace(self, settings=MappingProxyType({**self.settings, **values}))


def attack(
    *,
    paper: str,
    requires: frozenset[Trait] = frozenset(),
    negative_control: bool = False,
    weighable: bool = False,
    on_request: bool = False,
) -> Callable[[Steps], Attack]:
    """Make a generator function `(target, budget, rng, *, settings...) -> Iterator[Step]` an `Attack`.

    Its name is the function's, its summary the first line of the docstring, its settings the keyword-only defaults. A
    keyword-only `initial: Tensor | None = None` is no setting: it says that the attack can begin from given images.
    """

    def decorate(steps: Steps) -> Attack:
        settings = {
            name: parameter.default
            for name, parameter in inspect.signature(steps).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        accepts_initial = settings.get(_DOOR, ...) is None
        if accepts_initial:
            del settings[_DOOR]
        return Attack(
            name=steps.__name__,
            summary=(inspect.getdoc(steps) or "").split("\n", 1)[0].rstrip("."),
            paper=paper,
            requires=requires,
            steps=steps,
            settings=MappingProxyType(settings),
            negative_control=negative_control,
            weighable=weighable,
            on_request=on_request,
            accepts_initial=accepts_initial,
        )

    return decorate


def all_attacks() -> tuple[Attack, ...]:
    """The attacks of this folder, by name, then those of the entry-point group `privaudit.attacks`."""
    return tuple(discover("auditcli.attacks", Attack, group="privaudit.attacks"))
