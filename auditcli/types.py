"""The frozen values that travel between the stages, and nothing else.

One type per arrow::

    path --load--> Checkpoint --identify--> Profile --build--> Target --attack(budget)--> Reconstruction
    Reconstructions, members, controls --score, calibrate--> Findings --judge--> Verdict

Dimensions: n candidates, r restarts, m members, k controls, d = c*h*w input values, c h w channels, height, width.
Pixels are float32 in [0, 1]; `seconds`, `steps` and `bytes` name their unit; every probability is in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


# ---- load: path -> Checkpoint ---------------------------------------------------------------------------------------


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


# ---- families: Checkpoint -> Profile, Target ------------------------------------------------------------------------


class Family(StrEnum):
    """Architecture families."""

    MLP = "mlp"
    CNN = "cnn"
    VIT = "vit"
    MIXER = "mixer"
    BNN = "bnn"
    HYBRID = "hybrid"
    """Convolutional stages and attention in one network."""
    UNKNOWN = "unknown"


class Trait(StrEnum):
    """What an attack or a signal may ask of a target."""

    DENSE = "dense"
    """A chain of linear layers and one activation on the flattened image; `Target.dense` holds it."""
    FIRST_LAYER_LINEAR = "first-layer-linear"
    """The first trained layer is linear on the pixels, so that its rows span training inputs."""
    FIRST_LAYER_CONVOLUTION = "first-layer-convolution"
    """The first trained layer is a convolution on the pixels, so that its kernels span patches of training inputs."""
    HOMOGENEOUS = "homogeneous"
    """Scaling all weights by a > 0 scales the logits by a power of a: linear pieces through zero, no normalisation
    layer, no bias behind the first layer, and no shortcut around a layer."""
    BATCH_NORM = "batch-norm"
    BINARY_WEIGHTS = "binary-weights"
    """The layers between the first and the last hold plus or minus one number, each layer or each row its own."""
    SMALL_HEAD = "small-head"
    """Most parameters make one vector of features, and a last linear layer with few reads it. Whether the others were
    frozen in training is not in a file."""
    SOFTMAX_OUTPUT = "softmax-output"
    """The file's graph ends in a softmax; `Target` returns log-probabilities instead."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """Something the file does not say and that was assumed."""

    what: str
    value: str
    why: str
    flag: str
    """The option that overrides it, e.g. `--assume activation=gelu`."""
    alternatives: tuple[str, ...] = ()
    """Other values that fit the weights as well, as the option would take them."""


@dataclass(frozen=True, slots=True)
class Statement:
    """Something said about a model, and how it is known."""

    what: str
    value: str
    why: str


@dataclass(frozen=True, slots=True)
class Normalisation:
    """The model's input is `(pixels - mean) / std`, one value a channel (or one for all)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of the layer table of `privaudit inspect`."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True, slots=True)
class Profile:
    """What a checkpoint is, and how that is known."""

    family: Family
    architecture: str
    """One line for people, e.g. `784-500-500-10, relu`."""
    input_shape: tuple[int, int, int]
    classes: int
    outputs: int
    """Logits the model returns: `classes`, or 1 for a binary model with a single logit."""
    parameters: int
    normalisation: Normalisation
    traits: frozenset[Trait]
    layers: tuple[Layer, ...]
    identified_by: str
    evidence: tuple[str, ...] = ()
    """How it was recognised, in sentences."""
    assumptions: tuple[Assumption, ...] = ()
    statements: tuple[Statement, ...] = ()
    """What the profile says, each with its reason; those on family and traits come with `build`."""
    labels: tuple[str, ...] = ()
    """Class names where the file gives them, else empty."""
    template: str = ""
    """Name of the template that recognised it, and builds it."""


@dataclass(frozen=True, slots=True)
class DenseStack:
    """The linear layers of an MLP in its own input space: `z = W x + b`, one activation between layers.

    `weights[i]` is (out, in); `weights[0]` is (h, d) and reads the normalised image flattened in c, h, w order.
    Batch norm behind a linear layer is folded into it.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor | None, ...]
    activation: str


@dataclass(frozen=True, slots=True)
class Target:
    """An executable model: `target(images)` maps float images (n, c, h, w) in [0, 1] to logits (n, outputs)."""

    module: nn.Module
    """In eval mode, parameters frozen, normalisation inside."""
    profile: Profile
    dense: DenseStack | None = None
    """Present exactly when `Trait.DENSE` is."""

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (n, outputs) of images (n, c, h, w) in [0, 1]."""
        logits: Tensor = self.module(images)
        return logits


# ---- images ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """Images the auditor holds: members or controls."""

    images: Tensor
    """(n, c, h, w) float32 in [0, 1]."""
    ids: tuple[str, ...]
    """File name, or `name.npz#index`."""
    hashes: tuple[str, ...]
    """sha256 of each image's uint8 pixels."""
    labels: Tensor | None
    """(n,) int64 class indices, where known."""
    sha256: str
    """Of the whole sample, for the manifest."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Shadows:
    """Models of the target's architecture, each trained on a random part of a population of controls."""

    targets: tuple[Target, ...]
    """K shadow models."""
    population: Sample
    """The controls they were trained on; they are never compared with members."""
    seen: Tensor
    """(K, n) bool: whether a model was trained on an image of the population."""


# ---- attacks: Target -> Reconstruction ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Budget:
    """How much an attack may spend. Steps are the limit, seconds the ceiling."""

    steps: int
    seconds: float
    candidates: int
    """Images guessed in each restart."""
    restarts: int


@dataclass(frozen=True, slots=True)
class Step:
    """What an attack yields: its present guess."""

    candidates: Tensor
    """(r, n, c, h, w) in [0, 1]."""
    objective: Tensor
    """(r,) minimised by the attack; comparable between the steps of one run."""


class StopReason(StrEnum):
    """What ended an attack."""

    STEPS = "steps"
    SECONDS = "seconds"
    EXHAUSTED = "exhausted"
    """The attack had nothing more to try."""
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """The best an attack reached within its budget."""

    attack: str
    candidates: Tensor
    """(r, n, c, h, w) in [0, 1]: for each restart, those with the lowest objective seen."""
    objective: tuple[float, ...]
    """(r,) of these candidates."""
    trace: tuple[tuple[int, float], ...]
    """(step, lowest objective of any restart so far) over time."""
    steps: int
    seconds: float
    stopped_by: StopReason


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running attack is; handed to the caller's callback."""

    attack: str
    step: int
    steps: int
    seconds: float
    seconds_left: float
    objective: float


class Watcher(Protocol):
    """Called now and then with the progress of the running attack."""

    def __call__(self, progress: Progress) -> None:
        """Look, and return soon: the attack waits."""


# ---- scoring: Reconstructions, Sample -> Findings -> Verdict --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with a confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Test:
    """A one-sided significance test."""

    name: str
    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Similarity:
    """How near one attack's (or all attacks') candidates come to some images, by SSIM.

    `best` lets one candidate match many images, `matched` does not: each candidate goes to at most one image,
    in the assignment of largest total similarity; images left over have similarity -1.
    """

    best: tuple[float, ...]
    """One an image: its highest SSIM over all candidates."""
    best_candidate: tuple[int, ...]
    """Index of that candidate, over (restart, candidate) flattened."""
    matched: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MemberFinding:
    """Whether one training image came back."""

    id: str
    best_ssim: float
    matched_ssim: float
    attack: str
    p_value: float | None
    """Rank among controls; None without controls."""
    q_value: float | None
    """Benjamini-Hochberg over the members."""
    leaked: bool


@dataclass(frozen=True, slots=True)
class SignalFinding:
    """What a membership signal tells apart."""

    signal: str
    auc: Interval
    tpr_at_fpr: tuple[tuple[float, Interval | None], ...]
    """(false-positive rate, true-positive rate); None where the controls are too few to resolve that rate."""
    test: Test
    roc: tuple[tuple[float, float], ...]
    """(fpr, tpr) corners from (0, 0) to (1, 1)."""
    n_members: int
    n_controls: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the weights alone say: restarts that agree, against the same weights shuffled."""

    attack: str
    agreement: tuple[float, ...]
    """One a candidate of the first restart: its best centred cosine among the candidates of the other restarts."""
    reproduced: int
    """Distinct images that independent restarts agree on beyond `threshold`."""
    threshold: float
    explained: float
    """Share of the first layer's weight norm that the candidates explain, in [0, 1]."""
    shuffled_reproduced: tuple[int, ...]
    """The same count on the same weights with the rows of the first layer permuted, one a shuffle."""
    shuffled_explained: tuple[float, ...]
    test: Test | None
    """None where no shuffle was run."""
    significant: bool
    unclear: bool = False
    """The images explain what only few training images or strong weight decay leave behind, and too few of them are
    reproduced to tell which: no finding, and no absence of one."""
    directions: int = 0
    """Directions of the first layer above the noise of its initial weights: no fewer than the images it can hold."""


@dataclass(frozen=True, slots=True)
class PositiveControl:
    """Whether the same procedure, at the same budget, finds the leak of a shipped leaky model."""

    kind: str
    """`reconstruction` or `membership`."""
    method: str
    """Name of the attack or signal that was checked."""
    fixture: str
    recovered: int
    of: int
    passed: bool
    detail: str


class Level(StrEnum):
    """Verdict levels, from none to worst; `inconclusive` is no level of safety but the lack of an answer."""

    NONE_DETECTED = "none-detected"
    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"
    CRITICAL = "critical"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Reason:
    """One sentence behind a verdict."""

    text: str
    level: Level
    """The level this alone would give."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer."""

    level: Level
    reasons: tuple[Reason, ...]
    next_steps: tuple[str, ...]
    """The cheapest things to add where the answer is inconclusive or weak."""
    mitigations: tuple[str, ...]
