"""A checkpoint under examination: what was stated, by whom, and what had to be assumed (`Dossier`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt, prod
from typing import TYPE_CHECKING, Any

from auditcli.errors import OpenQuestion
from auditcli.families._activations import activation as known_activation
from auditcli.types import Assumption, Checkpoint, Normalisation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from auditcli.families._options import Options


@dataclass
class Dossier:
    """Collects evidence and assumptions while one family looks at one checkpoint."""

    checkpoint: Checkpoint
    options: Options
    evidence: list[str] = field(default_factory=list)
    assumptions: list[Assumption] = field(default_factory=list)

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Tensors of the checkpoint by name."""
        return self.checkpoint.tensors

    @property
    def described(self) -> bool:
        """Whether a description in privaudit's own schema came with the weights."""
        return bool(self.checkpoint.described_by) and self.checkpoint.described_by != "config.json"

    @property
    def identified_by(self) -> str:
        """What the identification rests on."""
        return f"description in {self.checkpoint.described_by}" if self.described else "names and shapes of the weights"

    def stated(self, key: str) -> Any:
        """What the user says about `key`, else what the description says, else None; noted as evidence."""
        by_flag = self.options.assumed(key)
        if by_flag is not None:
            self.note(f"{key} = {_written(by_flag)}: stated by --assume")
            return by_flag
        if self.described and (value := self.checkpoint.description.get(key)) is not None:
            self.note(f"{key} = {_written(value)}: stated in {self.checkpoint.described_by}")
            return value
        return None

    def note(self, sentence: str) -> None:
        """Add a sentence to the evidence, once."""
        if sentence not in self.evidence:
            self.evidence.append(sentence)

    def assume(self, what: str, value: str, *, why: str, flag: str, alternatives: Sequence[str] = ()) -> None:
        """List something that nobody said."""
        self.assumptions.append(Assumption(what, value, why, flag, tuple(alternatives)))

    def open_question(self, question: str, hint: str, candidates: Sequence[Mapping[str, str]] = ()) -> OpenQuestion:
        """The error for a question that only the user, or images, can answer."""
        return OpenQuestion(f"{self.checkpoint.path.name}: {question}", hint=hint, candidates=candidates)

    def activation(self, default: str) -> str:
        """The activation as stated, else `default`, listed as an assumption.

        Raises:
            UnknownModel: the stated one is not known.
        """
        stated: str | None = self.stated("activation")
        if stated is None:
            why = "weights do not show the activation"
            self.assume("activation", default, why=why, flag="--assume activation=...")
        known_activation(stated or default)
        return stated or default

    def input_shape(self) -> tuple[int, int, int] | None:
        """Channels, height, width as stated by the user or the description."""
        if self.options.input_shape is not None:
            self.note("input shape: stated by --input-shape")
            return self.options.input_shape
        shape = self.checkpoint.description.get("input_shape") if self.described else None
        if shape is not None:
            self.note(f"input shape: stated in {self.checkpoint.described_by}")
            return (shape[0], shape[1], shape[2])
        return None

    def flat_input_shape(self, width: int) -> tuple[int, int, int]:
        """The image shape of a model that reads `width` numbers: stated, else the square grey or colour image.

        Raises:
            UnknownModel: the stated shape does not fit, or no square image has that many pixels.
        """
        shape = self.input_shape()
        if shape is not None:
            if prod(shape) != width:
                written = "x".join(map(str, shape))
                raise self.open_question(
                    f"an input of {written} has {prod(shape)} values, the first layer reads {width}",
                    "--input-shape C,H,W with C*H*W equal to the width of the first layer",
                )
            return shape
        for channels in (1, 3):
            side = isqrt(width // channels)
            if side > 1 and channels * side * side == width:
                self.assume(
                    "input shape",
                    f"{channels}x{side}x{side}",
                    why=f"the first layer reads {width} values",
                    flag="--input-shape C,H,W",
                )
                return (channels, side, side)
        raise self.open_question(
            f"the first layer reads {width} values, which is no square grey or colour image", "--input-shape C,H,W"
        )

    def normalisation(self, channels: int) -> Normalisation:
        """Mean and standard deviation of the input as stated, else none, listed as an assumption.

        Raises:
            UnknownModel: their number is neither 1 nor `channels`.
        """
        found = self.stated_normalisation(channels)
        if found is None:
            why = "nothing says how pixels were normalised"
            self.assume("normalisation", "none: pixels in [0, 1]", why=why, flag="--mean/--std")
        return found or Normalisation((0.0,), (1.0,))

    def stated_normalisation(self, channels: int) -> Normalisation | None:
        """Mean and standard deviation of the input as stated by the user or the description."""
        mean, std, by = self.options.mean, self.options.std, "--mean/--std"
        if mean is None and self.described:
            description = self.checkpoint.description
            mean, std, by = description.get("mean"), description.get("std"), self.checkpoint.described_by
        if mean is None or std is None:
            return None
        for values in (mean, std):
            if len(values) not in {1, channels}:
                raise self.open_question(
                    f"{len(values)} values of mean or std for {channels} channels",
                    "--mean/--std: one, or one a channel",
                )
        self.note(f"normalisation: stated by {by}")
        return Normalisation(tuple(map(float, mean)), tuple(map(float, std)))

    def classes(self, outputs: int) -> int:
        """Number of classes of a model with that many outputs; a single output tells two classes apart.

        Raises:
            UnknownModel: another number was stated.
        """
        implied = 2 if outputs == 1 else outputs
        stated = self.stated("classes")
        if stated not in {None, implied}:
            raise self.open_question(
                f"{stated} classes are stated, the last layer has {outputs} outputs", f"--assume classes={implied}"
            )
        return implied

    def labels(self, classes: int) -> tuple[str, ...]:
        """Class names of the description.

        Raises:
            UnknownModel: their number is not that of the classes.
        """
        labels = tuple(self.checkpoint.description.get("labels", ())) if self.described else ()
        if labels and len(labels) != classes:
            raise self.open_question(
                f"{len(labels)} labels for {classes} classes",
                f"correct the description in {self.checkpoint.described_by}",
            )
        return labels


def _written(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
