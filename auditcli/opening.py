"""From a file that was read to a target: identified, with what images settle, and built. Public name: `opened`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from auditcli.families import Options, build, seated
from auditcli.hypotheses import resolve
from auditcli.loading import load

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from auditcli.types import Checkpoint, Target


def opened(
    checkpoint: Checkpoint,
    options: Options,
    device: torch.device | str = "cpu",
    *,
    reference: Path | None = None,
    controls: Path | None = None,
    seconds: float = math.inf,
    backbone: str | Path | None = None,
) -> tuple[Target, Options]:
    """The target of a file, above its backbone where that is another one; and the options with what images settled.

    Args:
        checkpoint: As loaded.
        options: Statements of the user.
        device: To build it on.
        reference: Images it was trained on, which decide what its file leaves open where they can.
        controls: Images of the same kind that it never saw, likewise; they are preferred.
        seconds: Ceiling for what images can say; `resolve` has one of its own.
        backbone: Where the file holds a head alone, the model whose features it reads; images then decide nothing.

    Raises:
        AuditError: the model or its backbone cannot be read, identified or built.
    """
    if backbone is not None:
        return seated(checkpoint, load(backbone), options, device), options
    profile, options = resolve(checkpoint, options, reference, controls, seconds=seconds)
    return build(checkpoint, profile, options, device), options
