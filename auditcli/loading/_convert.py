"""ONNX graph -> torch module that is known to compute the same: `convert`.

Converters are tried in a fixed order. The first is accepted whose outputs agree with onnxruntime (or, where that is not
installed, the reference evaluator of onnx) on random inputs, and through which gradients reach the input.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import nn

from auditcli.errors import LoadError
from auditcli.loading._files import printable

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor

TOLERANCE = 1e-4
"""Largest accepted difference, relative to the largest output (at least 1)."""
_OPEN_SIDES = (224, 64, 32, 28)
"""Heights and widths tried where the graph leaves them open."""

Evaluate = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True, slots=True)
class Converted:
    """An accepted conversion."""

    module: nn.Module
    converter: str
    difference: float
    checked_against: str


class PerImage(nn.Module):
    """Runs a module that is fixed to a batch of one on any number of images, one at a time or vectorised."""

    def __init__(self, net: nn.Module, *, vectorised: bool) -> None:
        super().__init__()
        self.net = net
        self.vectorised = vectorised

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, classes) of inputs (n, ...)."""
        if self.vectorised:
            out: Tensor = torch.vmap(lambda image: self.net(image[None])[0])(x)
            return out
        return torch.cat([self.net(image[None]) for image in x])


def convert(path: Path, model: ModelProto, input_shape: tuple[int | None, ...]) -> Converted:
    """Convert a graph with one input and one output, and check the result.

    Args:
        path: For messages.
        model: The graph, its weights inside.
        input_shape: (n, c, h, w), (n, h, w, c) or (n, d); None is an open size.

    Returns:
        A module in eval mode for any n, with how far it is from the evaluator that it was checked against.

    Raises:
        LoadError: naming for each converter what went wrong, e.g. the operator it does not know.
    """
    images, expected, evaluator = _expected(path, model, input_shape)
    scale = max(1.0, expected.abs().max().item())
    reasons = []
    for name, converter in (("onnx2fx", _onnx2fx), ("onnx2torch", _onnx2torch)):
        try:
            # A traced module prints its own trace to stderr when it fails, which is one of the answers expected here.
            with warnings.catch_warnings(), redirect_stderr(StringIO()):
                warnings.simplefilter("ignore")
                module = _any_batch(converter(model).eval().requires_grad_(False), images, scale)
            difference = (module(images).detach() - expected).abs().max().item()
            _require_gradient(module, images)
        except ModuleNotFoundError:
            reasons.append(f"{name} is not installed")
        except Exception as error:  # Converters raise whatever their parts do; each is only one of two tries.
            reasons.append(f"{name}: {(str(error).strip() or type(error).__name__).splitlines()[0][:160]}")
        else:
            if difference <= TOLERANCE * scale:
                return Converted(module, f"{name} {version(name)}", difference, evaluator)
            reasons.append(f"{name} is off by {difference:.2g} at outputs up to {scale:.2g}")
    raise LoadError(
        f"{printable(path)} cannot be run in torch: {'; '.join(reasons)}",
        hint="export the float32 model again with the standard exporter: torch.onnx.export(model.eval(), (images,), F)",
    )


def _expected(path: Path, model: ModelProto, input_shape: tuple[int | None, ...]) -> tuple[Tensor, Tensor, str]:
    """Two random inputs, what the graph returns for them one by one, and the evaluator that said so."""
    reason = ""
    for evaluator, make in (("onnxruntime", _onnxruntime), ("onnx", _reference)):
        for shape in _concrete(input_shape):
            rng = torch.Generator().manual_seed(0)
            # One image of pixels in [0, 1], one spread as normalised pixels are.
            images = torch.stack([torch.rand(shape, generator=rng), torch.randn(shape, generator=rng)])
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    run = make(model)
                    outputs = torch.cat([run(image[None]) for image in images])
            except Exception as error:  # An evaluator is a library of operators, each with errors of its own.
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
                continue
            if outputs.ndim != 2 or len(outputs) != 2 or not outputs.isfinite().all():
                raise LoadError(
                    f"{printable(path)} returned {tuple(outputs.shape)} for two images, or numbers not finite; "
                    "(2, classes) was expected",
                    hint="export the classifier itself, with one image tensor in and the logits out",
                )
            return images, outputs, f"{evaluator} {version(evaluator)}"
    raise LoadError(f"{printable(path)} cannot be evaluated: {reason}", hint="check it with onnx.checker.check_model")


def _concrete(input_shape: tuple[int | None, ...]) -> Iterator[tuple[int, ...]]:
    """Shapes of one image to try, open sizes filled in."""
    sizes = input_shape[1:]
    if None not in sizes:
        yield tuple(size or 0 for size in sizes)
        return
    for side in _OPEN_SIDES:
        yield tuple(side if size is None else size for size in sizes)


def _onnxruntime(model: ModelProto) -> Evaluate:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def _reference(model: ModelProto) -> Evaluate:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    name = next(value.name for value in model.graph.input if value.name not in weights)
    return lambda images: torch.as_tensor(next(iter(evaluator.run(None, {name: images.numpy()}))))


def _onnx2fx(model: ModelProto) -> nn.Module:
    import onnx2fx

    module: nn.Module = onnx2fx.convert(model)
    return module


def _onnx2torch(model: ModelProto) -> nn.Module:
    with _torchvision_or_stub():
        from onnx2torch import convert as onnx2torch
    module: nn.Module = onnx2torch(model)
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


def _any_batch(module: nn.Module, images: Tensor, scale: float) -> nn.Module:
    """The module itself where it takes two images as well as one, else wrapped to run them one by one."""
    single = torch.cat([module(image[None]) for image in images])
    for candidate in (module, PerImage(module, vectorised=True)):
        try:
            both = candidate(images)
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            continue
        if both.shape == single.shape and (both - single).abs().max() <= TOLERANCE * scale:
            return candidate.eval()
    return PerImage(module, vectorised=False).eval()


def _require_gradient(module: nn.Module, images: Tensor) -> None:
    pixels = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(pixels).square().sum(), pixels)
    if not gradient.isfinite().all():
        raise RuntimeError("its gradient is not finite")
