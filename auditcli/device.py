"""Where the audit computes. Public name: `resolve`."""

from __future__ import annotations

import torch

from auditcli.errors import UsageError


def resolve(name: str) -> torch.device:
    """The device of that name; `auto` takes a GPU where there is one.

    Args:
        name: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    Raises:
        UsageError: no such device, or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name!r} is no device", hint="--device auto, cpu, cuda, cuda:1 or mps") from None
    present = {
        "cpu": device.index in (None, 0),
        "cuda": (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        raise UsageError(f"--device {name}: there is no such device on this machine", hint="--device cpu")
    return device


def describe(device: torch.device) -> str:
    """The device in words, for the report."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)
