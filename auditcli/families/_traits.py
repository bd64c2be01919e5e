"""Family and traits of a network, read off its trace: `examined`, `family_of`, `summary`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from auditcli.families._trace import Step, Trace
from auditcli.types import Family, Head, Profile, Statement, Trait

if TYPE_CHECKING:
    from torch import Tensor

_SMALL = 0.1
"""Largest share of all parameters that the last layer of a network with a small head holds."""
_FOUND_BY_TRACE = frozenset(Trait) - {Trait.DENSE, Trait.BINARISED, Trait.SOFTMAX_OUTPUT}


def examined(profile: Profile, trace: Trace, head: Head | None = None) -> Profile:
    """The profile with the family and the traits that the network shows, and the reason for each.

    What a template says about the family stays where the network itself leaves it open.
    """
    family, why = family_of(trace)
    if Trait.BINARISED in profile.traits:  # whatever the one image shows that was traced
        family, why = Family.BNN, f"weights, inputs and hidden values are signs ({_shape(trace)})"
    if family is Family.UNKNOWN and profile.family is not Family.UNKNOWN:
        family, why = profile.family, f"as the template {profile.template} builds it; {why}"
    traits = (*_traits(profile, trace, family), *_head(head))
    shown = frozenset(Trait(statement.value) for statement in traits)
    return replace(
        profile,
        family=family,
        traits=(profile.traits - _FOUND_BY_TRACE) | shown,
        statements=(
            Statement("family", family.value, why),
            Statement("layers", str(len(trace.layers)), summary(trace)),
            *profile.statements,
            *_declared(profile),
            *traits,
        ),
    )


def family_of(trace: Trace) -> tuple[Family, str]:
    """The family a network shows, and why."""
    layers = trace.layers
    convolutions = [layer for layer in layers if layer.kind == "convolution" and not layer.mixes_places]
    stages = [layer for layer in convolutions if _overlaps(layer)]
    attentions = trace.attentions or (trace.products + 1) // 2
    mixing = sum(layer.mixes_places for layer in layers)
    if _is_binarised(layers):
        return (
            Family.BNN,
            f"every layer behind the first reads nothing but two values, plus and minus ({_shape(trace)})",
        )
    if attentions and stages:
        return Family.HYBRID, f"{_many(len(stages), 'overlapping convolution')} and {_attention(trace)}"
    if attentions:
        return Family.VIT, f"{_attention(trace)}, and no convolution but those that cut patches"
    if mixing and not stages:
        return Family.MIXER, f"{_many(mixing, 'linear layer')} across patches, no attention"
    if convolutions:
        across = f", {_many(mixing, 'linear layer')} across places" if mixing else ""
        return Family.CNN, f"{_many(len(convolutions), 'convolution')}{across}, no attention"
    if layers and all(layer.whole for layer in layers):
        return Family.MLP, f"{_many(len(layers), 'linear layer')} on whole images, no convolution, no attention"
    return Family.UNKNOWN, f"{_shape(trace)} in an order that no family has"


def summary(trace: Trace) -> str:
    """Its layers, counted."""
    return _shape(trace) + (f", {_attention(trace)}" if trace.attentions else "")


def _traits(profile: Profile, trace: Trace, family: Family) -> Iterator[Statement]:
    layers = trace.layers
    if Trait.DENSE in profile.traits:
        yield _trait(Trait.DENSE, "rebuilt as a chain of linear layers, which returns the same")
    if Trait.BINARISED in profile.traits:
        yield _trait(Trait.BINARISED, "weights, inputs and hidden values are signs; thresholds are whole numbers")
    first = next((layer for layer in layers if layer.first), None)
    if first is not None and first.kind == "convolution":
        size = "x".join(map(str, first.weight.shape[2:]))
        yield _trait(Trait.FIRST_LAYER_CONVOLUTION, f"{len(first.weight)} kernels of {size} on the pixels")
    elif first is not None and first.whole:
        yield _trait(
            Trait.FIRST_LAYER_LINEAR, f"{len(first.weight)} rows over all {first.weight.shape[1]} pixel values"
        )
    if trace.degree:
        why = f"scaling all weights by a scales the logits by a^{trace.degree}"
        yield _trait(Trait.HOMOGENEOUS, f"{why}: linear pieces through zero, no normalisation")
    norms = sum(step.kind == "batch norm" for step in trace.steps)
    if norms:
        yield _trait(Trait.BATCH_NORM, f"{_many(norms, 'batch norm layer')} with recorded statistics")
    inner = [layer for layer in layers[1:-1] if _row_length(layer) > 1]
    if inner and all(_is_binary(layer.weight.flatten(1)) for layer in inner):
        yield _trait(Trait.BINARY_WEIGHTS, f"plus or minus one number a row in all {len(inner)} inner layers")
    last = layers[-1] if layers else None
    if last is not None and family is not Family.MLP and last.kind == "linear" and last.vector and profile.parameters:
        share = (last.weight.numel() + (0 if last.bias is None else last.bias.numel())) / profile.parameters
        if share <= _SMALL:
            out, features = last.weight.shape
            why = f"the last layer, {features} features to {out} logits, holds {share:.2%} of the parameters"
            yield _trait(Trait.SMALL_HEAD, f"{why}; whether the others were frozen in training is not in the file")
    if Trait.SOFTMAX_OUTPUT in profile.traits:
        yield _trait(Trait.SOFTMAX_OUTPUT, "the model ends in a softmax: log-probabilities are returned")


def _head(head: Head | None) -> Iterator[Statement]:
    if head is not None:
        weights, act = head.dense.weights, head.dense.activation
        widths = "-".join(map(str, (weights[0].shape[1], *map(len, weights))))
        shape = f"{_many(len(weights), 'linear layer')}, {widths}" + (f", {act}" if len(weights) > 1 else "")
        yield _trait(Trait.HEAD, f"the network ends in {shape}; cut off, the parts return the same")


def _declared(profile: Profile) -> Iterator[Statement]:
    """What the profile says without a reason of its own: assumptions are reasons too."""
    said = {statement.what for statement in profile.statements}
    for assumption in profile.assumptions:
        if assumption.what not in said:
            yield Statement(assumption.what, assumption.value, f"assumed: {assumption.why}")


def _trait(trait: Trait, why: str) -> Statement:
    return Statement("trait", trait.value, why)


def _overlaps(layer: Step) -> bool:
    """Whether neighbouring outputs share inputs; a convolution that cuts patches, or of one pixel, has none."""
    kernel = layer.weight.shape[2:]
    return any(size > step for size, step in zip(kernel, layer.stride, strict=True))


def _is_binarised(layers: Sequence[Step]) -> bool:
    """Whether all layers between the first and the last (or the last, without any) read plus or minus one number."""
    inner = layers[1:-1] or layers[1:]
    return bool(inner) and all(_is_binary(layer.read.flatten()[None]) for layer in inner)


def _is_binary(rows: Tensor) -> bool:
    """Whether each row holds plus and minus one number above zero, and all rows together both signs."""
    sizes = rows[:1].abs()
    if not _is_flat(sizes):
        return False
    return _is_flat(rows.abs()) and bool((rows > 0).any()) and bool((rows < 0).any())


def _is_flat(sizes: Tensor) -> bool:
    low, high = sizes.amin(1), sizes.amax(1)
    return bool((low > 0).all()) and bool((high - low <= 1e-5 * high).all())


def _row_length(layer: Step) -> int:
    return prod(layer.weight.shape[1:])


def _shape(trace: Trace) -> str:
    counts = {kind: sum(step.kind == kind for step in trace.steps) for kind in ("convolution", "linear", "batch norm")}
    names = {"convolution": "convolution", "linear": "linear layer", "batch norm": "batch norm layer"}
    return ", ".join(_many(count, names[kind]) for kind, count in counts.items() if count) or "no layer"


def _attention(trace: Trace) -> str:
    if trace.attentions:
        return _many(trace.attentions, "attention layer")
    return _many((trace.products + 1) // 2, "attention layer") + " without a softmax"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
