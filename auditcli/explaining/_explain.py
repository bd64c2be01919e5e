"""The one left-to-right function of an explanation: `explain`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from auditcli import __version__, inspection
from auditcli import device as devices
from auditcli.explaining import _parts
from auditcli.explaining._parts import CLASSES, Given
from auditcli.explanation.schema import Explanation
from auditcli.families import Options
from auditcli.images import read_sample
from auditcli.loading import load
from auditcli.opening import opened
from auditcli.threads import one_thread

if TYPE_CHECKING:
    from auditcli.types import Profile, Sample

_RESOLVING = 0.2
"""Share of the budget for what images can say about the model."""
_SHARES = {"shortcut": 0.45, "gallery": 0.85, "novelty": 1.0}
"""Of what is left of the budget once the model is open: when each part has to be done."""


def explain(
    path: str | Path,
    *,
    images: Path | None = None,
    reference: Path | None = None,
    budget: float = 120.0,
    device: str = "auto",
    seed: int = 0,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    assume: Mapping[str, str] | None = None,
    arch: str = "",
    arch_arguments: Mapping[str, Any] | None = None,
    announce: Callable[[str], None] | None = None,
    command: str = "",
) -> Explanation:
    """What a model looks for: places it leans on, what it takes for its classes, and how far images are from that.

    Args:
        path: A `.safetensors` or `.onnx` file, a Hugging Face folder, or `hf://owner/name[@revision]`.
        images: To change at the places that were found, and to score: a folder, or an `.npz`.
        reference: Images of the kind it was trained on, which anchor that score: likewise.
        budget: Ceiling for the whole, in seconds.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        seed: Of all random draws.
        mean: Of inputs in [0, 1]; None for what the model says.
        std: The same.
        input_shape: (c, h, w), where the model does not say.
        assume: What else the model does not say.
        arch: `module:callable` of the user's own code that builds the network; empty runs none.
        arch_arguments: Keyword arguments of that callable.
        announce: Told the name of each part before it starts.
        command: Command line, for the record.

    Returns:
        The explanation; a part that could not be done in time says so.

    Raises:
        AuditError: An option, the model or the images cannot be used.
    """
    began = time.monotonic()
    where = devices.resolve(device)
    options = Options(
        input_shape=input_shape,
        mean=mean,
        std=std,
        assume=assume or {},
        arch=arch,
        arch_arguments=arch_arguments or {},
    )
    checkpoint = load(path)
    target, _ = opened(checkpoint, options, where, reference=reference or images, seconds=_RESOLVING * budget)
    rng = torch.Generator().manual_seed(seed)
    given = Given(
        target=target,
        labels=tuple(sorted(torch.randperm(target.profile.classes, generator=rng)[:CLASSES].tolist())),
        images=_sample(images, "images", target.profile),
        reference=_sample(reference, "reference images", target.profile),
        rng=rng,
    )
    ready, end = time.monotonic(), began + budget

    def until(part: str, share: float = 1.0) -> float:
        """A deadline: so much of the time of a part, which ends where `_SHARES` says."""
        start = time.monotonic()
        return start + share * (ready + _SHARES[part] * (end - ready) - start)

    say = announce or (lambda _: None)
    with one_thread():
        say("places it leans on")
        deadlines = {share: until("shortcut", share) for share in (0.6, 0.9)}
        places, found = _parts.places(given, deadlines.__getitem__)
        say("galleries of its classes")
        gallery, made = _parts.classes(given, until("gallery"))
        say("out-of-distribution score")
        deadlines = {share: until("novelty", share) for share in (0.3, 0.95)}
        inverted = None if found is None else found.inverted.images.flatten(0, 1)
        novelty = _parts.distances(given, inverted, made, deadlines.__getitem__)
    return Explanation(
        model=inspection.describe(checkpoint, target.profile),
        seconds=budget,
        seconds_used=time.monotonic() - began,
        device=devices.describe(where),
        seed=seed,
        privaudit=__version__,
        finished=datetime.now(UTC),
        command=command,
        shortcut=places,
        gallery=gallery,
        novelty=novelty,
    )


def _sample(path: Path | None, role: str, profile: Profile) -> Sample | None:
    return None if path is None else read_sample(path, profile.input_shape, profile.labels, role=role)
