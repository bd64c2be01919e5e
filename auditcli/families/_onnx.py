"""ONNX graphs as families see them: normalisation at the start, profile, and the module around a converted graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from auditcli.families._affine import leading_normalisation
from auditcli.families._binary import BinaryLinear, BinaryScores
from auditcli.families._chain import TOLERANCE, dense_chain, difference, disagreement, probes
from auditcli.families._dense import DenseChain
from auditcli.families._signed import network, reads_pixels, signed_layers
from auditcli.families._template import Built
from auditcli.families._trace import noise, trace
from auditcli.families._traits import family_of, summary
from auditcli.types import Checkpoint, Family, Graph, Layer, Normalisation, Profile, Trait

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier

_CHANNELS = frozenset({1, 3, 4})


@dataclass(frozen=True, slots=True)
class DenseGraph:
    """A graph that is a chain of linear layers, with the normalisation that its first operators compute, if any."""

    chain: DenseChain
    inner: Normalisation | None
    difference: float
    """Largest difference between the chain and the converted graph on random images, relative to the largest output."""


class OnGraph(nn.Module):
    """Fits images (n, c, h, w) to a graph that reads (n, d) or (n, h, w, c)."""

    def __init__(self, net: nn.Module, *, flatten: bool, channels_last: bool) -> None:
        super().__init__()
        self.net = net
        self.flatten = flatten
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the graph (n, outputs)."""
        if self.channels_last:
            x = x.permute(0, 2, 3, 1)
        out: Tensor = self.net(x.flatten(1) if self.flatten else x)
        return out


def dense_graph(dossier: Dossier, input_shape: tuple[int, int, int]) -> DenseGraph | None:
    """The chain of linear layers that the graph is, once it agrees with the converted graph; else None."""
    if _channels_last(graph_of(dossier)):
        return None
    inner, _ = leading_normalisation(dossier.checkpoint)
    net = build_graph(dossier).net
    seen, unseen = probes(input_shape, 0), probes(input_shape, 1)
    chain = dense_chain(trace(net, seen), seen.flatten(1))
    if chain is None:
        return None
    off = difference(chain, net, unseen)
    return DenseGraph(chain, inner, off) if off <= TOLERANCE else None


def signed_graph(dossier: Dossier, profile: Profile) -> nn.Sequential | None:
    """The network of signs that the graph is, once it agrees with the converted graph; else None."""
    if _channels_last(graph_of(dossier)) or not reads_pixels(profile.normalisation):
        return None
    net, unseen = build_graph(dossier).net, probes(profile.input_shape, 1)
    layers = signed_layers(trace(net, probes(profile.input_shape, 0)))
    if layers is None:
        return None
    ours = network(layers).eval()
    with torch.no_grad():
        return ours if disagreement(ours(unseen), net(unseen)) <= TOLERANCE else None


def graph_profile(dossier: Dossier) -> Profile:
    """What a graph is: a chain of linear layers, or what its operators show as it was converted."""
    graph = graph_of(dossier)
    shape = _input_shape(dossier, graph)
    seen = trace(adapted(graph), noise(shape))
    outputs = seen.output.shape[1]
    found = dense_graph(dossier, shape) if family_of(seen)[0] is Family.MLP else None
    if found is None:
        family, architecture, traits = family_of(seen)[0], f"ONNX graph, {summary(seen)}", frozenset[Trait]()
    else:
        chain = found.chain
        family, traits = Family.MLP, chain.traits
        architecture = f"{'-'.join(map(str, chain.widths))}, {chain.activation}"
        dossier.note(f"the chain rebuilt from the graph differs from it by at most {found.difference:.1e}")
    profile = _profile(
        dossier, family=family, architecture=architecture, input_shape=shape, outputs=outputs, traits=traits
    )
    if family is Family.BNN and (signed := signed_graph(dossier, profile)) is not None:
        widths = [layer.weight.shape for layer in signed if isinstance(layer, BinaryLinear | BinaryScores)]
        written = "-".join(map(str, (widths[0][1], *(shape[0] for shape in widths))))
        return replace(profile, architecture=f"{written}, sign", traits=profile.traits | {Trait.BINARISED})
    return profile


def adapted(graph: Graph) -> nn.Module:
    """The converted graph, reading images (n, c, h, w)."""
    return OnGraph(graph.module, flatten=len(graph.input_shape) == 2, channels_last=_channels_last(graph))


def build_graph(dossier: Dossier) -> Built:
    """The converted graph behind the normalisation of the target, which includes the graph's own."""
    net = adapted(graph_of(dossier))
    inner, _ = leading_normalisation(dossier.checkpoint)
    return Built(net if inner is None else nn.Sequential(_Undo(inner), net))


class _Undo(nn.Module):
    """Takes the graph's own normalisation back: the profile states the whole, and the graph computes its part again."""

    mean: Tensor
    std: Tensor

    def __init__(self, inner: Normalisation) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(inner.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(inner.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.std + self.mean


def _profile(
    dossier: Dossier,
    *,
    family: Family,
    architecture: str,
    input_shape: tuple[int, int, int],
    outputs: int,
    traits: frozenset[Trait],
) -> Profile:
    graph = graph_of(dossier)
    operators = Counter(node.op for node in graph.nodes if node.op != "Constant")
    counted = ", ".join(f"{count} {op}" for op, count in operators.most_common(6))
    checked = f"{graph.converter}, at most {graph.difference:.1e} from {graph.checked_against} on random inputs"
    for note in (f"opset {graph.opset}; takes several images: {graph.batching}", *graph.notes):
        dossier.note(note)
    dossier.note(f"its gradient is at most {graph.gradient_difference:.1e} (relative) from central differences")
    if graph.final in {"Softmax", "LogSoftmax"}:
        traits |= {Trait.SOFTMAX_OUTPUT}
        dossier.note(
            f"the graph ends in {graph.final}: log-probabilities are returned, computed from what stands before"
        )
    elif graph.final:
        dossier.note(f"the graph ends in {graph.final}: the logits before it are returned")
    normalisation = _normalisation(dossier, input_shape[0])
    classes = dossier.classes(outputs)
    return Profile(
        family=family,
        architecture=architecture,
        input_shape=input_shape,
        classes=classes,
        outputs=outputs,
        parameters=sum(tensor.numel() for tensor in _weights(dossier.checkpoint).values()),
        normalisation=normalisation,
        traits=traits,
        layers=_layers(dossier.checkpoint),
        identified_by="operators of the ONNX graph",
        evidence=(f"operators: {counted}", f"converted by {checked}", *dossier.evidence),
        assumptions=tuple(dossier.assumptions),
        labels=dossier.labels(classes),
    )


def _normalisation(dossier: Dossier, channels: int) -> Normalisation:
    """The normalisation before the graph and the one inside it, as one."""
    inner, _ = leading_normalisation(dossier.checkpoint)
    if inner is None:
        return dossier.normalisation(channels)
    outer = dossier.stated_normalisation(channels)
    why = "computed by the first operators of the graph"
    dossier.state("normalisation", "in the graph", why if outer is None else f"{why}, after what is stated")
    if outer is None:
        return inner
    count = max(len(values) for values in (inner.mean, outer.mean, outer.std))
    mean, std, inner_mean, inner_std = (
        values * (count if len(values) == 1 else 1) for values in (outer.mean, outer.std, inner.mean, inner.std)
    )
    return Normalisation(
        tuple(m + s * im for m, s, im in zip(mean, std, inner_mean, strict=True)),
        tuple(s * is_ for s, is_ in zip(std, inner_std, strict=True)),
    )


def _input_shape(dossier: Dossier, graph: Graph) -> tuple[int, int, int]:
    sizes = graph.input_shape[1:]
    if len(sizes) == 1:
        if sizes[0] is None:
            raise dossier.open_question("the graph leaves the width of its input open", "export it with a fixed width")
        return dossier.flat_input_shape(sizes[0])
    channels, height, width = (sizes[2], sizes[0], sizes[1]) if _channels_last(graph) else sizes
    stated = dossier.input_shape()
    if stated is None:
        if channels is None or height is None or width is None:
            raise dossier.open_question("the graph leaves the size of its input open", "--input-shape C,H,W")
        dossier.state("input shape", f"{channels}x{height}x{width}", "declared by the graph")
        return (channels, height, width)
    if any(size not in {None, want} for size, want in zip((channels, height, width), stated, strict=True)):
        declared = "x".join("?" if size is None else str(size) for size in (channels, height, width))
        raise dossier.open_question(
            f"the graph takes {declared}, --input-shape says {'x'.join(map(str, stated))}",
            "leave --input-shape out, or export the graph again",
        )
    return stated


def _channels_last(graph: Graph) -> bool:
    shape = graph.input_shape
    return len(shape) == 4 and shape[3] in _CHANNELS and shape[1] not in _CHANNELS


def _weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Initializers that are trained: floats in arrays, not the lone constants of formulas."""
    return {name: t for name, t in checkpoint.tensors.items() if t.is_floating_point() and t.ndim and t.numel() > 1}


def _layers(checkpoint: Checkpoint) -> tuple[Layer, ...]:
    graph, weights = checkpoint.graph, _weights(checkpoint)
    rows, seen = [], set()
    for node in graph.nodes if graph else ():
        own = [name for name in node.inputs if name in weights and name not in seen]
        if own:
            seen |= set(own)
            largest = max(own, key=lambda name: weights[name].ndim)
            count = sum(weights[name].numel() for name in own)
            rows.append(Layer(name=largest, kind=node.op, shape=tuple(weights[largest].shape), parameters=count))
    return tuple(rows)


def graph_of(dossier: Dossier) -> Graph:
    if dossier.checkpoint.graph is None:
        raise TypeError("a checkpoint with a graph was expected")
    return dossier.checkpoint.graph
