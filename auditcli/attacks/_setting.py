"""What was given for a setting, as a value of its type. Public name: `as_given`."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

from auditcli.errors import UsageError

Setting = bool | int | float | str

_WANTED = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text"}


def as_given(name: str, default: Setting, value: Any) -> Setting:
    """The value as its default's type; what was typed comes as text.

    Args:
        name: Of the attack and the setting, `attack.setting`, for the message.
        default: Of the setting.
        value: Of the same type, a whole number for a float, or any of them as text.

    Raises:
        UsageError: it is nothing of that type.
    """
    found: Setting | None = None
    text = str(value).strip()
    with suppress(ValueError):
        match default:
            case bool():
                found = {"true": True, "false": False}.get(text.lower())
            case int():
                found = int(text)
            case float():
                found = float(text) if math.isfinite(float(text)) else None
            case str():
                found = value if isinstance(value, str) else None
    if found is None:
        raise UsageError(
            f"{name} is {value!r}, but takes {_WANTED[type(default)]}",
            hint=f"--set {name}={str(default).lower() if isinstance(default, bool) else default}",
        )
    return found
