"""Networks of other libraries, without memory first and without initial weights ever: `blueprint`, `filled`.

A configuration of strangers can describe a network of any size. The blueprint of it lies on the `meta` device, and
building stops once it holds more numbers or more tensors than the weights account for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

if TYPE_CHECKING:
    from torch import Tensor

_SPARE_NUMBERS = 1_000_000
_SPARE_TENSORS = 1_000


class TooLarge(ValueError):  # noqa: N818 - says what is wrong
    """A network larger than its weights; the message says by how much."""


def blueprint(make: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> nn.Module:
    """What `make` builds, in eval mode on the `meta` device.

    Raises:
        TooLarge: it holds over twice as many numbers, or tensors, as the weights.
    """
    with torch.device("meta"), _counted(weights):
        return make().eval()


def filled(make: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> nn.Module:
    """What `make` builds, with every parameter and stored buffer taken from the weights, which it shares.

    Only buffers that are never stored, such as tables of positions, are computed. `make` was called by `blueprint`.

    Raises:
        RuntimeError: a name or a shape differs.
    """
    with torch.device("cpu"):
        # Some networks make their tables where their parameters are, or look at initial weights.
        with suppress(RuntimeError), _hollow():
            net = make()
            net.load_state_dict(weights, strict=True, assign=True)
            if not _holds_meta(net):
                return net.eval()
        with _quiet():
            net = make()
            net.load_state_dict(weights, strict=True, assign=True)
            return net.eval()


def runs_on(net: nn.Module, shape: tuple[int, int, int]) -> int | str:
    """Outputs of a network on the `meta` device for one image of that shape, or why it does not take it."""
    try:
        with torch.no_grad(), torch.device("meta"), _quiet():
            logits = net(torch.empty(1, *shape))
    except Exception as error:  # Whatever a network of another library raises.
        return complaint(error)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != 1:
        return "it does not return one row of logits"
    return logits.shape[1]


def differences(net: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Names that are `missing` from the weights, `unexpected` among them, or of another shape (`mismatched`)."""
    wanted = {name: tensor.shape for name, tensor in net.state_dict().items()}
    return {
        "missing": sorted(wanted.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - wanted.keys()),
        "mismatched": sorted(name for name in wanted.keys() & weights.keys() if wanted[name] != weights[name].shape),
    }


def _holds_meta(net: nn.Module) -> bool:
    loose = (value for module in net.modules() for value in vars(module).values() if isinstance(value, torch.Tensor))
    return any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers(), *loose))


@contextmanager
def _counted(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Stop what registers more than the weights account for."""
    held = sum(tensor.numel() for tensor in weights.values())
    numbers, tensors = 2 * held + _SPARE_NUMBERS, 2 * len(weights) + _SPARE_TENSORS

    def count(_: nn.Module, __: str, tensor: Tensor | None) -> None:
        nonlocal numbers, tensors
        numbers, tensors = numbers - (0 if tensor is None else tensor.numel()), tensors - 1
        if numbers < 0 or tensors < 0:
            raise TooLarge(f"it describes a network over twice as large as its weights, which are {held} numbers")

    with _quiet():
        hooks = register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


@contextmanager
def _hollow() -> Iterator[None]:
    """Parameters go to the `meta` device as they are registered; nothing then spends time on initial weights."""

    def empty(_: nn.Module, __: str, tensor: Tensor | None) -> Tensor | None:
        if tensor is None or tensor.is_meta:
            return None
        return nn.Parameter(tensor.to("meta"), tensor.requires_grad)

    with _quiet():
        hook = register_module_parameter_registration_hook(empty)  # type: ignore[arg-type]
        try:
            yield
        finally:
            hook.remove()


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def complaint(error: BaseException) -> str:
    """What another library said about a configuration: its first line, fit to print, at most 160 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return fit_to_print(lines[0], 160)


def fit_to_print(text: str, longest: int) -> str:
    """A stranger's text without control characters, cut."""
    return "".join(character if character.isprintable() else "?" for character in text[:longest])
