"""The frozen values that travel between the stages, and nothing else.

One type per arrow::

    path --load--> Checkpoint --identify--> Profile --build--> Target --attack(budget)--> Reconstruction
    Reconstructions, members, controls --score, calibrate--> Findings --judge--> Verdict

Dimensions: n candidates, r restarts, m members, k controls, d = c*h*w input values, c h w channels, height, width.
Pixels are float32 in [0, 1]; `seconds`, `steps` and `bytes` name their unit; every probability is in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    BINARISED = "binarised"
    """A chain of linear layers of binary weights, whose inputs and hidden values are signs; `Target.binarised` holds
    it in integers."""
    SMALL_HEAD = "small-head"
    """Most parameters make one vector of features, and a last linear layer with few reads it. Whether the others were
    frozen in training is not in a file."""
    HEAD = "head"
    """The last layers are a chain of linear layers and one activation on one vector of features an image, and others
    make the features; `Target.head` holds both. Whether the others were frozen in training is not in a file."""
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
class BinarisedStack:
    """A binarised network in integers: its inputs, weights and hidden values are -1 or 1, and the sign of 0 is 1.

    A hidden value is 1 where `weights[i] @ values >= thresholds[i]`, else -1. Scales, biases and batch norm are in the
    thresholds; a neuron of negative scale has its weights turned round. The logits are `scales * (weights[-1] @ values)
    + offsets` in float32, one operation after the other.
    """

    weights: tuple[Tensor, ...]
    """(out, in) int8, in {-1, 1}; `weights[0]` reads the image flattened in c, h, w order."""
    thresholds: tuple[Tensor, ...]
    """(out,) int64, one for each layer but the last."""
    scales: Tensor
    """(outputs,) float32, at least 0."""
    offsets: Tensor
    """(outputs,) float32."""


@dataclass(frozen=True, slots=True)
class WeightSpan:
    """Right singular directions of `A = [W1 b1]` that stand above the noise of the initial weights."""

    basis: Tensor
    """(d + 1, r) orthonormal; the last row belongs to the bias, that is, to the constant input 1."""
    values: Tensor
    """(r,) singular values, falling."""
    image: Tensor
    """(h, r) `A @ basis`, which maps coordinates to what the layer returns."""
    written: Tensor
    """(h, r) what training wrote, in the basis: `image`, less that of a base model where one is known."""
    rank: int
    """Directions above the edge; `basis` may hold more where a caller asked for more."""
    edge: float
    """Largest singular value the initial weights explain."""

    def coordinates(self, inputs: Tensor) -> Tensor:
        """Coordinates (n, r) of `[x, 1]` in the basis, for flat inputs (n, d)."""
        return inputs @ self.basis[:-1] + self.basis[-1]

    def residual(self, inputs: Tensor) -> Tensor:
        """Share (n,) of `|[x, 1]|^2` that lies outside the span, in [0, 1], for flat inputs (n, d)."""
        total = inputs.square().sum(dim=1) + 1
        return (1 - self.coordinates(inputs).square().sum(dim=1) / total).clamp_min(0)  # rounding ends below 0


@dataclass(frozen=True, slots=True)
class Head:
    """The fully connected layers at the end of a network, and what they read."""

    features: Callable[[Tensor], Tensor]
    """Images (n, c, h, w) in [0, 1] -> (n, f), what the first of the layers reads."""
    dense: DenseStack
    """`weights[0]` is (h, f) and reads the features; the last returns the logits, before a softmax if there is one."""


@dataclass(frozen=True, slots=True)
class Target:
    """An executable model: `target(images)` maps float images (n, c, h, w) in [0, 1] to logits (n, outputs)."""

    module: nn.Module
    """In eval mode, parameters frozen, normalisation inside."""
    profile: Profile
    dense: DenseStack | None = None
    """Present exactly when `Trait.DENSE` is."""
    head: Head | None = None
    """Present exactly when `Trait.HEAD` is."""
    span: WeightSpan | None = None
    """Span of the first layer where a caller has it already; it must be that of `dense`. See `weights.span`."""
    base: Target | None = None
    """The public model that its training started from, where the auditor named one."""
    binarised: BinarisedStack | None = None
    """Present exactly when `Trait.BINARISED` is; on the CPU. A pixel of 0 reads as -1 there, and one of 1 as 1."""

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


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image of the auditor that takes no part in any comparison."""

    id: str
    role: str
    """`member` or `control`."""
    like: str
    """Id of the image it is a copy of, in the same sample for `repeat`, in the other one for `near copy`."""
    why: str
    """`repeat` or `near copy`."""


@dataclass(frozen=True, slots=True)
class Comparability:
    """Whether members and controls are of one kind, but for training."""

    blind: Test | None
    """Does a classifier that sees the images and never the model tell them apart?"""
    auc: float | None
    """Of that classifier, cross-fitted."""
    tells: tuple[str, ...] = ()
    """What it tells them apart by, in words, where it does."""
    left_out: tuple[LeftOut, ...] = ()
    accuracy_members: float | None = None
    """Share of the labelled members that the model is right on."""
    accuracy_controls: float | None = None
    has_power: bool = True
    """Whether the classifier could have found any difference in so few images."""


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
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    """What else is known of these candidates from the target alone, by a name for people: (r,) each."""


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
    figures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """(r,) each, of these candidates; see `Step`."""


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
class Exposure:
    """How far one member stands out among the controls by a membership signal."""

    id: str
    score: float
    """Of the signal, in its own unit; higher = more likely a member."""
    p_value: float
    """Rank among the controls."""
    q_value: float
    """Benjamini-Hochberg over the members."""


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
    exposed: tuple[Exposure, ...] = ()
    """The members that stand out most, the most exposed first."""
    named: int = 0
    """Members that stand out one by one, at q of at most 0.05."""


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
    persistent: int | None = None
    """Of the reproduced images, those that a run from another kind of start also finds; None where not measured."""
    shuffled_persistent: int | None = None
    """The same on shuffled weights."""
    verified: int | None = None
    """Of the reproduced images, those the first layer cannot do without, by more than any decoy; see `verification`."""


@dataclass(frozen=True, slots=True)
class PositiveControl:
    """Whether the same procedure, at the same budget, finds the leak of a model that leaks."""

    kind: str
    """`reconstruction` or `membership`."""
    method: str
    """Name of the attack or signal that was checked."""
    fixture: str
    """Name of the shipped model, or what the model is."""
    recovered: int
    of: int
    passed: bool
    detail: str
    matched: bool = False
    """It was run on a copy of this very model, overfitted on controls; `fixture` says so in words."""


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
    id: str = ""
    """Of the finding, a key of `rules.RULES`; empty for a question that was answered with no."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer."""

    level: Level
    reasons: tuple[Reason, ...]
    next_steps: tuple[str, ...]
    """The cheapest things to add where the answer is inconclusive or weak."""
    mitigations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedTest:
    """What one test of the family can say at best."""

    name: str
    """`reconstruction`, `signal` or `shadow signal`."""
    n_members: int
    n_controls: int
    """Compared with the members: those that train shadow models are not."""
    least_p: float
    """The smallest p-value that these samples can reach."""
    significant: bool
    """It survives Holm's correction as the smallest of all p-values."""
    detectable_auc: float | None
    """True area under the ROC that is found with 80% power; None where not even full separation is significant."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an audit with so many images can establish at best, before it starts."""

    n_members: int
    n_controls: int
    shadow_controls: int
    """Controls left to compare with where the others train shadow models; 0 without shadow models."""
    n_tests: int
    """In one family, corrected together."""
    alpha: float
    """Family-wise error rate."""
    tests: tuple[PlannedTest, ...]
    """Empty without members or controls."""
    controls_to_flag_one: int
    """Controls it takes to flag a single member; 0 without members."""
    flagged_together: int | None
    """Members that must stand out together to be flagged; None where no number of them can be."""
    recovered_together: int | None
    """Members above every control that make the reconstruction test significant; None where no number does."""
    levels: tuple[Level, ...]
    """Those that can be given, the worst first."""
    without_images: bool
    """Only the weights can establish anything: members or controls are missing."""
    best_tpr: float | None
    """Lower bound of the true-positive rate at 1% false positives where all members stand out; None: not resolved."""
    best_auc: float | None
    """Lower bound of the AUC where members and controls separate fully."""
    moderate_auc: float | None
    """The smallest AUC that, if observed, has a lower bound of 0.60 or more; None where none has."""
    resolved_rates: tuple[float, ...]
    """False-positive rates at which a true-positive rate can be stated."""
    bounded_rates: tuple[float, ...]
    """False-positive rates at which it has a lower bound above 0."""
    sentences: tuple[str, ...]
    """The limits in words, the worst first, with the images to add."""
