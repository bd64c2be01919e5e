"""What a file holds: `Format`, `Node`, `Graph`, `Checkpoint`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


class Format(StrEnum):
    """File formats privaudit reads."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    HUGGINGFACE = "huggingface"


@dataclass(frozen=True, slots=True)
class Node:
    """One operator of an ONNX graph, as the families look at it."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX graph in floats, and the torch module it was converted to, checked against an independent evaluator."""

    nodes: tuple[Node, ...]
    """Of the graph that `module` computes, and `final` where there is one: no constants, identities or quantisers."""
    input_name: str
    output_name: str
    input_shape: tuple[int | None, ...]
    module: nn.Module
    """In eval mode, for any number of images, its weights as parameters; it can be differentiated twice."""
    converter: str
    """Which converter's result was accepted, e.g. `onnx2fx 0.0.1`."""
    difference: float
    """Largest absolute difference of its outputs from `checked_against` on random inputs."""
    checked_against: str
    final: str = ""
    """`Softmax`, `LogSoftmax` or `Sigmoid` where the graph ends in one: `output_name` and `module` stand before it."""
    opset: int = 0
    gradient_difference: float = 0.0
    """Of a derivative with respect to the input from central differences, relative to the gradient."""
    batching: str = ""
    """How it takes several images, e.g. `fixed to one image, vectorised`."""
    notes: tuple[str, ...] = ()
    """For the report: what was changed, e.g. that a quantised graph runs without its rounding, and what was noticed."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file holds. Reading it ran no code of its author."""

    path: Path
    format: Format
    sha256: str
    """Of the file; of the sorted member hashes for a folder."""
    bytes: int
    tensors: Mapping[str, Tensor]
    description: Mapping[str, Any] = field(default_factory=dict)
    """What the file or its sidecar says about itself (`privaudit.arch`), or a Hugging Face `config.json`."""
    described_by: str = ""
    """Where `description` was read: `__metadata__`, the sidecar's name, `config.json`, or empty."""
    graph: Graph | None = None
    origin: str = ""
    """Where it was downloaded from, e.g. `hf://owner/name@commit`; empty for files of the user's own."""

    @property
    def name(self) -> str:
        """What messages and reports call it: its origin, else the name of its file or folder."""
        return self.origin or self.path.resolve().name
