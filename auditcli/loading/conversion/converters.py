"""Libraries that turn ONNX graphs into torch modules: `Converter` and `CONVERTERS`, the first choice first.

Each gets the graph in the form it understands best. None is trusted: `conversion` checks what they return.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING

from torch import nn

from auditcli.loading.conversion.definitions import spelled_out
from auditcli.loading.conversion.names import plainly_named
from auditcli.loading.conversion.padding import with_explicit_padding
from auditcli.loading.conversion.versions import in_older_version

if TYPE_CHECKING:
    from auditcli.loading.conversion.draft import Draft

_SPELLED_OUT = frozenset({"HardSwish", "RMSNormalization"})
"""onnx2fx's own have no second derivative, or compute in float32 whatever they read."""


@dataclass(frozen=True, slots=True)
class Converter:
    """One of them. `convert` raises whatever the library does, ModuleNotFoundError where it is not installed."""

    name: str
    convert: Callable[[Draft], nn.Module]

    @property
    def version(self) -> str:
        """Name and installed version."""
        return f"{self.name} {version(self.name)}"


def _onnx2fx(draft: Draft) -> nn.Module:
    import onnx2fx

    plain = plainly_named(with_explicit_padding(spelled_out(draft, _SPELLED_OUT)))
    module: nn.Module = onnx2fx.convert(plain.model())
    return _with_parameters(module, plain)


def _onnx2torch(draft: Draft) -> nn.Module:
    with _torchvision_or_stub():
        from onnx2torch import convert as onnx2torch
    plain = plainly_named(in_older_version(with_explicit_padding(draft)))
    module: nn.Module = onnx2torch(plain.model())
    return _with_parameters(module, plain)


CONVERTERS = (Converter("onnx2fx", _onnx2fx), Converter("onnx2torch", _onnx2torch))


def _with_parameters(module: nn.Module, draft: Draft) -> nn.Module:
    """The module with the weights among its buffers made parameters; running statistics stay buffers."""
    statistics = {name for node in draft.nodes if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    statistics |= {"running_mean", "running_var"}
    for part in module.modules():
        for name, buffer in list(part.named_buffers(recurse=False)):
            if buffer.is_floating_point() and buffer.ndim and buffer.numel() > 1 and name not in statistics:
                delattr(part, name)
                part.register_parameter(name, nn.Parameter(buffer, requires_grad=False))
    return module


@contextmanager
def _torchvision_or_stub() -> Iterator[None]:
    """Lets onnx2torch be imported without a working torchvision, which it needs for detection operators alone."""
    if "onnx2torch" in sys.modules:
        yield
        return
    stubs = {name: ModuleType(name) for name in ("torchvision", "torchvision.ops")}

    def missing(*_: object, **__: object) -> None:
        raise RuntimeError("detection operators need torchvision")

    for name in ("nms", "roi_align", "box_convert"):
        setattr(stubs["torchvision.ops"], name, missing)
    setattr(stubs["torchvision"], "ops", stubs["torchvision.ops"])  # noqa: B010
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "torchvision"}
    sys.modules.update(stubs)
    try:
        yield
    finally:
        for name in stubs:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)
