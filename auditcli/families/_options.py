"""What the user says about a model that its file does not (`Options`), and what images say (`Choice`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from auditcli.errors import UsageError

POOL = r"none|(?:max|avg)(?:[1-9]\d?s[1-9]\d?(?:p\d{1,2})?)?"
"""`max` or `avg` (2 x 2), or with kernel, stride and padding: `max3s2p1`."""


def _pools(text: str) -> tuple[str, ...]:
    words = tuple(text.split("/"))
    if not all(re.fullmatch(POOL, word) for word in words):
        raise ValueError("none, max, avg or such as max3s2p1, or a list such as max/none")
    return words


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
        "block_norm": _word("before", "after"),
        "classes": _number(2),
        "dilations": _numbers(1),
        "eps": _fraction,
        "final": _word("flatten", "average", "cls"),
        "global_pool": _word("avg", "max"),
        "heads": _number(1),
        "inputs": _word("signs", "values"),
        "name": str,
        "norm": _word("before", "after", "last"),
        "order": lambda text: tuple(text.split("/")),
        "paddings": _numbers(0),
        "patch_order": _word("channels-first", "channels-last"),
        "pool": _pools,
        "positions": _word("none", "sinusoidal"),
        "shortcut": _word("pad", "pad-end", "none"),
        "stem": _word("2+pool", "2", "1+pool", "1"),
        "stride_in": _word("conv2", "conv1"),
        "strides": _numbers(1),
        "template": str,
    }
)


NORMALISATION, SHAPE = "normalisation", "input_shape"
"""What images may choose beside the keys of `--assume`: written `mean/std` and `c,h,w`, with commas in between."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What images chose where nobody stated it."""

    value: str
    """As the option would take it; for `NORMALISATION` empty where pixels in [0, 1] are right."""
    why: str


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
    arch: str = ""
    """`module:callable` of the user's own code that builds the network (`--arch`): the one way to run any."""
    arch_arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of that callable (`--arch-arg`)."""
    chosen: Mapping[str, Choice] = field(default_factory=dict)
    """What images chose: keys of `--assume`, `NORMALISATION` and `SHAPE`. Statements and descriptions win over it."""

    def __post_init__(self) -> None:
        if self.arch_arguments and not self.arch:
            raise UsageError("--arch-arg is for the callable of --arch", hint="--arch mymodels:Net")
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
        return parsed(key, self.assume[key]) if key in self.assume else None


def parsed(key: str, text: str) -> Any:
    """The value of a key of `--assume` that is written so.

    Raises:
        UsageError: it does not parse.
    """
    try:
        return _ASSUMABLE[key](text)
    except ValueError as error:
        raise UsageError(f"--assume {key}={text}: expected {error}", hint=f"--assume {key}=...") from error
