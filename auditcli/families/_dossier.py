"""A checkpoint under examination: what was stated, by whom, and what had to be assumed (`Dossier`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isqrt, prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from auditcli.errors import OpenQuestion
from auditcli.families._activations import activation as known_activation
from auditcli.families._declared import declared
from auditcli.families._options import NORMALISATION, SHAPE, parsed
from auditcli.types import Assumption, Checkpoint, Normalisation, Statement

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._options import Options

ACTIVATIONS = ("relu", "leaky_relu", "leaky_relu(0.2)", "gelu", "silu", "elu", "tanh", "sigmoid", "identity")
"""Those that people use, as `--assume activation=` takes them."""
USUAL_NORMALISATIONS: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {
        1: ("0.5/0.5", "0.1307/0.3081", "0.2860/0.3530", "0/0.00392157"),
        3: (
            "0.5/0.5",
            "0.485,0.456,0.406/0.229,0.224,0.225",
            "0.4914,0.4822,0.4465/0.2470,0.2435,0.2616",
            "0.4914,0.4822,0.4465/0.2023,0.1994,0.2010",
            "0/0.00392157",
        ),
    }
)
"""Mean and deviation by channels: half, those of the usual data sets, and pixels from 0 to 255."""


@dataclass
class Dossier:
    """Collects evidence and assumptions while one family looks at one checkpoint."""

    checkpoint: Checkpoint
    options: Options
    evidence: list[str] = field(default_factory=list)
    assumptions: list[Assumption] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)

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
        value, where = self._said(key)
        if value is not None:
            self.note(f"{key} = {_written(value)}: stated in {where}")
        return value

    def _said(self, key: str) -> tuple[Any, str]:
        """What the file says under a key of a description, or None, and where it says it."""
        if self.described:
            return self.checkpoint.description.get(key), self.checkpoint.described_by
        return declared(self.checkpoint.description, key) or (None, "")

    def note(self, sentence: str) -> None:
        """Add a sentence to the evidence, once."""
        if sentence not in self.evidence:
            self.evidence.append(sentence)

    def state(self, what: str, value: object, why: str) -> None:
        """Say something of the profile, and how it is known; the last word counts."""
        self.statements[:] = [one for one in self.statements if one.what != what]
        self.statements.append(Statement(what, _written(value), why))

    def assume(self, what: str, value: str, *, why: str, flag: str, alternatives: Sequence[str] = ()) -> None:
        """List something that nobody said."""
        self.assumptions.append(Assumption(what, value, why, flag, tuple(alternatives)))

    def open_question(self, question: str, hint: str, candidates: Sequence[Mapping[str, str]] = ()) -> OpenQuestion:
        """The error for a question that only the user, or images, can answer."""
        return OpenQuestion(f"{self.checkpoint.name}: {question}", hint=hint, candidates=candidates)

    def chosen(self, key: str) -> Any:
        """What images chose for a key of `--assume`, or None."""
        choice = self.options.chosen.get(key)
        return None if choice is None else parsed(key, choice.value)

    def settle(self, key: str, default: str, what: str, *, why: str, alternatives: Sequence[str] = ()) -> Any:
        """The value of a key of `--assume`: as stated, else as images chose it, else `default`.

        What nobody stated is listed as an assumption, in the words in which the option would take it.
        """
        stated = self.stated(key)
        return self.choose(key, default, what, why=why, alternatives=alternatives) if stated is None else stated

    def choose(self, key: str, default: str, what: str, *, why: str, alternatives: Sequence[str] = ()) -> Any:
        """The value of a key that nobody stated: as images chose it, else `default`; listed as an assumption."""
        if (choice := self.options.chosen.get(key)) is not None:
            self.note(f"{what} = {choice.value}: {choice.why}")
            default, why = choice.value, choice.why
        others = [other for other in alternatives if other != default]
        self.assume(what, default, why=why, flag=f"--assume {key}=...", alternatives=others)
        return parsed(key, default)

    def activation(self, default: str) -> str:
        """The activation as stated, else `default`, listed as an assumption.

        Raises:
            UnknownModel: the stated one is not known.
        """
        why = "weights do not show the activation"
        name: str = self.settle("activation", default, "activation", why=why, alternatives=ACTIVATIONS)
        known_activation(name)
        return name

    def input_shape(self) -> tuple[int, int, int] | None:
        """Channels, height, width as stated by the user or the description."""
        if self.options.input_shape is not None:
            self.state("input shape", _sides(self.options.input_shape), "stated by --input-shape")
            return self.options.input_shape
        shape, where = self._said("input_shape")
        if shape is not None:
            self.state("input shape", _sides(shape), f"stated in {where}")
            return (shape[0], shape[1], shape[2])
        if (chosen := self.options.chosen.get(SHAPE)) is not None:
            channels, height, width = map(int, chosen.value.split(","))
            written = f"{channels}x{height}x{width}"
            self.note(f"input shape = {written}: {chosen.why}")
            self.assume("input shape", written, why=chosen.why, flag="--input-shape C,H,W")
            return (channels, height, width)
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
        if found is not None:
            return found
        chosen = self.options.chosen.get(NORMALISATION)
        usual = USUAL_NORMALISATIONS.get(channels, ())
        why = "nothing says how pixels were normalised" if chosen is None else chosen.why
        if chosen is None or not chosen.value:
            self.assume("normalisation", "none: pixels in [0, 1]", why=why, flag="--mean/--std", alternatives=usual)
            return Normalisation((0.0,), (1.0,))
        self.note(f"normalisation = {chosen.value}: {why}")
        others = [other for other in usual if other != chosen.value]
        self.assume("normalisation", chosen.value, why=why, flag="--mean/--std", alternatives=others)
        mean, std = (tuple(map(float, part.split(","))) for part in chosen.value.split("/"))
        return Normalisation(mean, std)

    def stated_normalisation(self, channels: int) -> Normalisation | None:
        """Mean and standard deviation of the input as stated by the user or the description."""
        mean, std, by = self.options.mean, self.options.std, "--mean/--std"
        if mean is None:
            mean, by = self._said("mean")
            std, _ = self._said("std")
        if mean is None or std is None:
            return None
        for values in (mean, std):
            if len(values) not in {1, channels}:
                raise self.open_question(
                    f"{len(values)} values of mean or std for {channels} channels",
                    "--mean/--std: one, or one a channel",
                )
        self.state("normalisation", f"mean {_written(tuple(mean))}, std {_written(tuple(std))}", f"stated by {by}")
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
        self.state("classes", implied, f"the last layer has {outputs} output{'' if outputs == 1 else 's'}")
        return implied

    def labels(self, classes: int) -> tuple[str, ...]:
        """Class names of the description.

        Raises:
            UnknownModel: their number is not that of the classes.
        """
        said, where = self._said("labels")
        labels = tuple(said or ())
        if labels and len(labels) != classes:
            raise self.open_question(
                f"{len(labels)} labels for {classes} classes", f"correct the description in {where}"
            )
        return labels


def _sides(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _written(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
