"""Trained networks in a folder, by what they were made of: `Cache`, `key_of`.

Files are safetensors: numbers and names, never pickles. A file that is damaged, foreign or of another shape is ignored,
and written anew.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from auditcli.errors import AttackError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

_VERSION = "privaudit-trained-1"
"""Changes where the same recipe trains another network than before."""
_SPARE_BYTES = 1 << 20
"""A file may be that much larger than its tensors: the header."""


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of trained networks; None keeps nothing."""

    folder: Path | None

    def load(self, key: str, net: nn.Module) -> bool:
        """Fill a network with the weights kept under a key.

        Args:
            key: As `key_of` made it.
            net: Of the same architecture; it stays as it is where nothing fits.

        Returns:
            Whether there were weights that fit.
        """
        if self.folder is None:
            return False
        state = _read(self.folder / _name(key), key, net.state_dict())
        if state is not None:
            net.load_state_dict(state)
        return state is not None

    def save(self, key: str, net: nn.Module) -> None:
        """Keep a network's weights, at once and whole: whoever reads sees the file complete or not at all.

        Raises:
            AttackError: the folder cannot be written to.
        """
        if self.folder is None:
            return
        path = self.folder / _name(key)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        # Copies, for safetensors refuses tensors that share memory.
        state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in net.state_dict().items()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(state, draft, metadata={"key": key})
            draft.replace(path)
        except (OSError, SafetensorError) as error:
            # Neither the folder nor the library's words, which hold its path: the message ends in the report.
            reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
            raise AttackError(
                f"a trained model could not be written to the folder of --shadow-cache: {reason}",
                hint="give a folder that can be written to, with space for a few copies of the model",
            ) from error


def key_of(net: nn.Module, *parts: str) -> str:
    """A hash of what a trained network is made of.

    Args:
        net: With its initial weights, which tell the seed, the shapes, and as far as there are weights drawn from the
            target's own, the target.
        parts: Architecture, images, labels, recipe: whatever else decides.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256("\n".join((_VERSION, repr(net), getattr(net, "code", ""), *parts)).encode())
    for name, tensor in net.state_dict().items():
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _name(key: str) -> str:
    return f"shadow-{key[:32]}.safetensors"


def _read(path: Path, key: str, expected: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors of a file, where it is the one that was written under the key."""
    try:
        if path.stat().st_size > sum(t.numel() * t.element_size() for t in expected.values()) + _SPARE_BYTES:
            return None
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("key") != key or set(file.keys()) != set(expected):
                return None
            state = {name: file.get_tensor(name) for name in expected}
    except (OSError, SafetensorError):
        return None
    fits = all(state[name].shape == t.shape and state[name].dtype == t.dtype for name, t in expected.items())
    finite = all(bool(t.isfinite().all()) for name, t in state.items() if expected[name].isfinite().all())
    return state if fits and finite else None
