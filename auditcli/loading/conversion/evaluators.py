"""Independent programs that run ONNX graphs: `Evaluator` and `evaluators`, the first choice first."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from auditcli.loading.conversion.draft import Draft

Run = Callable[["NDArray[Any]"], "Tensor"]
"""Outputs (n, classes) as float32 of inputs (n, ...) in the graph's own type, which are run one by one."""


@dataclass(frozen=True, slots=True)
class Evaluator:
    """One of them, by name and version."""

    name: str
    prepare: Callable[[Draft], Run]
    """Raises whatever the program does where it cannot run the graph."""


def evaluators() -> Iterator[Evaluator]:
    """Those that are installed: onnxruntime, and the reference evaluator of onnx, which is much slower."""
    for package, prepare in (("onnxruntime", _onnxruntime), ("onnx", _reference)):
        try:
            __import__(package)
        except ImportError:
            continue
        yield Evaluator(f"{package} {version(package)}", prepare)


def _onnxruntime(draft: Draft) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # Optimised, quantised operators are fused into integer ones that round differently.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        draft.model().SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        enable_fallback=0,  # It would print what went wrong, and try the same again.
    )
    return lambda images: _each(images, lambda image: session.run([draft.output_name], {draft.input_name: image}))


def _reference(draft: Draft) -> Run:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(draft.model())
    return lambda images: _each(images, lambda image: evaluator.run([draft.output_name], {draft.input_name: image}))


def _each(images: NDArray[Any], run: Callable[[NDArray[Any]], Any]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = [np.asarray(run(image[None])[0], dtype=np.float32) for image in images]
    return torch.from_numpy(np.concatenate(outputs)).flatten(1)
