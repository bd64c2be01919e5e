"""What a safetensors file may say about itself: `Description`, in its metadata or in a file beside it.

The JSON stands under the metadata key `privaudit.arch`, or in `<file>.privaudit.json` beside the weights. All keys are
optional, and unknown keys are errors::

    family       "mlp", "cnn", "vit", "mixer" or "bnn"; "bnn" says that weights are meant by their signs
    activation   "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "elu", "selu", "softplus", "leaky_relu", ...
    heads        attention heads of each block (vit)
    input_shape  [channels, height, width]
    classes      number of classes; 2 with a single output is a binary model
    mean, std    the model's input is (pixels - mean) / std, with pixels in [0, 1]; one number a channel, or one for all
    labels       class names
    strides      one number a convolution (cnn)
    paddings     one number a convolution (cnn)
    dilations    one number a convolution; 1 unless given (cnn)
    pool         what follows each convolution: "none", "max" or "avg" (2 x 2), or with kernel, stride and padding
                 "max3s2p1" (cnn)
    final        "flatten" or "average" (over height and width) between the convolutions and the head (cnn); "cls",
                 "average" or "flatten": what the head reads of the tokens (vit)
    norm         "before" or "after": where norms stand relative to the activation; "last": behind the pooling too
    block_norm   "before" or "after": where layer norm stands relative to attention and MLP (vit)
    positions    "none" or "sinusoidal", where no table of positions is in the weights (vit)
    patch_order  "channels-first" or "channels-last": of the pixels that a linear patch embedding reads (vit)
    eps          added to the variance in batch norm (default 1e-5) and layer norm (default 1e-6)
    inputs       "signs" of the normalised pixels, or their "values": what the first layer reads (bnn)
    order        names of the linear layers, first to last (mlp, cnn)
    name         of the published architecture, where weights are those of several
    stem         "2+pool", "2", "1+pool" or "1": stride of the first convolution, and whether pooling follows (resnet)
    shortcut     "pad", "pad-end" or "none": how shortcuts without weights change their channels (resnet)
    stride_in    "conv1" or "conv2": which convolution of a bottleneck has the stride (resnet)
    global_pool  "avg" or "max": over height and width before the classifier
    template     name of the template that reads the weights, where several could
    sha256       of the weights, in the sidecar alone: a description of other weights is an error
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from auditcli.errors import LoadError
from auditcli.loading._files import parse_json, printable, read_json

METADATA_KEY = "privaudit.arch"
SIDECAR_SUFFIX = ".privaudit.json"

Name = Annotated[str, Field(min_length=1, max_length=200)]
Side = Annotated[int, Field(ge=1, le=16384)]


class Description(BaseModel):
    """What cannot be read off the weights; the module's docstring explains the keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

    family: Literal["mlp", "cnn", "vit", "mixer", "bnn"] | None = None
    activation: Name | None = None
    heads: PositiveInt | None = None
    input_shape: tuple[Side, Side, Side] | None = None
    classes: Annotated[int, Field(ge=2)] | None = None
    mean: Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] | None = None
    labels: tuple[str, ...] | None = None
    strides: tuple[Annotated[int, Field(ge=1, le=64)], ...] | None = None
    paddings: tuple[Annotated[int, Field(ge=0, le=64)], ...] | None = None
    dilations: tuple[Annotated[int, Field(ge=1, le=64)], ...] | None = None
    pool: tuple[Annotated[str, Field(pattern=r"^(none|(max|avg)([1-9]\d?s[1-9]\d?(p\d{1,2})?)?)$")], ...] | None = None
    final: Literal["flatten", "average", "cls"] | None = None
    norm: Literal["before", "after", "last"] | None = None
    block_norm: Literal["before", "after"] | None = None
    positions: Literal["none", "sinusoidal"] | None = None
    patch_order: Literal["channels-first", "channels-last"] | None = None
    eps: Annotated[float, Field(gt=0, lt=1)] | None = None
    inputs: Literal["signs", "values"] | None = None
    order: tuple[Name, ...] | None = None
    name: Name | None = None
    stem: Literal["2+pool", "2", "1+pool", "1"] | None = None
    shortcut: Literal["pad", "pad-end", "none"] | None = None
    stride_in: Literal["conv1", "conv2"] | None = None
    global_pool: Literal["avg", "max"] | None = None
    template: Name | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Description:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std must be given together")
        if self.labels and self.classes and len(self.labels) != self.classes:
            raise ValueError(f"{len(self.labels)} labels for {self.classes} classes")
        if self.input_shape and self.mean:
            for values in (self.mean, self.std or ()):
                if len(values) not in {1, self.input_shape[0]}:
                    raise ValueError(f"{len(values)} values of mean or std for {self.input_shape[0]} channels")
        return self

    def stated(self) -> dict[str, Any]:
        """The keys that were given, with tuples for lists; the hash left out."""
        return self.model_dump(exclude_none=True, exclude={"sha256"})


def describe(path: Path, metadata: dict[str, str], sha256: str) -> tuple[dict[str, Any], str]:
    """The description of a model file and where it was read; both empty where there is none.

    The metadata travels with the weights, so it wins over the sidecar.

    Raises:
        LoadError: malformed, unknown keys, or a sidecar that describes other weights.
    """
    if METADATA_KEY in metadata:
        where = f"__metadata__[{METADATA_KEY!r}] of {printable(path)}"
        return _validated(parse_json(metadata[METADATA_KEY], where), where).stated(), "__metadata__"
    sidecar = sidecar_of(path)
    if not sidecar.is_file():
        return {}, ""
    description = _validated(read_json(sidecar), printable(sidecar))
    if description.sha256 not in {None, sha256}:
        raise LoadError(
            f"{printable(sidecar)} describes other weights: its sha256 is {str(description.sha256)[:12]}..., "
            f"that of {printable(path)} is {sha256[:12]}...",
            hint="remove the sidecar, or write the present hash into it: sha256sum",
        )
    return description.stated(), printable(sidecar)


def sidecar_of(path: Path) -> Path:
    """The file beside a model that may describe it."""
    return path.with_name(path.name + SIDECAR_SUFFIX)


def _validated(value: dict[str, Any], where: str) -> Description:
    try:
        return Description.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole"
        known = ", ".join(Description.model_fields)
        raise LoadError(
            f"{where}: {printable(key)}: {first['msg'].removeprefix('Value error, ').lower()}",
            hint=f"keys of a description: {known}",
        ) from error
