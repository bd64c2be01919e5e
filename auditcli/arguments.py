"""Turns what was typed into values.

Public names: `seconds`, `shape`, `numbers`, `assumptions`, `keywords`, `settings`, `images`, `recorded`.

All are pure, and raise a `UsageError` that names the option and shows how it is written.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

from auditcli.errors import UsageError

UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "": 1.0}


def seconds(text: str, what: str = "--budget") -> float:
    """Seconds in a duration such as `90s`, `10m`, `1h30m`, `90d` or a plain number of seconds; finite and above 0.

    Args:
        text: What was typed.
        what: The option or key it was given for, to be named in the error.
    """
    parts = re.fullmatch(r"(?:([0-9.]+)d)?(?:([0-9.]+)h)?(?:([0-9.]+)m)?(?:([0-9.]+)s?)?", text.strip().lower())
    try:
        total = (
            sum(float(part) * unit for part, unit in zip(parts.groups(), UNITS.values(), strict=False) if part)
            if parts
            else 0.0
        )
    except ValueError:
        total = 0.0
    if not (math.isfinite(total) and total > 0):
        raise UsageError(f"{what} {text!r} is no duration above zero", hint=f"{what} 10m (or 90s, 2h, 1h30m, 90d)")
    return total


def shape(text: str | None) -> tuple[int, int, int] | None:
    """Channels, height, width in `C,H,W`, each at least 1."""
    if text is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,5},[1-9][0-9]{0,5},[1-9][0-9]{0,5}", text.replace(" ", "")):
        raise UsageError(f"--input-shape {text!r} is not channels,height,width", hint="--input-shape 3,32,32")
    c, h, w = (int(part) for part in text.split(","))
    return c, h, w


def numbers(text: str | None, option: str, *, positive: bool = False) -> tuple[float, ...] | None:
    """Finite numbers with commas between them, one for each channel or one for all."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(math.isfinite(value) and (value > 0 or not positive) for value in values):
        kind = "numbers above zero" if positive else "numbers"
        raise UsageError(
            f"{option} {text!r} does not give {kind} for inputs in [0, 1]",
            hint=f"{option} 0.5 for all channels, or {option} 0.5,0.5,0.5 for each",
        )
    return values


def assumptions(texts: Iterable[str]) -> dict[str, str]:
    """The pairs of `key=value`, each key once."""
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise UsageError(f"--assume {text!r} is not key=value", hint="--assume activation=gelu")
        if pairs.setdefault(key, value) != value:
            raise UsageError(f"--assume gives {key} twice: {pairs[key]} and {value}", hint=f"--assume {key}={value}")
    return pairs


def keywords(texts: Iterable[str]) -> dict[str, Any]:
    """The pairs of `key=value`, each key once; a value that is no JSON is text."""
    pairs: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (equals and key.isidentifier()):
            raise UsageError(f"--arch-arg {text!r} is not key=value", hint="--arch-arg width=64")
        if key in pairs:
            raise UsageError(f"--arch-arg gives {key} twice", hint=f"--arch-arg {key}={value}")
        try:
            pairs[key] = json.loads(value)
        except (ValueError, RecursionError):
            pairs[key] = value
    return pairs


def settings(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """The values of `attack.setting=value` by attack and setting, each once; what they mean, the attack says."""
    given: dict[str, dict[str, str]] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        attack, dot, setting = name.partition(".")
        if not (attack and dot and setting and equals and value):
            raise UsageError(f"--set {text!r} is not attack.setting=value", hint="--set inversion.kl=0")
        if given.setdefault(attack, {}).setdefault(setting, value) != value:
            raise UsageError(
                f"--set gives {name} twice: {given[attack][setting]} and {value}", hint=f"--set {name}={value}"
            )
    return given


def images(text: str | None, option: str) -> int | Path:
    """A number of images, 0 where nothing is given, or where they lie."""
    if text is None:
        return 0
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    if not text.strip() or re.fullmatch(r"[-+]?[0-9.,]+", text):
        raise UsageError(
            f"{option} {text!r} is no number of images and no path",
            hint=f"{option} 400, or a folder of images or an .npz (./{text or 'NAME'} if it is named so)",
        )
    return Path(text)


def recorded(arguments: Sequence[str]) -> str:
    """The command line for the report's manifest, with paths cut down to names: a report is shared, a disk is not."""
    kept = [
        argument if "--assume" in (before, argument.partition("=")[0]) else _without_folders(argument)
        for before, argument in zip(["", *arguments], arguments, strict=False)
    ]
    return shlex.join(["privaudit", *kept])


def _without_folders(argument: str) -> str:
    option, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    if value.startswith("hf://") or ("/" not in value and "\\" not in value):
        return argument
    return f"{option}{equals}{PurePath(value.replace(chr(92), '/')).name}"
