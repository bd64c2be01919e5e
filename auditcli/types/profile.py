"""What a checkpoint is, and how that is known: `Profile` and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
