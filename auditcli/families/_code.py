"""Code that the user names to build a network: `Network`, `network`.

The only place where code runs that is not privaudit's or a library's, and only what the user asks for by `--arch`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from auditcli.errors import LoadError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

_LISTED = 4
_STRIPPED = ("module.", "model.", "_orig_mod.", "net.", "network.")
"""Prefixes that wrappers of training put before every name."""
_BOOKKEEPING = "num_batches_tracked"
"""Counted in training, and of no effect after it."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the user with the weights of a file."""

    net: nn.Module
    stripped: str
    """What was cut off the names of the file's tensors."""


def network(arch: str, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor], file: str, seed: int) -> Network:
    """Call the user's code, and load the weights strictly into what it returns.

    Args:
        arch: `module:callable`, or `file.py:callable`.
        arguments: Keyword arguments of the call.
        tensors: Weights by name.
        file: Name of their file, for messages.
        seed: Of torch while the code runs: what it draws must be replaced by the weights.

    Raises:
        UsageError: `arch` names no callable.
        LoadError: the code raises, returns no `nn.Module`, or one whose weights are not exactly those of the file.
    """
    where, colon, name = arch.rpartition(":")
    if not (where and colon and name):
        raise UsageError(f"--arch {arch!r} is not module:callable", hint="--arch mymodels:Net, or --arch models.py:Net")
    folder = Path(where).resolve().parent if where.endswith(".py") else Path.cwd()
    with _importing_from(folder), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        make = _callable(_module(where, arch), name, arch)
        with blamed(arch, "when it was called", "--arch-arg KEY=VALUE gives it arguments"):
            net = make(**arguments)
    if not isinstance(net, nn.Module):
        raise LoadError(
            f"--arch {shown(arch)} returned {type(net).__name__}; a torch.nn.Module was expected",
            hint="name a class, or a function that returns the network",
        )
    with blamed(arch, "when its weights were loaded", "check load_state_dict of the class"):
        net = net.float().eval()
        return Network(net, _loaded(net, tensors, arch, file))


def shown(arch: str) -> str:
    """The callable as reports show it: without the folders of the auditor's machine."""
    where, _, name = arch.rpartition(":")
    return f"{Path(where).name}:{name}"


@contextmanager
def blamed(arch: str, when: str, hint: str) -> Iterator[None]:
    """Turns whatever the user's code raises into one line that says so; `--verbose` shows the traceback."""
    try:
        yield
    except (LoadError, UsageError):
        raise
    except (Exception, SystemExit) as error:  # It is anybody's code: it may raise anything.
        what = " ".join(str(error).split())[:200]
        raise LoadError(
            f"--arch {shown(arch)} raised {type(error).__name__} {when}{': ' if what else ''}{what}",
            hint=f"{hint}; --verbose prints the traceback",
        ) from error


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Lets the user's modules import each other, and leaves no compiled files beside them."""
    before = sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(str(folder))


def _module(where: str, arch: str) -> ModuleType:
    if not where.endswith(".py"):
        with blamed(arch, "when it was imported", "the module must lie in the current folder or be installed"):
            return importlib.import_module(where)
    path = Path(where).resolve()
    if not path.is_file():
        raise UsageError(f"--arch: there is no file {where}", hint="--arch path/to/models.py:Net")
    name = f"_arch_of_the_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"--arch: {where} cannot be imported", hint="--arch path/to/models.py:Net")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with blamed(arch, "when it was imported", "run the file on its own"):
        spec.loader.exec_module(module)
    return module


def _callable(module: ModuleType, name: str, arch: str) -> Callable[..., Any]:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if callable(found) and not isinstance(found, nn.Module):
        make: Callable[..., Any] = found
        return make
    made = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, nn.Module)]
    own = [key for key in made if vars(module)[key].__module__ == module.__name__]
    what = "is a network, not what makes one" if isinstance(found, nn.Module) else "is no callable there"
    raise UsageError(
        f"--arch {shown(arch)}: {name} {what}",
        hint=f"networks in that module: {', '.join(own[:_LISTED]) or 'none'}",
    )


def _loaded(net: nn.Module, tensors: Mapping[str, Tensor], arch: str, file: str) -> str:
    """Fill all of the network's state, and return what was cut off the names for it."""
    wanted = net.state_dict()
    for prefix in ("", *_STRIPPED):
        if not all(name.startswith(prefix) for name in tensors):
            continue
        state = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        state |= _shared(wanted, state) | {
            name: tensor for name, tensor in wanted.items() if name.endswith(_BOOKKEEPING) and name not in state
        }
        if state.keys() == wanted.keys() and all(state[name].shape == wanted[name].shape for name in wanted):
            net.load_state_dict(state, strict=True)
            return prefix
    raise _differing(wanted, tensors, arch, file)


def _shared(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that the network holds under a second name: files hold them once."""
    by_place = {tensor.data_ptr(): name for name, tensor in wanted.items() if name in state and tensor.numel()}
    return {
        name: state[by_place[tensor.data_ptr()]]
        for name, tensor in wanted.items()
        if name not in state and tensor.data_ptr() in by_place
    }


def _differing(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], arch: str, file: str) -> LoadError:
    missing = [name for name in wanted if name not in tensors and not name.endswith(_BOOKKEEPING)]
    unexpected = [name for name in tensors if name not in wanted]
    shapes = [
        f"{name} is {tuple(tensors[name].shape)} in the file and {tuple(tensor.shape)} in the network"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    kinds = (("is missing", missing), ("has no place in the network", unexpected), ("", shapes))
    parts = [
        f"{names[0]}{' ' if kind else ''}{kind}" + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")
        for kind, names in kinds
        if names
    ]
    return LoadError(
        f"{file} does not fit --arch {shown(arch)}: {'; '.join(parts)}",
        hint="--arch-arg KEY=VALUE gives the network other sizes; privaudit inspect -v lists the tensors of a file",
    )
