"""Published architectures: a state dict is one where every tensor has its name and shape (`Architecture`, `published`).

An architecture reads its sizes off a few tensors (`plan`), and builds the network of these sizes without memory
(`network`). Only where names and shapes of *all* tensors are those of that network is it recognised; what names and
shapes do not show is then stated or assumed (`settle`). So the network is its own specification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import nn

from auditcli.families._head import Head, head
from auditcli.families._layers import natural, parameters, table
from auditcli.families._names import Rename, Unwrapped, renamed, unwrapped
from auditcli.families._publication import Publication, as_published, publications
from auditcli.families._template import Built, Mismatch, Rank, Template
from auditcli.types import Family, Format, Profile, Trait

if TYPE_CHECKING:
    from torch import Tensor

    from auditcli.families._dossier import Dossier

_EXPORT = "export it to ONNX, which holds the graph: torch.onnx.export(model.eval(), (images,), F)"


class Misfit(Exception):  # noqa: N818 - an answer, and no error
    """Sizes that cannot be read off a state dict; the message says why."""


class Weights:
    """Shapes of a state dict, for reading sizes off them."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = state

    def __contains__(self, name: str) -> bool:
        return name in self.state

    def head(self, name: str) -> Head:
        """The linear layers of that name.

        Raises:
            Misfit: they are no sequence of linear layers with activations between them.
        """
        found = head(self.state, name)
        if found is None:
            raise Misfit(f"{name} is no linear layer, and no sequence of linear layers with activations between them")
        return found

    def shape(self, name: str, ndim: int) -> tuple[int, ...]:
        """Of the tensor of that name.

        Raises:
            Misfit: it is missing, or has not `ndim` dimensions.
        """
        if name not in self.state:
            raise Misfit(f"{name} is missing")
        shape = tuple(self.state[name].shape)
        if len(shape) != ndim or 0 in shape:
            raise Misfit(f"{name} is {shape}, {ndim} dimensions were expected")
        return shape

    def numbers(self, prefix: str) -> tuple[int, ...]:
        """The numbers that follow `prefix` in names, ascending."""
        after = (name.removeprefix(prefix).partition(".")[0] for name in self.state if name.startswith(prefix))
        return tuple(sorted({int(part) for part in after if part.isdecimal() and len(part) < 6}))

    def count(self, prefix: str, start: int = 0) -> int:
        """How many numbers follow `prefix` in names, beginning with `start`.

        Raises:
            Misfit: none do, or one is left out.
        """
        found = self.numbers(prefix)
        if not found or found != tuple(range(start, start + len(found))):
            expected = next(number for number in range(start, start + len(found) + 1) if number not in found)
            raise Misfit(f"{prefix}{expected} is missing")
        return len(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sizes of a network, and what its weights do not show; each architecture has its own."""

    head: Head
    channels: int
    side: int
    """Height and width of its input, where nothing says otherwise."""
    side_shown_by: str = ""
    """What in the weights shows `side`; empty where it is only customary."""

    @property
    def outputs(self) -> int:
        """Logits it returns."""
        return self.head.outputs


P = TypeVar("P", bound=Plan)


@dataclass(frozen=True, slots=True)
class Architecture(Generic[P]):
    """A published architecture with open sizes."""

    name: str
    family: Family
    anchors: tuple[str, ...]
    """Names of its first tensor, in any of the forms that `renames` knows."""
    classifier: str
    """Name of its last layer."""
    plan: Callable[[Weights], P]
    """Sizes read off the weights, with the customary values of what they do not show; raises `Misfit`."""
    network: Callable[[P], nn.Module]
    """Built without memory: its parameters have the names of the publication, its forward maps images to logits."""
    settle: Callable[[Dossier, P], P]
    """The plan with what is stated, and the rest listed as assumptions; raises `OpenQuestion`."""
    describe: Callable[[P], str]
    """One line for people."""
    renames: tuple[Rename, ...] = ()
    """Other names under which the same layers are saved."""


def published(architecture: Architecture[P]) -> Template:
    """The template that recognises and builds an architecture."""

    def recognise(dossier: Dossier) -> Profile | Mismatch:
        fitted = _fit(dossier, architecture)
        if isinstance(fitted, Mismatch):
            return fitted
        found = next(iter(publications(dossier)), None)
        if found is not None and found.template != architecture.name:
            return Mismatch(f"its weights are those of {found.name}, which computes something else", 1.0)
        plan = architecture.settle(dossier, fitted.plan)
        if found is None:
            return _profile(dossier, architecture, plan)
        profile = _profile(dossier, architecture, plan if plan.side_shown_by else _resized(plan, found))
        return as_published(dossier, profile, found)

    def build(dossier: Dossier, _: Profile) -> Built:
        fitted = _fit(dossier, architecture)
        if isinstance(fitted, Mismatch):
            raise TypeError("build was called with a profile that is not of this checkpoint")
        net = _network(architecture, architecture.settle(dossier, fitted.plan))
        net.load_state_dict(fitted.state, assign=True)
        return Built(net)

    formats = frozenset({Format.SAFETENSORS, Format.HUGGINGFACE})
    return Template(architecture.name, Rank.NAMED, formats, recognise, build, architecture.family)


@dataclass(frozen=True, slots=True)
class _Fit(Generic[P]):
    """A plan whose network has the names and shapes of the checkpoint."""

    plan: P
    state: Mapping[str, Tensor]


def _fit(dossier: Dossier, architecture: Architecture[P]) -> _Fit[P] | Mismatch:
    inner = unwrapped(dossier.tensors, architecture.anchors)
    state = None if inner is None else renamed(inner.state, architecture.renames)
    if inner is None or state is None:
        return Mismatch(f"{architecture.anchors[0]} is missing", 0.0)
    try:
        plan = architecture.plan(Weights(state))
        net = _network(architecture, plan)
    except Misfit as misfit:
        return Mismatch(str(misfit), 0.5, _EXPORT)
    expected = net.state_dict()
    if why := difference(expected, state, architecture.classifier):
        fitting = sum(name in state and state[name].shape == wanted.shape for name, wanted in expected.items())
        return Mismatch(why, fitting / len(state), _EXPORT)
    if inner.outside:
        names = renamed({name: inner.state[name] for name in inner.outside}, architecture.renames) or {}
        if strangers := [name for name in names if not name.startswith(f"{architecture.classifier}.")]:
            return Mismatch(f"{strangers[0]} stands outside of {inner.prefix.rstrip('.')}", 1.0, _EXPORT)
        _assume_outer(dossier, architecture, inner)
    return _Fit(plan, state)


def _assume_outer(dossier: Dossier, architecture: Architecture[P], inner: Unwrapped) -> None:
    if dossier.stated("template") != architecture.name:
        reads = f"{inner.outside[0].rpartition('.')[0]} reads what {inner.prefix.rstrip('.')} returns"
        why = f"{reads}: only together they are a {architecture.name}"
        dossier.assume("outer module", architecture.name, why=why, flag="--assume template=...")


def _network(architecture: Architecture[P], plan: P) -> nn.Module:
    with torch.device("meta"):
        return architecture.network(plan)


def difference(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], classifier: str) -> str:
    """The first tensor by name that is missing, has no place or another shape, in words; empty where there is none."""
    missing = {name for name in expected.keys() - state.keys() if not name.endswith("num_batches_tracked")}
    foreign = sorted(state.keys() - expected.keys(), key=natural)
    if missing and all(name.startswith(f"{classifier}.") for name in missing):
        if foreign:
            return f"{classifier} is missing, and {foreign[0]} {tuple(state[foreign[0]].shape)} has no place in it"
        return f"{min(missing)} is missing (a model without its classifier)"
    for name in sorted(expected.keys() | state.keys(), key=natural):
        if name.endswith("num_batches_tracked"):
            continue
        if name not in state:
            return f"{name} is missing"
        found = tuple(state[name].shape)
        if name not in expected:
            return f"{name} {found} has no place in it"
        if found != (wanted := tuple(expected[name].shape)):
            return f"{name} is {found}, {wanted} was expected"
        if not state[name].is_floating_point():
            return f"{name} holds {str(state[name].dtype).removeprefix('torch.')}, floats were expected"
    return ""


def _profile(dossier: Dossier, architecture: Architecture[P], plan: P) -> Profile:
    shape = _input_shape(dossier, plan)
    classes = dossier.classes(plan.outputs)
    norms = any(name.endswith(".running_var") for name in dossier.tensors)
    normalisation = dossier.normalisation(shape[0])
    count = len(dossier.tensors)
    return Profile(
        family=architecture.family,
        architecture=architecture.describe(plan),
        input_shape=shape,
        classes=classes,
        outputs=plan.outputs,
        parameters=parameters(dossier.tensors),
        normalisation=normalisation,
        traits=frozenset({Trait.BATCH_NORM} if norms else ()),
        layers=table(dossier.tensors),
        identified_by=dossier.identified_by,
        evidence=(f"all {count} tensors have the name and shape of this {architecture.name}", *dossier.evidence),
        assumptions=tuple(dossier.assumptions),
        labels=dossier.labels(classes),
    )


def _resized(plan: P, found: Publication) -> P:
    return replace(plan, side=found.input_shape[-1])


def _input_shape(dossier: Dossier, plan: Plan) -> tuple[int, int, int]:
    stated = dossier.input_shape()
    if stated is None:
        shape = (plan.channels, plan.side, plan.side)
        if plan.side_shown_by:
            dossier.state("input shape", "x".join(map(str, shape)), plan.side_shown_by)
            return shape
        why = "customary for such a first layer; height and width are pooled, so that weights do not show them"
        dossier.assume("input shape", "x".join(map(str, shape)), why=why, flag="--input-shape C,H,W")
        return shape
    if stated[0] != plan.channels:
        raise dossier.open_question(
            f"an input of {stated[0]} channels is stated, the first layer reads {plan.channels}",
            "--input-shape C,H,W",
        )
    return stated
