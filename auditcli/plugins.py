"""Finds plug-ins: by looking into a folder of the package, and by entry points of other distributions.

Public names: `discover`, `names`, `count`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TypeVar

P = TypeVar("P")


def discover(package: str, kind: type[P], *, group: str = "", modules: Iterable[ModuleType] | None = None) -> list[P]:
    """The plug-ins of all public modules of a package, in the order of their names, then those of entry points.

    Args:
        package: Dotted name of the folder; modules whose names begin with `_` are machinery.
        kind: What a plug-in is an instance of.
        group: Entry-point group other distributions may use, or empty.
        modules: Looked into instead of the folder.

    Raises:
        TypeError: a module does not hold exactly one plug-in, or an entry point is none; the message names it.
    """
    found = []
    for module in _modules(package) if modules is None else modules:
        held = [value for value in vars(module).values() if isinstance(value, kind)]
        if len(held) != 1:
            raise TypeError(f"{module.__name__} holds {len(held)} of {kind.__name__}; exactly one was expected")
        found.append(held[0])
    for point in entry_points(group=group) if group else ():
        plugin = point.load()
        if not isinstance(plugin, kind):
            raise TypeError(f"entry point {point.name} of {group} is no {kind.__name__}")
        found.append(plugin)
    return found


def _modules(package: str) -> Iterable[ModuleType]:
    folder = importlib.import_module(package)
    for info in pkgutil.iter_modules(folder.__path__):
        if not info.name.startswith("_"):
            yield importlib.import_module(f"{package}.{info.name}")


def names(folder: str, *, group: str = "") -> list[str]:
    """What the modules and entry points are called that `discover` would look into; none is imported."""
    own = pkgutil.iter_modules([str(Path(__file__).with_name(folder))])
    others = entry_points(group=group) if group else ()
    return [*(info.name for info in own if not info.name.startswith("_")), *(point.name for point in others)]


def count(folder: str, *, group: str = "") -> int:
    """How many plug-ins `discover` would find in a folder of this package and by entry points; none is imported."""
    return len(names(folder, group=group))
