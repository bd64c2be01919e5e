"""Automatic padding made explicit: `with_explicit_padding`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from auditcli.loading.conversion.draft import Draft, Shape, Value, attributes_of, rewritten

if TYPE_CHECKING:
    from onnx import NodeProto

_PADDED = frozenset({"Conv", "MaxPool", "AveragePool", "LpPool"})


def with_explicit_padding(draft: Draft) -> Draft:
    """The draft with `auto_pad` replaced by the `pads` it stands for, wherever the size of the image is known."""
    values = draft.values()
    return replace(draft, nodes=tuple(_explicit(node, values) for node in draft.nodes))


def _explicit(node: NodeProto, values: dict[str, Value]) -> NodeProto:
    given = attributes_of(node)
    mode = given.get("auto_pad", "NOTSET")
    if node.op_type not in _PADDED or mode == "NOTSET":
        return node
    if mode == "VALID":
        return rewritten(node, drop=("auto_pad", "pads"))
    image = values.get(node.input[0], Value(0, None)).shape
    weight = values.get(node.input[1], Value(0, None)).shape if node.op_type == "Conv" else None
    kernel: Shape = tuple(given.get("kernel_shape", () if weight is None else weight[2:]))
    if image is None or None in image[2:] or None in kernel or not kernel:
        return node
    sizes = zip(
        [size or 0 for size in image[2:]],
        [size or 0 for size in kernel],
        given.get("strides", [1] * len(kernel)),
        given.get("dilations", [1] * len(kernel)),
        strict=True,
    )
    # As the standard defines it: as many windows as strides fit, the odd pixel at the end (UPPER) or the start (LOWER).
    totals = [max(0, (-(-n // step) - 1) * step + (k - 1) * apart + 1 - n) for n, k, step, apart in sizes]
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    pads = [*less, *more] if mode == "SAME_UPPER" else [*more, *less]
    return rewritten(node, drop=("auto_pad",), put={"pads": pads})
