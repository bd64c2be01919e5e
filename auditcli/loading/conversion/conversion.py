"""ONNX graph -> torch module that is known to compute the same: `convert`.

The graph is brought into floats (`prepared`) that end before a final softmax, and converters are tried in a fixed
order. The first is accepted whose outputs and gradients pass the checks. Where the graph was changed on the way, it is
compared with the file's as well.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from auditcli.errors import LoadError
from auditcli.loading._files import printable
from auditcli.loading.conversion import checks
from auditcli.loading.conversion.batches import AnyBatch, any_batch
from auditcli.loading.conversion.constants import folded
from auditcli.loading.conversion.converters import CONVERTERS, Converter
from auditcli.loading.conversion.evaluators import evaluators
from auditcli.loading.conversion.identities import without_identities
from auditcli.loading.conversion.pixels import MAX_PIXEL, UINT8, on_unit_pixels
from auditcli.loading.conversion.precision import in_float32
from auditcli.loading.conversion.probabilities import before_probabilities, flat, with_logarithm
from auditcli.loading.conversion.quantisation import in_floats
from auditcli.loading.conversion.sizes import refuse_sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from auditcli.loading.conversion.draft import Draft

_OPEN_SIDES = (224, 64, 32, 28)
"""Heights and widths tried where the graph leaves them open."""
_EXPORT = "export the float32 model again with the standard exporter: torch.onnx.export(model.eval(), (images,), F)"
_ROUGH = 0.25
"""Largest accepted distance of the outputs of a graph that is now computed in floats from the file's, relative to them.
Rounding to int8 gives up to 0.1 over deep networks with random weights, a lost activation 0.5 and more."""


_SUMS_TO_ONE = 1e-4


@dataclass(frozen=True, slots=True)
class Converted:
    """An accepted conversion."""

    draft: Draft
    """The graph that the module computes: in floats, ending in logits."""
    module: AnyBatch
    final: str
    """`Softmax`, `LogSoftmax` or `Sigmoid` where the file's graph goes on with one."""
    converter: str
    difference: float
    """Largest absolute difference of outputs from `checked_against`."""
    gradient_difference: float
    """Relative difference of a directional derivative from central differences."""
    checked_against: str


@dataclass(frozen=True, slots=True)
class _Expected:
    """What an evaluator returned."""

    images: Tensor
    """(3, ...) inputs of the changed graph."""
    outputs: Tensor
    """(3, classes) of the changed graph."""
    draft: Draft
    final: str
    evaluator: str


def convert(path: Path, whole: Draft) -> Converted:
    """Convert a graph, and check the result.

    Args:
        path: For messages.
        whole: The graph as the file has it, with one image input and one output.

    Returns:
        A module in eval mode for any number of images, its weights as parameters, and how far it is from what it was
        checked against.

    Raises:
        LoadError: naming the operator that stands in the way, or for each converter what went wrong.
    """
    refuse_sizes(path, whole)
    draft, final = prepared(path, whole)
    refuse_sizes(path, draft)  # With its constants folded, more of its shapes are known.
    expected = _expected(path, whole, draft, final)
    reasons = []
    for converter in CONVERTERS:
        try:
            # A traced module prints its own trace to stderr when it fails, which is one of the answers expected here.
            with warnings.catch_warnings(), redirect_stderr(StringIO()):
                warnings.simplefilter("ignore")
                return _converted(converter, expected)
        except ModuleNotFoundError:
            reasons.append(f"{converter.name} is not installed")
        except checks.Disagreement as error:
            reasons.append(f"{converter.name} {error}")
        except Exception as error:  # Converters raise whatever their parts do; each is only one of two tries.
            reasons.append(f"{converter.name}: {_first_line(error)}")
    raise LoadError(f"{printable(path)} cannot be run in torch: {'; '.join(reasons)}", hint=_EXPORT)


def prepared(path: Path, whole: Draft) -> tuple[Draft, str]:
    """The graph in floats that ends in logits, and the name of the operator that followed them.

    Raises:
        LoadError: integers in a place where nothing else can stand for them.
    """
    try:
        draft = in_float32(in_floats(on_unit_pixels(_without_branches(folded(whole)))))
    except ValueError as error:
        raise LoadError(f"{printable(path)} cannot be run in torch: {error}", hint=_EXPORT) from error
    draft, final = before_probabilities(flat(_simplified(draft)))
    return draft, final


def _without_branches(draft: Draft) -> Draft:
    """The draft, once its branches turned out to depend on no pixel."""
    if any(node.op_type == "If" for node in draft.nodes):
        raise ValueError("If chooses between operators by what it reads from the image")
    return _simplified(draft)


def _simplified(draft: Draft) -> Draft:
    return folded(without_identities(folded(draft)))


def _converted(converter: Converter, expected: _Expected) -> Converted:
    net = converter.convert(expected.draft).eval().requires_grad_(False)
    scale = max(0.1, expected.outputs.abs().max().item())
    is_open = (expected.draft.input.shape or (None,))[0] is None
    module, outputs = any_batch(net, expected.images, checks.OUTPUT_TOLERANCE * scale, is_open=is_open)
    difference = checks.outputs(outputs, expected.outputs, expected.evaluator)
    gradient = checks.gradient(module, expected.images[:1])
    checks.second_derivative(module, expected.images[:1])
    draft = expected.draft
    if gradient.vanishes:
        draft = draft.noted("its gradient with respect to the pixels is zero")
    return Converted(
        draft, module.eval(), expected.final, converter.version, difference, gradient.difference, expected.evaluator
    )


def _expected(path: Path, whole: Draft, draft: Draft, final: str) -> _Expected:
    """What the first evaluator that can run the graph returns for random images.

    Raises:
        LoadError: none can run it, or the changed graph and the file's disagree.
    """
    reasons = {}
    for evaluator in evaluators():
        for shape in _concrete(draft.input.shape or ()):
            images, as_in_file = _images(shape, whole, draft)
            try:
                theirs = evaluator.prepare(whole)(as_in_file)
                _require_classes(path, theirs)
                if not final and (final := _hidden(theirs)) == "Softmax":
                    draft = with_logarithm(draft)
                ours = evaluator.prepare(draft)(images.numpy()) if draft.notes or final else theirs
            except LoadError:
                raise
            except Exception as error:  # An evaluator is a library of operators, each with errors of its own.
                reasons[evaluator.name] = _first_line(error)
                continue
            _require_the_same(path, _finished(ours, final), theirs, exact=draft.exact)
            return _Expected(images, ours, draft, final, evaluator.name)
    written = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise LoadError(f"{printable(path)} cannot be evaluated: {written}", hint="check it with onnx.checker.check_model")


def _images(shape: tuple[int, ...], whole: Draft, draft: Draft) -> tuple[Tensor, NDArray[Any]]:
    """Inputs of the changed graph, and the same in the type of the file's."""
    from onnx import helper

    low, high = draft.input_range
    if whole.input.kind == UINT8:
        images = checks.images(shape, low=max(low, 0), high=min(high, 1))
        integers = (images * MAX_PIXEL).round()
        return integers / MAX_PIXEL, integers.to(torch.uint8).numpy()
    images = checks.images(shape, low=low, high=high)
    as_in_file = images.numpy().astype(helper.tensor_dtype_to_np_dtype(whole.input.kind))
    return torch.from_numpy(as_in_file.astype("float32")), as_in_file


def _hidden(outputs: Tensor) -> str:
    """`Softmax` for outputs that are probabilities, `LogSoftmax` for their logarithms, else empty."""
    if outputs.shape[1] < 2:
        return ""
    if bool((outputs >= 0).all()) and (outputs.sum(1) - 1).abs().max() < _SUMS_TO_ONE:
        return "Softmax"
    return "LogSoftmax" if outputs.logsumexp(1).abs().max() < _SUMS_TO_ONE else ""


def _finished(logits: Tensor, final: str) -> Tensor:
    match final:
        case "Softmax":
            return logits.softmax(1)
        case "LogSoftmax":
            return logits.log_softmax(1)
        case "Sigmoid":
            return logits.sigmoid()
        case _:
            return logits


def _require_classes(path: Path, outputs: Tensor) -> None:
    if outputs.ndim != 2 or len(outputs) != 3 or not outputs.isfinite().all():
        raise LoadError(
            f"{printable(path)} returned {tuple(outputs.shape)} for three images, or numbers that are not finite; "
            "(3, classes) was expected",
            hint="export the classifier itself, with one image tensor in and the logits out",
        )


def _require_the_same(path: Path, ours: Tensor, theirs: Tensor, *, exact: bool) -> None:
    """Check that what was changed on the way left the outputs what they are in the file."""
    tolerance = checks.OUTPUT_TOLERANCE if exact else _ROUGH
    if ours.shape != theirs.shape or (ours - theirs).norm() > tolerance * theirs.norm().clamp_min(0.1):
        off = (ours - theirs).abs().max().item() if ours.shape == theirs.shape else float("inf")
        raise LoadError(
            f"{printable(path)} cannot be run in floats: its outputs then differ by {off:.2g} from the file's, "
            f"which are up to {theirs.abs().max().item():.2g}",
            hint=_EXPORT,
        )


def _concrete(input_shape: tuple[int | None, ...]) -> Iterator[tuple[int, ...]]:
    """Shapes of one image to try, open sizes filled in."""
    sizes = input_shape[1:]
    if None not in sizes:
        yield tuple(size or 0 for size in sizes)
        return
    for side in _OPEN_SIDES:
        yield tuple(side if size is None else size for size in sizes)


def _first_line(error: Exception) -> str:
    return printable((str(error).strip() or type(error).__name__).splitlines()[0])
