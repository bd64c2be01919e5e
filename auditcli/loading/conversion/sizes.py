"""How large the values of a graph may be: `refuse_sizes`. A few bytes of ONNX can ask for any amount of memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from auditcli.errors import LoadError
from auditcli.loading._files import printable

if TYPE_CHECKING:
    from auditcli.loading.conversion.draft import Draft

MAX_ELEMENTS = 2**27
"""Of a tensor that a graph computes for one image: 512 MB as float32, and more than any weight of VGG-19."""


def refuse_sizes(path: Path, draft: Draft) -> None:
    """Check what the graph would compute, before it does; an open size (the batch) counts as one.

    Raises:
        LoadError: naming the value that is too large, or shapes that contradict each other.
    """
    import onnx

    try:
        values = draft.values()
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise LoadError(
            f"{printable(path)} has shapes that contradict each other: {printable(str(error).strip())}",
            hint="check it with onnx.checker.check_model(model, full_check=True), and export it again",
        ) from error
    for name, value in values.items():
        size = math.prod(1 if size is None else size for size in value.shape or ())
        if size > MAX_ELEMENTS:
            raise LoadError(
                f"{printable(path)}: {printable(name)} has {size} elements, more than {MAX_ELEMENTS}",
                hint="only classifiers of ordinary images are read",
            )
