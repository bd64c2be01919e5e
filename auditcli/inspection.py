"""What a model is, without an attack. Public names: `inspect`, `describe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from auditcli.families import Options, identify
from auditcli.loading import load
from auditcli.report import schema
from auditcli.types import Checkpoint, Profile


def inspect(
    path: Path,
    *,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    assume: Mapping[str, str] | None = None,
) -> schema.Model:
    """Load and identify a model; the options are those of `audit`.

    Raises:
        LoadError: The file is missing, corrupt or refused.
        UnknownModel: No family explains the weights, or they leave a question open.
        UsageError: An option that does not fit the model.
    """
    checkpoint = load(path)
    options = Options(input_shape=input_shape, mean=mean, std=std, assume=assume or {})
    return describe(checkpoint, identify(checkpoint, options))


def describe(checkpoint: Checkpoint, profile: Profile) -> schema.Model:
    """The `model` part of a report."""
    return schema.Model(
        path=checkpoint.path.resolve().name,
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
    )
