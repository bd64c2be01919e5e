"""What a state dict says of its norms, and what is assumed of them: `norm_place`, `norm_eps`, `recorded`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from auditcli.families._dense import LayerNorm, Norm

if TYPE_CHECKING:
    from auditcli.families._dossier import Dossier
    from auditcli.families._layers import Group
    from auditcli.families._row import Stage

PLACES = ("before", "after", "last")
"""Of a norm: before the activation, after it, behind the pooling that follows."""


def norm_place(dossier: Dossier, stages: Sequence[Stage]) -> Mapping[str, str]:
    """Where each norm stands, by the name of its layer: as stated, as the names show, else `before`, assumed."""
    normed = [stage for stage in stages if stage.norm is not None]
    if not normed:
        return {}
    stated: str | None = dossier.stated("norm")
    shown = {stage.layer.name: stage.place for stage in normed if stage.place is not None}
    if stated is not None:
        return {stage.layer.name: stated for stage in normed}
    if len(shown) < len(normed):
        why = "weights do not show on which side of the activation a norm stands"
        alternatives = PLACES if any(stage.layer.kind == "convolution" for stage in normed) else PLACES[:2]
        default = dossier.choose("norm", "before", "place of norms", why=why, alternatives=alternatives)
        return {stage.layer.name: stage.place or default for stage in normed}
    places = ", ".join(f"{name} {place}" for name, place in list(shown.items())[:4])
    dossier.note(f"place of norms by the numbers in the names ({places} the activation)")
    return shown


def norm_eps(dossier: Dossier, default: str = "1e-05") -> float:
    """What norms add to the variance: as stated, else torch's default, assumed; it is the default of descriptions."""
    if dossier.described and dossier.stated("eps") is None:
        dossier.note(f"eps of norms: {default}, the default")
        return float(default)
    why = "torch's default; it is not in the weights"
    eps: float = dossier.settle("eps", default, "eps of norms", why=why, alternatives=("1e-05", "1e-06", "0.001"))
    return eps


def recorded(group: Group | None, eps: float) -> Norm | LayerNorm | None:
    """The norm that a group of tensors is."""
    if group is None:
        return None
    if group.kind == "norm":
        return LayerNorm(group.weight, group.bias, eps)
    parts = group.parts
    return Norm(parts["running_mean"], parts["running_var"], parts.get("weight"), group.bias, eps)
