"""ONNX graphs as families see them: normalisation at the start, profiles, and the module around a converted graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from auditcli.families._affine import leading_normalisation
from auditcli.families._dense import DenseChain, head
from auditcli.families._graph import dense_chain
from auditcli.families._template import Built
from auditcli.types import Checkpoint, Family, Graph, Layer, Normalisation, Profile, Trait

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier

_TOLERANCE = 1e-4
_CHANNELS = frozenset({1, 3, 4})


@dataclass(frozen=True, slots=True)
class DenseGraph:
    """A graph that is a chain of linear layers, with the normalisation that its first operators compute, if any."""

    chain: DenseChain
    inner: Normalisation | None
    difference: float
    """Largest difference between the chain and the converted graph on random inputs."""


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


def dense_graph(checkpoint: Checkpoint) -> DenseGraph | None:
    """The chain of linear layers that the graph is, once it agrees with the converted graph; else None."""
    graph = checkpoint.graph
    if graph is None or _channels_last(graph) or None in graph.input_shape[1:]:
        return None
    inner, start = leading_normalisation(checkpoint)
    chain = dense_chain(checkpoint, start)
    if chain is None:
        return None
    sizes = [size for size in graph.input_shape[1:] if size is not None]
    images = torch.rand(4, *sizes, generator=torch.Generator().manual_seed(0))
    normalised = images
    if inner is not None:
        per_channel = (1, -1, 1, 1) if images.ndim == 4 else (1, -1)
        normalised = (images - torch.tensor(inner.mean).view(per_channel)) / torch.tensor(inner.std).view(per_channel)
    with torch.no_grad():
        try:
            ours, theirs = head(chain).eval()(normalised.flatten(1)), graph.module(images)
        except RuntimeError:
            return None
    if ours.shape != theirs.shape:
        return None
    difference = (ours - theirs).abs().max().item()
    return DenseGraph(chain, inner, difference) if difference <= _TOLERANCE * max(1.0, theirs.abs().max()) else None


def dense_profile(dossier: Dossier, found: DenseGraph) -> Profile:
    """The profile of a graph that is a chain of linear layers."""
    graph = _graph(dossier)
    widths = found.chain.widths
    dossier.note(f"the chain rebuilt from the graph differs from it by at most {found.difference:.1e} on random inputs")
    written = "-".join(map(str, widths))
    return _profile(
        dossier,
        family=Family.MLP,
        architecture=f"{written}, {found.chain.activation}",
        input_shape=_input_shape(dossier, graph),
        outputs=widths[-1],
        traits=found.chain.traits,
    )


def graph_profile(dossier: Dossier, family: Family, architecture: str) -> Profile:
    """The profile of a graph that is run as it was converted."""
    graph = _graph(dossier)
    shape = _input_shape(dossier, graph)
    with torch.no_grad():
        outputs = adapted(graph)(torch.zeros(1, *shape)).shape[1]
    has_norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in graph.module.modules())
    return _profile(
        dossier,
        family=family,
        architecture=architecture,
        input_shape=shape,
        outputs=outputs,
        traits=frozenset({Trait.BATCH_NORM} if has_norms else ()),
    )


def adapted(graph: Graph) -> nn.Module:
    """The converted graph, reading images (n, c, h, w)."""
    return OnGraph(graph.module, flatten=len(graph.input_shape) == 2, channels_last=_channels_last(graph))


def build_graph(dossier: Dossier) -> Built:
    """The converted graph behind the normalisation of the target, which includes the graph's own."""
    graph = _graph(dossier)
    inner, _ = leading_normalisation(dossier.checkpoint)
    net = adapted(graph)
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
    graph = _graph(dossier)
    operators = Counter(node.op for node in graph.nodes if node.op != "Constant")
    counted = ", ".join(f"{count} {op}" for op, count in operators.most_common(6))
    checked = f"{graph.converter}, at most {graph.difference:.1e} from {graph.checked_against} on random inputs"
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
    )


def _normalisation(dossier: Dossier, channels: int) -> Normalisation:
    """The normalisation before the graph and the one inside it, as one."""
    inner, _ = leading_normalisation(dossier.checkpoint)
    if inner is None:
        return dossier.normalisation(channels)
    dossier.note("normalisation: computed by the first operators of the graph")
    outer = dossier.stated_normalisation(channels)
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
        dossier.note("input shape: declared by the graph")
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


def _graph(dossier: Dossier) -> Graph:
    if dossier.checkpoint.graph is None:
        raise TypeError("a checkpoint with a graph was expected")
    return dossier.checkpoint.graph
