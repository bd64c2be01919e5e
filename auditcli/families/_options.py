"""What the user says about a model that its file does not: `Options`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from auditcli.errors import UsageError


def _words(*known: str) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        words = tuple(text.split("/"))
        if not set(words) <= set(known):
            raise ValueError(f"one of {', '.join(known)}, or a list such as {known[-1]}/{known[0]}")
        return words

    return parse


def _word(*known: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return text

    return parse


def _number(low: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= 1_000_000:
            raise ValueError(f"a whole number from {low}")
        return int(text)

    return parse


def _numbers(low: int) -> Callable[[str], tuple[int, ...]]:
    number = _number(low)
    return lambda text: tuple(number(part) for part in text.split("/"))


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise ValueError("a number between 0 and 1")
    return value


_ASSUMABLE: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "activation": str,
        "classes": _number(2),
        "eps": _fraction,
        "final": _word("flatten", "average"),
        "heads": _number(1),
        "norm": _word("before", "after"),
        "order": lambda text: tuple(text.split("/")),
        "paddings": _numbers(0),
        "pool": _words("none", "max", "avg"),
        "strides": _numbers(1),
        "template": str,
    }
)


@dataclass(frozen=True, slots=True)
class Options:
    """Statements of the user; they win over what the file says.

    Raises:
        UsageError: an unknown key of `assume`, a value that does not parse, or numbers that make no sense.
    """

    input_shape: tuple[int, int, int] | None = None
    """Channels, height, width (`--input-shape`)."""
    mean: tuple[float, ...] | None = None
    """Of inputs in [0, 1], one a channel or one for all (`--mean`)."""
    std: tuple[float, ...] | None = None
    assume: Mapping[str, str] = field(default_factory=dict)
    """Keys and values of `--assume`; lists are written with `/`, e.g. `pool=max/none/max`."""

    def __post_init__(self) -> None:
        for key in self.assume:
            self.assumed(key)
        if (self.mean is None) != (self.std is None):
            raise UsageError("--mean and --std go together", hint="--mean 0.5 --std 0.5")
        if self.std is not None and (not self.std or not self.mean or min(self.std) <= 0):
            raise UsageError("--std must be above 0, and --mean and --std must not be empty", hint="--mean 0 --std 1")
        if self.input_shape is not None and (len(self.input_shape) != 3 or min(self.input_shape) < 1):
            raise UsageError(
                f"--input-shape {','.join(map(str, self.input_shape))} is not C,H,W", hint="--input-shape 3,32,32"
            )

    def assumed(self, key: str) -> Any:
        """The parsed value of one key of `--assume`, or None where it was not given.

        Raises:
            UsageError: no such key, or a value that does not parse.
        """
        if key not in _ASSUMABLE:
            raise UsageError(f"--assume knows no {key!r}", hint=f"keys that can be assumed: {', '.join(_ASSUMABLE)}")
        if key not in self.assume:
            return None
        try:
            return _ASSUMABLE[key](self.assume[key])
        except ValueError as error:
            raise UsageError(
                f"--assume {key}={self.assume[key]}: expected {error}", hint=f"--assume {key}=..."
            ) from error
