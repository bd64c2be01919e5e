"""A head that came without its backbone, on one that the auditor gives: `seated`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from auditcli.errors import LoadError, UnknownModel, UsageError
from auditcli.families._identify import build, identify
from auditcli.families._options import Options
from auditcli.families._pixels import FromPixels
from auditcli.families._trace import noise, trace
from auditcli.families._traits import examined
from auditcli.types import Head, Profile, Statement, Target, Trait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditcli.types import Checkpoint

_HEADLESS = (
    "a folder without a classifier gets one by AutoModelForImageClassification.from_pretrained(F).save_pretrained(G)"
)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A backbone that ends in features."""

    net: nn.Module
    """Normalised images (n, c, h, w) -> (n, width)."""
    width: int
    where: str


def seated(
    checkpoint: Checkpoint, backbone: Checkpoint, options: Options, device: torch.device | str = "cpu"
) -> Target:
    """The model that a head and its backbone make together.

    Args:
        checkpoint: The head alone: linear layers that read features.
        backbone: An image classifier. The head reads what its last linear layer reads, or where that does not fit,
            what it returns.
        options: Statements of the user: `--mean`, `--std` and `--input-shape` are of the backbone's images, `--assume`
            is of the head.
        device: Where the model shall run.

    Returns:
        A target that takes images for the backbone and returns what the head does. It has `Trait.HEAD` where the head
        is a chain of linear layers and one activation; its profile has the backbone's input and the head's classes.

    Raises:
        LoadError: no features of the backbone are as many as the head reads, or either cannot be built.
        UnknownModel: the head is no chain of linear layers, or the backbone is not known.
        UsageError: code of the user is named as well.
    """
    if options.arch:
        raise UsageError("--arch builds a whole network and --backbone a part of one", hint="leave one of them out")
    pixels = Options(input_shape=options.input_shape, mean=options.mean, std=options.std)
    whole = build(backbone, identify(backbone, pixels), pixels)
    if not isinstance(whole.module, FromPixels):
        raise TypeError("build makes networks that read pixels")
    refused: list[UnknownModel] = []
    for cut in _cuts(whole, whole.module.net):
        stated = Options(input_shape=(cut.width, 1, 1), mean=(0.0,), std=(1.0,), assume=options.assume)
        try:
            profile = identify(checkpoint, stated)
        except UnknownModel as error:
            refused.append(error)
            continue
        return _joined(checkpoint, backbone, build(checkpoint, profile, stated), whole, cut, device)
    given = " or ".join(f"{cut.width} ({cut.where})" for cut in _cuts(whole, whole.module.net))
    raise LoadError(
        f"{checkpoint.name} does not fit on the backbone {backbone.name}, which gives {given}: {refused[0].message}",
        hint=f"--backbone takes what the head was trained on; {_HEADLESS}",
    )


def _cuts(whole: Target, net: nn.Module) -> Iterator[_Cut]:
    """The places where a backbone has one vector of features an image, the likelier first."""
    last = trace(net, noise(whole.profile.input_shape)).layers[-1]
    for name, module in net.named_modules():
        if last.vector and isinstance(module, nn.Linear) and module.weight.data_ptr() == last.weight.data_ptr():
            yield _Cut(_without(net, name), module.in_features, "what its last layer reads")
    yield _Cut(net, whole.profile.outputs, "what it returns")


def _without(net: nn.Module, name: str) -> nn.Module:
    """The network with one module left out, its weights shared."""
    if not name:
        return nn.Identity()
    parent, _, last = name.rpartition(".")
    copied = _sharing(net)
    setattr(copied.get_submodule(parent), last, nn.Identity())
    return copied


def _sharing(net: nn.Module) -> nn.Module:
    """A copy with the same weights in it, not copies of them."""
    from copy import deepcopy

    shared = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    return deepcopy(net, shared)


def _joined(
    checkpoint: Checkpoint, backbone: Checkpoint, head: Target, whole: Target, cut: _Cut, device: torch.device | str
) -> Target:
    if not isinstance(head.module, FromPixels):
        raise TypeError("build makes networks that read pixels")
    normalisation = whole.profile.normalisation
    net = nn.Sequential(cut.net, head.module.net)
    module = FromPixels(net, normalisation, log_softmax=False).eval().requires_grad_(False).to(device)
    features = FromPixels(cut.net, normalisation, log_softmax=False).eval().requires_grad_(False).to(device)
    dense = (
        None
        if head.dense is None
        else replace(
            head.dense,
            weights=tuple(weight.to(device) for weight in head.dense.weights),
            biases=tuple(None if bias is None else bias.to(device) for bias in head.dense.biases),
        )
    )
    cut_off = None if dense is None else Head(features, dense)
    seen = trace(module.net, noise(whole.profile.input_shape).to(device))
    return Target(
        module, examined(_profile(checkpoint, backbone, head.profile, whole.profile, cut), seen, cut_off), head=cut_off
    )


def _profile(checkpoint: Checkpoint, backbone: Checkpoint, head: Profile, whole: Profile, cut: _Cut) -> Profile:
    """What is known of both: the images are the backbone's, the task is the head's."""
    digest = f"{backbone.name}, sha256 {backbone.sha256[:16]}"
    task = {"classes", "class names", "labels", "activation"}
    return replace(
        whole,
        architecture=f"{head.architecture}, on {cut.width} features of {whole.architecture}",
        classes=head.classes,
        outputs=head.outputs,
        parameters=whole.parameters + head.parameters,
        traits=frozenset(whole.traits - {Trait.DENSE, Trait.SOFTMAX_OUTPUT}),
        layers=head.layers,
        identified_by=f"{head.identified_by}, on --backbone",
        evidence=(
            f"the backbone was given, not found in the file: {digest}",
            f"{checkpoint.name} reads {cut.width} features: {cut.where}",
            *head.evidence,
        ),
        assumptions=(*head.assumptions, *(one for one in whole.assumptions if one.what not in task)),
        statements=(
            Statement("backbone", digest, "stated by --backbone"),
            *(one for one in whole.statements if one.what in {"input shape", "mean", "std", "normalisation"}),
            *(one for one in head.statements if one.what in task),
        ),
        labels=head.labels,
    )
