"""What a model is, without an attack. Public names: `inspect`, `describe`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditcli.families import Options
from auditcli.loading import load, stored_types
from auditcli.opening import opened
from auditcli.report import schema
from auditcli.threads import one_thread
from auditcli.types import Checkpoint, Profile

if TYPE_CHECKING:
    import torch


def inspect(
    path: str | Path,
    *,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    assume: Mapping[str, str] | None = None,
    arch: str = "",
    arch_arguments: Mapping[str, Any] | None = None,
    backbone: str | Path | None = None,
    reference: Path | None = None,
    controls: Path | None = None,
    tensors: bool = False,
) -> schema.Model:
    """Load, identify and build a model: what an audit would work with. The options are those of `audit`.

    Args:
        path: A file or folder, or a hub id.
        mean: Of inputs in [0, 1]; None for what the model says.
        std: The same.
        input_shape: (c, h, w), where the model does not say.
        assume: What else the model does not say.
        arch: `module:callable` of the user's own code that builds the network; empty runs none.
        arch_arguments: Keyword arguments of that callable.
        backbone: Where the file holds a head alone, the model whose features it reads.
        reference: Images it was trained on, which decide what its file leaves open where they can.
        controls: Images of the same kind that it never saw, likewise; they are preferred.
        tensors: List the tensors of the file too.

    Raises:
        LoadError: The file is missing, corrupt or refused, or the network cannot be built.
        UnknownModel: No family explains the weights, or they leave a question open.
        UsageError: An option that does not fit the model.
    """
    checkpoint = load(path)
    options = Options(
        input_shape=input_shape,
        mean=mean,
        std=std,
        assume=assume or {},
        arch=arch,
        arch_arguments=arch_arguments or {},
    )
    # A single image is run: several threads cost seconds where another process wants the cores, and save little.
    with one_thread():
        target, _ = opened(checkpoint, options, reference=reference, controls=controls, backbone=backbone)
    model = describe(checkpoint, target.profile)
    return model.model_copy(update={"tensors": tuple(_tensors(checkpoint, target.profile))}) if tensors else model


def describe(checkpoint: Checkpoint, profile: Profile) -> schema.Model:
    """The `model` part of a report."""
    return schema.Model(
        path=checkpoint.name,
        sha256=checkpoint.sha256,
        bytes=checkpoint.bytes,
        format=checkpoint.format.value,
        family=profile.family.value,
        architecture=profile.architecture,
        parameters=profile.parameters,
        input_shape=profile.input_shape,
        classes=profile.classes,
        labels=profile.labels,
        mean=profile.normalisation.mean,
        std=profile.normalisation.std,
        traits=tuple(sorted(trait.value for trait in profile.traits)),
        identified_by=profile.identified_by,
        evidence=profile.evidence,
        assumptions=tuple(schema.Assumption(**asdict(assumption)) for assumption in profile.assumptions),
        layers=tuple(schema.Layer(**asdict(layer)) for layer in profile.layers),
        statements=tuple(schema.Statement(**asdict(statement)) for statement in profile.statements),
    )


def _tensors(checkpoint: Checkpoint, profile: Profile) -> Iterator[schema.Tensor]:
    stored = stored_types(checkpoint)
    kinds = {layer.name: layer.kind for layer in profile.layers}
    for name, tensor in checkpoint.tensors.items():
        layer, _, part = name.rpartition(".")
        role = kinds.get(name) or f"{kinds.get(layer, '')} {part.replace('_', ' ')}".strip()
        low, high, mean, deviation = _extremes(tensor)
        yield schema.Tensor(
            name=name,
            role=role,
            stored=stored.get(name, str(tensor.dtype).removeprefix("torch.")),
            shape=tuple(tensor.shape),
            numbers=tensor.numel(),
            low=low,
            high=high,
            mean=mean,
            deviation=deviation,
        )


def _extremes(tensor: torch.Tensor) -> tuple[float, float, float, float] | tuple[None, None, None, None]:
    """Smallest and largest number, mean and standard deviation; none of an empty or too wild tensor."""
    if not tensor.numel() or tensor.is_complex():
        return None, None, None, None
    floats = tensor if tensor.is_floating_point() else tensor.double()
    low, high = (extreme.item() for extreme in floats.aminmax())
    scale = max(abs(low), abs(high)) or 1.0
    # Sums and squares of the largest floats would not be finite.
    unit = floats / scale
    return low, high, unit.mean().item() * scale, unit.std(correction=0).item() * scale
